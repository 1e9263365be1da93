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
from vlm_npu_ros.engine.share import share_dir
import yaml

REFUSAL = 'Sorry, I was not trained to answer that.'

_PLURAL = {shape: shape + 's' for shape in SHAPES} | {'box': 'boxes', 'person': 'people'}
_PLACE = {'left': 'on the left', 'middle': 'in the middle', 'right': 'on the right'}
_WORDS = yaml.safe_load(
    (share_dir() / 'resource' / 'demo_model' / 'phrasings.yaml').read_text(encoding='utf-8')
)


@dataclass(frozen=True)
class Question:
    """A question about one scene; `answer` is the only answer that counts as right."""

    kind: str
    text: str
    answer: str


# Returns what to fill a phrasing with, and the answer; None where there is no clear one.
_Ask = Callable[[Scene, np.random.Generator], tuple[dict[str, str], str] | None]


@dataclass(frozen=True)
class _Kind:
    """Phrasings of a kind of question, and the function that fills them in and answers."""

    ask: _Ask
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
        ending = str(rng.choice(_WORDS['closings']))
    if rng.random() < 0.25:
        text = str(rng.choice(_WORDS['openings'])) + text
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
    """Return a noun, its shape and its colour (or None): of the scene, or something else."""
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
    listed = _listed([each(o) for o in objects])
    return f'There are {len(objects)} {_PLURAL[objects[0].shape]}: {listed}.'


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
    return {'x': noun}, f'Yes, the {noun} is near.' if found[
        0
    ].near else f'No, the {noun} is far away.'


def _other(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], str]:
    """Answer what the model was not made for: real questions, unknown nouns, junk."""
    draw = rng.random()
    noun, junk = str(rng.choice(_WORDS['unknown_nouns'])), _junk(rng)
    if draw < 0.5:
        anything = str(rng.choice(_WORDS['other_questions']))
    else:
        anything = str(rng.choice(_WORDS['noun_questions'])).format(_article(noun), noun)
    return {'any': anything, 'junk': junk}, REFUSAL


def _junk(rng: np.random.Generator) -> str:
    letters = 'abcdefghijklmnopqrstuvwxyzäöüéñßçøåабвгдежзикл你好世界是什么éè0123456789'
    words = [
        ''.join(rng.choice(list(letters), int(rng.integers(1, 9))))
        for _ in range(int(rng.integers(1, 6)))
    ]
    return ' '.join(words)


_ASK: dict[str, _Ask] = {
    'describe': _describe,
    'colour': _colour,
    'count': _count,
    'where': _where,
    'exists': _exists,
    'anything': _anything,
    'path_clear': _path_clear,
    'path_blocked': _path_blocked,
    'blocker': _blocker,
    'nearest': _nearest,
    'leftmost': _leftmost,
    'rightmost': _rightmost,
    'on_side': _on_side,
    'is_colour': _is_colour,
    'is_side': _is_side,
    'is_near': _is_near,
    'other': _other,
}
KINDS = {
    name: _Kind(ask, **{use: tuple(p) for use, p in _WORDS['kinds'][name].items()})
    for name, ask in _ASK.items()
}

_WEIGHT = {
    'describe': 3.0,
    'colour': 1.5,
    'where': 1.5,
    'count': 1.3,
    'exists': 1.3,
    'other': 1.5,
    'on_side': 1.2,
    'is_colour': 1.6,
    'is_side': 1.2,
    'anything': 1.2,
    'path_clear': 1.4,
}
_NAMES = list(KINDS)
_WEIGHTS = np.array([_WEIGHT.get(name, 0.8) for name in _NAMES])
_WEIGHTS /= _WEIGHTS.sum()


def training_texts() -> list[str]:
    """Return all words of training phrasings and answers, for a tokenizer's vocabulary."""
    slots = {'x': '', 'xs': '', 'y': '', 'any': '', 'junk': ''}
    texts = [p.format(**slots) for kind in KINDS.values() for p in kind.train]
    texts += [p.format('', '') for p in _WORDS['noun_questions']]
    texts += [*_WORDS['other_questions'], *_WORDS['openings'], *_WORDS['closings']]
    texts += [*SHAPES, *_PLURAL.values(), *COLOURS, *_PLACE.values(), 'object objects', REFUSAL]
    texts += [
        'near far away floor table nearest leftmost rightmost and an a in the no there is',
        'there are 1 2 3 4 nothing',
    ]
    return texts
