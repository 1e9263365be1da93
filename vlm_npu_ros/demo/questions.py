"""
Questions about synthetic scenes, in many phrasings, with their true answers.

Every kind of question has phrasings to train on and others that are held out, so that the
evaluation measures understanding and not memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from vlm_npu_ros.demo.scenes import COLOURS, Scene, SceneObject, SHAPES, SIDES

REFUSAL = 'Sorry, I was not trained to answer that.'

_PLURAL = {shape: shape + 's' for shape in SHAPES} | {'box': 'boxes', 'person': 'people'}
_PLACE = {'left': 'on the left', 'middle': 'in the middle', 'right': 'on the right'}
_OPENINGS = (
    'robot, ', 'hey robot, ', 'hello, ', 'please tell me: ', 'tell me, ', 'ok, ', 'now, ', 'please, ',
    'so, ', 'excuse me, ',
)
_CLOSINGS = ('', '', '.', ' ?', ' please?', ' now?', ', please?', '??', '!')


@dataclass(frozen=True)
class Question:
    """A question about one scene; `answer` is the only answer that counts as right."""

    kind: str
    text: str
    answer: str


@dataclass(frozen=True)
class _Kind:
    """Phrasings of a kind of question, and the function that fills them in and answers."""

    ask: Callable[[Scene, np.random.Generator], tuple[dict[str, str], str] | None]
    train: tuple[str, ...]
    held_out: tuple[str, ...]


def random_question(
    scene: Scene, rng: np.random.Generator, kind: str | None = None, held_out: bool = False
) -> Question:
    """
    Return a question about the scene in a random phrasing, with its answer.

    Without `kind`, one is drawn that makes sense for the scene; with it, ValueError is raised
    where it makes none (what is nearest, of two things equally near).
    """
    while True:
        chosen = kind or str(rng.choice(_NAMES, p=_WEIGHTS))
        filled = KINDS[chosen].ask(scene, rng)
        if filled is not None:
            break
        if kind:
            raise ValueError(f'the question {kind!r} has no clear answer for this scene')
    slots, answer = filled
    phrasings = KINDS[chosen].held_out if held_out else KINDS[chosen].train
    text = str(rng.choice(phrasings)).format(**slots)
    return Question(chosen, _vary(text, rng), answer)


def _vary(text: str, rng: np.random.Generator) -> str:
    """Add what people put around a question."""
    ending = '?'
    if rng.random() < 0.5:
        ending = str(rng.choice(_CLOSINGS))
    if rng.random() < 0.25:
        text = str(rng.choice(_OPENINGS)) + text
    return text + ending


def _listed(items: list[str]) -> str:
    if len(items) < 2:
        return ''.join(items)
    return ', '.join(items[:-1]) + ' and ' + items[-1]


def _article(noun: str) -> str:
    return ('an ' if noun[0] in 'aeiou' else 'a ') + noun


def _names(objects: list[SceneObject]) -> str:
    return _listed([_article(o.name) for o in objects])


def _verb(objects: list[SceneObject]) -> str:
    return 'is' if len(objects) == 1 else 'are'


def _distance(thing: SceneObject) -> str:
    return 'near' if thing.near else 'far'


def _reference(
    scene: Scene, rng: np.random.Generator, present: float = 0.7
) -> tuple[str, str, str | None]:
    """Return a noun, its shape and its colour (or None): something in the scene, or something else."""
    if scene.objects and rng.random() < present:
        thing = scene.objects[int(rng.integers(len(scene.objects)))]
        shape, colour = thing.shape, thing.colour
    else:
        shape, colour = str(rng.choice(SHAPES)), str(rng.choice(list(COLOURS)))
    if rng.random() < 0.5:
        return shape, shape, None
    return SceneObject(shape, colour, '', True, 0, 1).name, shape, colour


def _absent(noun: str) -> str:
    return f"I can't see {_article(noun)}."


def _several(objects: list[SceneObject], each: Callable[[SceneObject], str]) -> str:
    return f'There are {len(objects)} {_PLURAL[objects[0].shape]}: {_listed([each(o) for o in objects])}.'


def _describe(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    if not scene.objects:
        return {}, f'I see an empty {scene.surface}.'
    seen = [f'{_article(f"{_distance(o)} {o.name}")} {_PLACE[o.side]}' for o in scene.objects]
    return {}, f'I see {_listed(seen)}.'


def _colour(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    _, shape, _ = _reference(scene, rng, present=0.8)
    found = scene.of(shape)
    if not found:
        answer = _absent(shape)
    elif len(found) > 1:
        answer = _several(found, lambda o: o.colour)
    else:
        worn = 'in ' if shape == 'person' else ''
        answer = f'The {shape} is {worn}{found[0].colour}.'
    return {'x': shape}, answer


def _count(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    draw = rng.random()
    if draw < 0.25:
        singular, plural, found = 'object', 'objects', list(scene.objects)
    elif draw < 0.5:
        thing = scene.objects[0].colour if scene.objects and rng.random() < 0.7 else None
        colour = thing or str(rng.choice(list(COLOURS)))
        singular, plural = f'{colour} object', f'{colour} objects'
        found = scene.of(colour=colour)
    else:
        _, shape, _ = _reference(scene, rng)
        singular, plural, found = shape, _PLURAL[shape], scene.of(shape)
    if not found:
        return {'xs': plural}, f'There are no {plural}.'
    if len(found) == 1:
        return {'xs': plural}, f'There is 1 {singular}.'
    return {'xs': plural}, f'There are {len(found)} {plural}.'


def _where(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    noun, shape, colour = _reference(scene, rng)
    found = scene.of(shape, colour)
    if not found:
        answer = _absent(noun)
    elif len(found) > 1:
        answer = _several(found, lambda o: f'{o.colour} {_PLACE[o.side]}')
    else:
        away = 'near' if found[0].near else 'far away'
        answer = f'The {noun} is {_PLACE[found[0].side]}, {away}.'
    return {'x': noun}, answer


def _exists(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    noun, shape, colour = _reference(scene, rng, present=0.5)
    found = scene.of(shape, colour)
    slots = {'x': _article(noun)}
    if not found:
        return slots, f"No, I can't see {_article(noun)}."
    if len(found) > 1:
        return slots, f'Yes, there are {len(found)} {_PLURAL[shape]}.'
    return slots, f'Yes, there is {_article(noun)}.'


def _anything(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    colour = str(rng.choice(list(COLOURS)))
    if scene.objects and rng.random() < 0.6:
        colour = scene.objects[int(rng.integers(len(scene.objects)))].colour
    found = scene.of(colour=colour)
    if not found:
        return {'x': colour}, f'No, I see nothing {colour}.'
    return {'x': colour}, f'Yes, I see {_names(found)}.'


def _path_clear(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    if not scene.blocking:
        return {}, 'Yes, the path is clear.'
    return {}, f'No, {_names(scene.blocking)} {_verb(scene.blocking)} in the way.'


def _path_blocked(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    if not scene.blocking:
        return {}, 'No, the path is clear.'
    return {}, f'Yes, {_names(scene.blocking)} {_verb(scene.blocking)} in the way.'


def _blocker(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    if not scene.blocking:
        return {}, 'Nothing is in the way.'
    names = _names(scene.blocking)
    return {}, f'{names[0].upper()}{names[1:]} {_verb(scene.blocking)} in the way.'


def _nearest(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str] | None:
    if not scene.objects:
        return {}, 'There are no objects.'
    return ({}, f'The {scene.nearest.name} is nearest.') if scene.nearest else None


def _leftmost(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    if not scene.objects:
        return {}, 'There are no objects.'
    return {}, f'The {scene.objects[0].name} is leftmost.'


def _rightmost(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    if not scene.objects:
        return {}, 'There are no objects.'
    return {}, f'The {scene.objects[-1].name} is rightmost.'


def _on_side(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    side = str(rng.choice(SIDES))
    found = [o for o in scene.objects if o.side == side]
    slots = {'x': _PLACE[side]}
    if not found:
        return slots, f'I see nothing {_PLACE[side]}.'
    return slots, f'I see {_names(found)} {_PLACE[side]}.'


def _is_colour(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    _, shape, _ = _reference(scene, rng, present=0.85)
    found = scene.of(shape)
    colour = str(rng.choice(list(COLOURS)))
    if found and rng.random() < 0.5:
        colour = found[0].colour
    worn = 'in ' if shape == 'person' else ''
    slots = {'x': shape, 'y': worn + colour}
    if not found:
        return slots, _absent(shape)
    if len(found) > 1:
        return slots, _several(found, lambda o: o.colour)
    verdict = 'Yes' if found[0].colour == colour else 'No'
    return slots, f'{verdict}, the {shape} is {worn}{found[0].colour}.'


def _is_side(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    noun, shape, colour = _reference(scene, rng, present=0.85)
    found = scene.of(shape, colour)
    side = found[0].side if found and rng.random() < 0.5 else str(rng.choice(SIDES))
    slots = {'x': noun, 'y': _PLACE[side]}
    if not found:
        return slots, _absent(noun)
    if len(found) > 1:
        return slots, _several(found, lambda o: f'{o.colour} {_PLACE[o.side]}')
    verdict = 'Yes' if found[0].side == side else 'No'
    return slots, f'{verdict}, the {noun} is {_PLACE[found[0].side]}.'


def _is_near(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str] | None:
    noun, shape, colour = _reference(scene, rng, present=0.85)
    found = scene.of(shape, colour)
    if len(found) > 1:
        return None
    if not found:
        return {'x': noun}, _absent(noun)
    return {'x': noun}, f'Yes, the {noun} is near.' if found[0].near else f'No, the {noun} is far away.'


def _other(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    """Answer what the model was not made for: real questions, unknown nouns, junk."""
    draw = rng.random()
    slots = {'noun': str(rng.choice(_UNKNOWN_NOUNS)), 'junk': _junk(rng)}
    slots['any'] = str(rng.choice(_OTHER_QUESTIONS)) if draw < 0.5 else str(rng.choice(
        _NOUN_QUESTIONS)).format(_article(slots['noun']), slots['noun'])
    return slots, REFUSAL


def _junk(rng: np.random.Generator) -> str:
    letters = 'abcdefghijklmnopqrstuvwxyzäöüéñßçøåабвгдежзикл你好世界是什么éè0123456789'
    words = [
        ''.join(rng.choice(list(letters), int(rng.integers(1, 9))))
        for _ in range(int(rng.integers(1, 6)))
    ]
    return ' '.join(words)


_NOUN_QUESTIONS = (
    'is there {0}', 'what colour is the {1}', 'where is the {1}', 'do you see {0}', 'how many {1}s are there',
    'is the {1} red', 'can you see {0}', 'find the {1}', 'is the {1} on the left', 'describe the {1}',
    'what colour is that {1}', 'how many {1}s do you see', 'is the {1} near', 'count the {1}s',
)
_UNKNOWN_NOUNS = (
    'dog', 'cat', 'horse', 'car', 'bus', 'tree', 'window', 'lamp', 'robot', 'phone', 'laptop', 'cable', 'shoe',
    'hat', 'flower', 'plant', 'bird', 'fish', 'book', 'paper', 'pen', 'knife', 'fork', 'spoon', 'plate', 'bowl',
    'glass', 'screen', 'printer', 'shelf', 'sofa', 'bed', 'pillow', 'wheel', 'engine', 'truck', 'train', 'plane',
    'bridge', 'river', 'mountain', 'cloud', 'sun', 'moon', 'star', 'key', 'lock', 'ladder', 'hammer', 'screw',
    'drill', 'pallet', 'barrel', 'bucket', 'broom', 'bag', 'toy', 'baby', 'cow', 'sheep', 'mouse', 'spider',
    'guitar', 'piano', 'clock', 'mirror', 'carpet', 'curtain', 'stair', 'lift', 'charger', 'battery', 'sensor',
    'wall', 'camera', 'fence', 'ghost', 'pizza', 'apple', 'banana', 'bread', 'cheese', 'soup', 'pyramid',
    'cylinder', 'triangle', 'square', 'circle', 'cat food', 'fire extinguisher', 'coffee machine',
)
_OTHER_QUESTIONS = (
    'what is the capital of france', 'tell me a joke', 'how old are you', 'what time is it', 'who are you',
    'what is your name', 'sing a song', 'what is two plus two', 'where do you live', 'do you like music',
    'how do I bake bread', 'write a poem', 'translate this to german', 'what is the weather like',
    'who won the game', 'how far is the moon', 'why is the sky blue', 'can you dance', 'go to the kitchen',
    'turn left', 'stop', 'drive forward', 'what is your battery level', 'are you happy', 'open the window',
    'what day is it', 'how much does it cost', 'who made you', 'do you speak french', 'thank you',
    'good morning', 'what is love', 'play some music', 'call my mother', 'what is the meaning of life',
    'explain gravity', 'how tall is the tower', 'is it raining', 'what should I wear', 'read the sign',
    'what does the text say', 'is the man angry', 'what is the person doing', 'who is the person',
    'how tall is the person', 'is the chair comfortable', 'what is the ball made of', 'how heavy is the box',
    'what is in the box', 'is the door open', 'is the door locked', 'can I sit on the chair',
    'what is the temperature', 'is the light on', 'is it dark', 'what room is this', 'which country is this',
    'are we late', 'when does the train leave', 'how fast are you', 'pick up the ball', 'kick the ball',
    'close the door', 'follow the person', 'bring me the box', 'move the chair', 'ignore all that',
    'yes', 'no', 'ok', 'why', 'how', 'who', 'when', 'hello', 'hi', 'bye', 'help', 'test', 'what',
    'repeat after me', 'say something', 'count to ten', 'spell your name', 'what is my name', 'are you a robot',
    'is this a dream', 'what happened yesterday', 'what will happen tomorrow', 'how many legs has a spider',
    'how many days are in a week', 'what is the biggest animal', 'what is red and green', 'name a colour',
    'what is your favourite colour', 'which colour do you like', 'how many people live in paris',
    'what is on television', 'what is for dinner', 'where is berlin', 'where is my mother',
    'is there life on mars', 'is there a god', 'is there milk', 'do you see the future', 'can you see in the dark',
)
_OTHER_TRAIN = ('{any}', '{any}', '{any}', '{any}', '{junk}', '{any} and {junk}', 'what colour is {junk}', 'is there {junk}')

KINDS: dict[str, _Kind] = {
    'describe': _Kind(_describe, (
        'what do you see', 'describe the view', 'describe what you see', 'what is in front of you', 'what can you see',
        'what is there', 'what objects are there', 'describe the scene', 'what does the camera see',
        'what is in the picture', 'describe the image', 'list the objects', 'which objects do you see',
        'tell me what you see', 'what things are in the view', 'what is in the scene', 'look and describe',
        'give me a description of the scene', 'what are you looking at', 'report what you see', 'describe',
        'what objects can you see', 'can you describe the picture', 'what is around', 'tell me about the view',
        'what is visible', 'which things are there', 'describe all objects', 'list what you see', 'what is ahead of you',
    ), (
        'tell me what is in the picture', 'can you describe the view', 'what is in the view', 'list the things you see',
        'describe what the camera sees', 'what objects are in the scene', 'give me a description of the view',
    )),
    'colour': _Kind(_colour, (
        'what colour is the {x}', 'what color is the {x}', 'which colour is the {x}', 'which color does the {x} have',
        'what is the colour of the {x}', 'what is the color of the {x}', 'tell me the colour of the {x}',
        'the {x} is what colour', 'what colour does the {x} have', 'of what color is the {x}', 'name the colour of the {x}',
        'do you know the colour of the {x}', 'say which colour the {x} is', 'can you tell me the color of the {x}',
        'colour of the {x}', 'what colour has the {x}', 'the colour of the {x}', 'give me the colour of the {x}',
        'tell me which color the {x} is', 'can you see what colour the {x} is', 'the {x}, what color is it',
    ), (
        'which color is the {x}', 'tell me what colour the {x} is', 'which colour does the {x} have',
        'can you name the color of the {x}', 'say the colour of the {x}',
    )),
    'count': _Kind(_count, (
        'how many {xs} are there', 'how many {xs} do you see', 'how many {xs} can you see', 'count the {xs}',
        'what is the number of {xs}', 'tell me how many {xs} there are', 'how many {xs} are in the picture',
        'how many {xs} are in the scene', 'number of {xs}', 'how many {xs}', 'can you count the {xs}',
        'how many {xs} are in front of you', 'tell me the number of {xs}', 'how many {xs} are in view',
        'count all {xs}', 'say how many {xs} you see', 'how many {xs} does the camera see', 'count {xs}',
        'do you know how many {xs} there are', 'give me the number of {xs}', 'how many {xs} are visible',
    ), (
        'how many {xs} are in the view', 'tell me how many {xs} you see', 'can you tell me the number of {xs}',
        'count the {xs} in the picture', 'say how many {xs} there are',
    )),
    'where': _Kind(_where, (
        'where is the {x}', 'where do you see the {x}', 'where can you see the {x}', 'tell me where the {x} is',
        'in which place is the {x}', 'what is the position of the {x}', 'find the {x}', 'locate the {x}',
        'can you find the {x}', 'where in the picture is the {x}', 'on which side is the {x}', 'show me the {x}',
        'where did you see the {x}', 'can you tell me where the {x} is', 'do you know where the {x} is', 'position of the {x}',
        'tell me the position of the {x}', 'where in the view is the {x}', 'which side is the {x} on', 'look for the {x}',
        'say where the {x} is', 'where would I find the {x}',
    ), (
        'where in the scene is the {x}', 'can you locate the {x}', 'can you say where the {x} is',
        'on which side do you see the {x}', 'give me the position of the {x}',
    )),
    'exists': _Kind(_exists, (
        'is there {x}', 'do you see {x}', 'can you see {x}', 'is {x} there', 'is {x} in the picture', 'is {x} in view',
        'is there {x} in the scene', 'do you see {x} in the picture', 'is {x} visible', 'is there {x} in front of you',
        'can you find {x}', 'does the camera see {x}', 'tell me if there is {x}', 'is there {x} somewhere',
        'have you seen {x}', 'does the picture show {x}', 'tell me if you see {x}', 'is {x} in front of you',
        'do you see {x} anywhere', 'is there {x} in view', 'check if there is {x}', 'are you looking at {x}',
    ), (
        'can you see {x} in the picture', 'is there {x} anywhere', 'tell me if {x} is there', 'do you see {x} in the scene',
        'is {x} in the scene',
    )),
    'anything': _Kind(_anything, (
        'is there anything {x}', 'do you see anything {x}', 'is anything {x}', 'can you see something {x}',
        'is there something {x}', 'is there a {x} object', 'do you see a {x} object', 'is something {x} there',
        'do you see something {x}', 'is there a {x} thing', 'can you see a {x} thing', 'is there anything {x} in view',
        'can you find anything {x}', 'tell me if there is anything {x}',
    ), (
        'can you see anything {x}', 'do you see a {x} thing', 'is there something {x} in view', 'can you see a {x} object',
    )),
    'path_clear': _Kind(_path_clear, (
        'is the path clear', 'is the way clear', 'is the path ahead clear', 'can I drive forward', 'is the way free',
        'is the path free', 'can you go forward', 'is the way ahead free', 'can I go straight ahead',
        'is it free ahead', 'may I go forward', 'can the robot go forward', 'is the road clear', 'is my path clear',
        'can you move forward', 'is it clear ahead', 'can we drive ahead', 'is the path in front clear',
        'tell me if the path is clear', 'is it safe to go forward', 'is there a clear path', 'can I move ahead',
    ), (
        'is the path ahead free', 'is the way ahead clear', 'can the robot drive forward', 'tell me if the way is free',
        'can you go straight ahead',
    )),
    'path_blocked': _Kind(_path_blocked, (
        'is the path blocked', 'is the way blocked', 'is anything in the way', 'is something in the way',
        'is something blocking the path', 'is anything blocking the way', 'is there an obstacle',
        'is there something in the way', 'does anything block the path', 'is the path ahead blocked',
        'is there an obstacle ahead', 'does something block the way', 'is my way blocked', 'do you see an obstacle',
        'is there anything in your way', 'tell me if the path is blocked', 'is the road blocked',
    ), (
        'is something blocking the way', 'is anything blocking the path', 'is the way ahead blocked',
        'is there an obstacle in the way', 'does anything block the way',
    )),
    'blocker': _Kind(_blocker, (
        'what is in the way', 'what blocks the path', 'what is blocking the path', 'what blocks the way',
        'which object is in the way', 'what stands in the way', 'what is in front of the robot', 'which object blocks the path',
        'what obstacle is there', 'which obstacle do you see', 'tell me what is in the way', 'what is in my way',
        'what keeps us from going forward', 'name the obstacle', 'tell me what blocks the path', 'what is the obstacle',
        'what stands in front of the robot',
    ), (
        'what is blocking the way', 'which object blocks the way', 'tell me what is blocking the path', 'what is in your way',
    )),
    'nearest': _Kind(_nearest, (
        'what is nearest', 'which object is nearest', 'what is the nearest object', 'what is closest', 'which object is closest',
        'what is the closest object', 'which thing is nearest', 'what is nearest to you', 'what is closest to the robot',
        'name the nearest object', 'tell me what is nearest', 'which object is the closest', 'what thing is closest to you',
        'which one is nearest', 'what object is nearest to the camera', 'nearest object', 'tell me the closest object',
    ), (
        'which thing is closest', 'what is nearest to the robot', 'tell me which object is nearest', 'name the closest object',
        'what object is closest',
    )),
    'leftmost': _Kind(_leftmost, (
        'what is leftmost', 'which object is leftmost', 'what is furthest to the left', 'which object is furthest left',
        'what is the leftmost object', 'name the leftmost object', 'which thing is leftmost', 'what is most to the left',
        'tell me what is leftmost', 'what thing is furthest to the left', 'leftmost object', 'what object is furthest left',
        'which one is leftmost',
    ), ('tell me the leftmost object', 'which thing is furthest to the left', 'which object is most to the left')),
    'rightmost': _Kind(_rightmost, (
        'what is rightmost', 'which object is rightmost', 'what is furthest to the right', 'which object is furthest right',
        'what is the rightmost object', 'name the rightmost object', 'which thing is rightmost', 'what is most to the right',
        'tell me what is rightmost', 'what thing is furthest to the right', 'rightmost object', 'what object is furthest right',
        'which one is rightmost',
    ), ('tell me the rightmost object', 'which thing is furthest to the right', 'which object is most to the right')),
    'on_side': _Kind(_on_side, (
        'what is {x}', 'what do you see {x}', 'what can you see {x}', 'which objects are {x}', 'what is there {x}',
        'what stands {x}', 'describe what is {x}', 'tell me what is {x}', 'what objects do you see {x}', 'list the objects {x}',
        'which things are {x}', 'what {x} do you see', 'is there anything {x}', 'do you see anything {x}', 'what things are {x}',
        'name the objects {x}',
    ), (
        'tell me what you see {x}', 'what objects are {x}', 'describe what you see {x}', 'which objects do you see {x}',
    )),
    'is_colour': _Kind(_is_colour, (
        'is the {x} {y}', 'is that {x} {y}', 'is it true that the {x} is {y}', 'do you see that the {x} is {y}',
        'tell me if the {x} is {y}', 'the {x} is {y}, right', 'is the {x} really {y}', 'check if the {x} is {y}',
        'would you say the {x} is {y}', 'can you tell me if the {x} is {y}', 'is the {x} {y} or not', 'the {x} is {y}, yes or no',
        'does the {x} look {y}', 'is the {x} {y}, yes or no', 'is the {x} there {y}',
    ), (
        'is it right that the {x} is {y}', 'would you say that the {x} is {y}', 'tell me if that {x} is {y}',
        'is that {x} really {y}',
    )),
    'is_side': _Kind(_is_side, (
        'is the {x} {y}', 'do you see the {x} {y}', 'is it true that the {x} is {y}', 'tell me if the {x} is {y}',
        'can you see the {x} {y}', 'the {x} is {y}, right', 'check if the {x} is {y}', 'does the {x} stand {y}',
        'is that {x} {y}', 'is the {x} {y} or not', 'is the {x} {y}, yes or no', 'would you say the {x} is {y}',
        'is the {x} really {y}', 'can you tell me if the {x} is {y}',
    ), (
        'is it right that the {x} is {y}', 'would you say that the {x} is {y}', 'tell me if that {x} is {y}',
        'is that {x} really {y}',
    )),
    'is_near': _Kind(_is_near, (
        'is the {x} near', 'is the {x} close', 'is the {x} near you', 'is the {x} close to you', 'is the {x} nearby',
        'are you near the {x}', 'are you close to the {x}', 'tell me if the {x} is near', 'is the {x} near the robot',
        'check if the {x} is close', 'is that {x} near', 'is the {x} really near', 'is it true that the {x} is near',
    ), (
        'is the {x} close to the robot', 'tell me if the {x} is close', 'is it true that the {x} is close', 'is that {x} close',
    )),
    'other': _Kind(_other, _OTHER_TRAIN, (
        'what is the name of the president', 'how do I fix my car', 'will it snow tomorrow', 'dance with me',
        'is there an elephant', 'do you see a helicopter', 'where is the refrigerator', 'what colour is the bicycle',
        'how many oranges are there', 'is the kangaroo on the right', 'what is nine minus four', 'xqzt brmpf kll',
        'turn around and leave', 'who painted the picture', 'how warm is the room', 'did you sleep well',
        'what does the person think', 'is the box full', 'order a taxi', 'qu est ce que tu vois',
    )),
}

_WEIGHT = {'describe': 3.0, 'colour': 1.5, 'where': 1.5, 'count': 1.3, 'exists': 1.3, 'other': 1.5, 'on_side': 1.2}
_NAMES = list(KINDS)
_WEIGHTS = np.array([_WEIGHT.get(name, 0.8) for name in _NAMES])
_WEIGHTS /= _WEIGHTS.sum()


def training_texts() -> list[str]:
    """Return all words of training phrasings and answers, for a tokenizer's vocabulary."""
    slots = {'x': '', 'xs': '', 'y': '', 'any': '', 'junk': ''}
    texts = [p.format(**slots) for kind in KINDS.values() for p in kind.train]
    texts += [p.format('', '') for p in _NOUN_QUESTIONS]
    texts += [*_OTHER_QUESTIONS, *_OPENINGS, *_CLOSINGS]
    texts += [*SHAPES, *_PLURAL.values(), *COLOURS, *_PLACE.values(), 'object objects', REFUSAL]
    texts += ['near far away floor table nearest leftmost rightmost and an a in the no there is are 1 2 3 4 nothing']
    return texts
