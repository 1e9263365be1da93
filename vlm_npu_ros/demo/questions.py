# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Questions about synthetic scenes, in many phrasings, with their true answers.

    question = random_question(scene, rng, 'colour', held_out=True)
    question.text, question.answer    # 'what colour is the box?', 'The box is red.'

Every kind of question has phrasings to train on and others that are held out, so that the
evaluation measures understanding and not memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Callable, Generic, NamedTuple, TypeVar

import numpy as np
from vlm_npu_ros.demo.scenes import COLOURS, Scene, SceneObject, SHAPES, SIDES
from vlm_npu_ros.engine.share import share_dir
import yaml

REFUSAL = 'Sorry, I was not trained to answer that.'

PLURAL = {shape: shape + 's' for shape in SHAPES} | {'box': 'boxes', 'person': 'people'}
PLACE = {'left': 'on the left', 'middle': 'in the middle', 'right': 'on the right'}
PHRASINGS = yaml.safe_load(
    (share_dir() / 'resource' / 'demo_model' / 'phrasings.yaml').read_text(encoding='utf-8')
)


@dataclass(frozen=True)
class SceneQuestion:
    """
    A question about a scene; `answer` is the only answer that counts as right.

    about: the objects that the answer names, for follow-up questions.
    missing: the noun of a thing that is not there.
    asks: the kind of the complete question: 'colour' for 'and the box?' after a colour.
    """

    kind: str
    text: str
    answer: str
    about: tuple[SceneObject, ...] = ()
    missing: str = ''
    asks: str = ''


class Filled(NamedTuple):
    """What fills the slots of a phrasing, and the answer; the rest as in `SceneQuestion`."""

    slots: dict[str, str]
    answer: str
    about: tuple[SceneObject, ...] = ()
    missing: str = ''
    asks: str = ''


# Returns None where there is no clear answer.
_Ask = Callable[[Scene, np.random.Generator], Filled | None]
_AnyAsk = TypeVar('_AnyAsk', bound=Callable[..., Filled | None])


@dataclass(frozen=True)
class Kind(Generic[_AnyAsk]):
    """Phrasings of a kind of question, and the function that fills them in and answers."""

    name: str
    ask: _AnyAsk
    train: tuple[str, ...]
    held_out: tuple[str, ...]

    def question(self, filled: Filled, rng: np.random.Generator, held_out: bool) -> SceneQuestion:
        """Phrase the question at random."""
        phrasings = self.held_out if held_out else self.train
        text = vary(_pick(phrasings, rng).format(**filled.slots), rng)
        asks = filled.asks or self.name
        return SceneQuestion(self.name, text, filled.answer, filled.about, filled.missing, asks)


def kinds_of(section: str, asks: dict[str, _AnyAsk]) -> dict[str, Kind[_AnyAsk]]:
    """Combine functions with the phrasings of a section, by the name of the kind."""
    return {
        name: Kind(name, ask, **{use: tuple(p) for use, p in PHRASINGS[section][name].items()})
        for name, ask in asks.items()
    }


def random_question(
    scene: Scene, rng: np.random.Generator, kind: str | None = None, held_out: bool = False
) -> SceneQuestion:
    """
    Draw a question about the scene in a random phrasing, with its answer.

    Without `kind`, one is drawn that makes sense for the scene; with it, ValueError is raised
    where it makes none (what is nearest, if two things are equally near).
    """
    chosen, filled = draw(KINDS, _WEIGHTS, kind, scene, rng)
    return chosen.question(filled, rng, held_out)


def draw(
    kinds: Mapping[str, Kind[_AnyAsk]],
    weights: np.ndarray,
    name: str | None,
    view: object,
    rng: np.random.Generator,
) -> tuple[Kind[_AnyAsk], Filled]:
    """
    Fill in a question about a view: of the kind with this name, or of one drawn by its weight.

    Raises ValueError where the kind that was named has no clear answer for the view.
    """
    while True:
        kind = kinds[name or str(rng.choice(list(kinds), p=weights))]
        filled = kind.ask(view, rng)
        if filled is not None:
            return kind, filled
        if name:
            raise ValueError(f'the question {name!r} has no clear answer here')


def vary(text: str, rng: np.random.Generator) -> str:
    """Add what people put around a question."""
    ending = '?'
    if rng.random() < 0.5:
        ending = _pick(PHRASINGS['closings'], rng)
    if rng.random() < 0.25:
        text = _pick(PHRASINGS['openings'], rng) + text
    return text + ending


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    """Choose like `rng.choice`, which would make an array first."""
    return options[int(rng.integers(len(options)))]


def listed(items: list[str]) -> str:
    """Join words as in 'a, b and c'."""
    if len(items) < 2:
        return ''.join(items)
    return ', '.join(items[:-1]) + ' and ' + items[-1]


def article(noun: str) -> str:
    """Put 'a' or 'an' before a noun."""
    return ('an ' if noun[0] in 'aeiou' else 'a ') + noun


def names(objects: list[SceneObject]) -> str:
    """List objects, as in 'a red ball and a person in blue'."""
    return listed([article(o.name) for o in objects])


def reference(
    scene: Scene, rng: np.random.Generator, present: float = 0.7
) -> tuple[str, str, str | None]:
    """Draw a noun, its shape and its colour (or None): of the scene, or of something else."""
    if scene.objects and rng.random() < present:
        thing = scene.objects[int(rng.integers(len(scene.objects)))]
        shape, colour = thing.shape, thing.colour
    else:
        shape, colour = _pick(SHAPES, rng), _pick(list(COLOURS), rng)
    if rng.random() < 0.5:
        return shape, shape, None
    return SceneObject(shape, colour, '', True, 0, 1).name, shape, colour


def absent(noun: str) -> str:
    """Answer about a thing that is not there."""
    return f"I can't see {article(noun)}."


def _about(
    found: list[SceneObject],
    noun: str,
    one: Callable[[SceneObject], str],
    each: Callable[[SceneObject], str],
) -> Filled:
    """Answer about the things called `noun`: `one` is a sentence, `each` a part of a list."""
    if not found:
        return Filled({'x': noun}, absent(noun), missing=noun)
    answer = one(found[0])
    if len(found) > 1:
        answer = f'There are {len(found)} {PLURAL[found[0].shape]}: {listed([*map(each, found)])}.'
    return Filled({'x': noun}, answer, tuple(found))


def about_colour(scene: Scene, shape: str, colour: str | None = None) -> Filled:
    """Say what colour the things of a shape are; `colour` tells one from others of its shape."""
    return _about(
        scene.of(shape, colour), shape,
        one=lambda o: f'The {shape} is {_worn(shape)}{o.colour}.',
        each=lambda o: o.colour,
    )


def _worn(shape: str) -> str:
    return 'in ' if shape == 'person' else ''


def about_place(scene: Scene, noun: str, shape: str, colour: str | None) -> Filled:
    """Say where the thing called `noun` is."""
    return _about(
        scene.of(shape, colour), noun,
        one=lambda o: f'The {noun} is {PLACE[o.side]}, {"near" if o.near else "far away"}.',
        each=lambda o: f'{o.colour} {PLACE[o.side]}',
    )


def about_distance(scene: Scene, noun: str, shape: str, colour: str | None) -> Filled | None:
    """Say whether the thing called `noun` is near; None if there are several."""
    found = scene.of(shape, colour)
    if len(found) > 1:
        return None
    verdicts = {True: f'Yes, the {noun} is near.', False: f'No, the {noun} is far away.'}
    return _about(found, noun, one=lambda o: verdicts[o.near], each=str)


def about_presence(scene: Scene, noun: str, shape: str, colour: str | None) -> Filled:
    """Say whether there is a thing called `noun`."""
    found = scene.of(shape, colour)
    slots = {'x': article(noun)}
    if not found:
        return Filled(slots, f"No, I can't see {article(noun)}.", missing=noun)
    if len(found) > 1:
        return Filled(slots, f'Yes, there are {len(found)} {PLURAL[shape]}.', tuple(found))
    return Filled(slots, f'Yes, there is {article(noun)}.', tuple(found))


def about_number(scene: Scene, shape: str | None, colour: str | None) -> Filled:
    """Say how many things of a shape or of a colour, or objects at all, there are."""
    found = scene.of(shape, colour)
    singular, plural = shape or 'object', PLURAL[shape] if shape else 'objects'
    if colour:
        singular, plural = f'{colour} {singular}', f'{colour} {plural}'
    slots = {'xs': plural}
    if not found:
        return Filled(slots, f'There are no {plural}.')
    if len(found) == 1:
        return Filled(slots, f'There is 1 {singular}.', tuple(found))
    return Filled(slots, f'There are {len(found)} {plural}.', tuple(found))


def about_side(scene: Scene, side: str) -> Filled:
    """Say what is on a side."""
    found = [o for o in scene.objects if o.side == side]
    slots = {'x': PLACE[side]}
    if not found:
        return Filled(slots, f'I see nothing {PLACE[side]}.')
    return Filled(slots, f'I see {names(found)} {PLACE[side]}.', tuple(found))


def _description(scene: Scene) -> Filled:
    if not scene.objects:
        return Filled({}, f'I see an empty {scene.surface}.')
    seen = [
        f'{article(("near " if o.near else "far ") + o.name)} {PLACE[o.side]}'
        for o in scene.objects
    ]
    return Filled({}, f'I see {listed(seen)}.', scene.objects)


def _count(scene: Scene, rng: np.random.Generator) -> Filled:
    draw = rng.random()
    if draw < 0.25:
        return about_number(scene, None, None)
    if draw < 0.5:
        thing = scene.objects[0].colour if scene.objects and rng.random() < 0.7 else None
        return about_number(scene, None, thing or str(rng.choice(list(COLOURS))))
    _, shape, _ = reference(scene, rng)
    return about_number(scene, shape, None)


def _anything(scene: Scene, rng: np.random.Generator) -> Filled:
    colour = str(rng.choice(list(COLOURS)))
    if scene.objects and rng.random() < 0.6:
        colour = scene.objects[int(rng.integers(len(scene.objects)))].colour
    found = scene.of(colour=colour)
    if not found:
        return Filled({'x': colour}, f'No, I see nothing {colour}.')
    return Filled({'x': colour}, f'Yes, I see {names(found)}.', tuple(found))


def _way(scene: Scene, clear: str, blocked: str) -> Filled:
    """Answer about the robot's way: `clear` is the answer if it is, `blocked` begins the other."""
    if not scene.blocking:
        return Filled({}, clear)
    verb = 'is' if len(scene.blocking) == 1 else 'are'
    answer = sentence(f'{blocked}{names(scene.blocking)} {verb} in the way.')
    return Filled({}, answer, tuple(scene.blocking))


def sentence(text: str) -> str:
    """Capitalise the first letter."""
    return text[0].upper() + text[1:]


def _most(scene: Scene, thing: SceneObject | None, word: str) -> Filled | None:
    """Answer that a thing is nearest, leftmost or rightmost; None if there is no such thing."""
    if not scene.objects:
        return Filled({}, 'There are no objects.')
    return Filled({}, f'The {thing.name} is {word}.', (thing,)) if thing else None


def _is_colour(scene: Scene, rng: np.random.Generator) -> Filled:
    _, shape, _ = reference(scene, rng, present=0.85)
    found = scene.of(shape)
    colour = str(rng.choice(list(COLOURS)))
    if found and rng.random() < 0.5:
        colour = found[0].colour
    filled = about_colour(scene, shape)
    answer = filled.answer
    if len(found) == 1:
        verdict = 'Yes' if found[0].colour == colour else 'No'
        answer = f'{verdict}, the {shape} is {_worn(shape)}{found[0].colour}.'
    return filled._replace(slots={'x': shape, 'y': _worn(shape) + colour}, answer=answer)


def _is_side(scene: Scene, rng: np.random.Generator) -> Filled:
    noun, shape, colour = reference(scene, rng, present=0.85)
    found = scene.of(shape, colour)
    side = found[0].side if found and rng.random() < 0.5 else str(rng.choice(SIDES))
    filled = about_place(scene, noun, shape, colour)
    answer = filled.answer
    if len(found) == 1:
        verdict = 'Yes' if found[0].side == side else 'No'
        answer = f'{verdict}, the {noun} is {PLACE[found[0].side]}.'
    return filled._replace(slots={'x': noun, 'y': PLACE[side]}, answer=answer)


def _other(scene: Scene, rng: np.random.Generator) -> Filled:
    """Ask what the model was not made for: real questions, unknown nouns, junk."""
    draw = rng.random()
    noun, junk = str(rng.choice(PHRASINGS['unknown_nouns'])), _junk(rng)
    if draw < 0.5:
        anything = str(rng.choice(PHRASINGS['other_questions']))
    else:
        anything = str(rng.choice(PHRASINGS['noun_questions'])).format(article(noun), noun)
    return Filled({'any': anything, 'junk': junk}, REFUSAL)


def _junk(rng: np.random.Generator) -> str:
    letters = 'abcdefghijklmnopqrstuvwxyzäöüéñßçøåабвгдежзикл你好世界是什么éè0123456789'
    words = [
        ''.join(rng.choice(list(letters), int(rng.integers(1, 9))))
        for _ in range(int(rng.integers(1, 6)))
    ]
    return ' '.join(words)


_ASK: dict[str, _Ask] = {
    'describe': lambda scene, rng: _description(scene),
    'colour': lambda scene, rng: about_colour(scene, reference(scene, rng, present=0.8)[1]),
    'count': _count,
    'where': lambda scene, rng: about_place(scene, *reference(scene, rng)),
    'exists': lambda scene, rng: about_presence(scene, *reference(scene, rng, present=0.5)),
    'anything': _anything,
    'path_clear': lambda scene, rng: _way(scene, 'Yes, the path is clear.', 'No, '),
    'path_blocked': lambda scene, rng: _way(scene, 'No, the path is clear.', 'Yes, '),
    'blocker': lambda scene, rng: _way(scene, 'Nothing is in the way.', ''),
    'nearest': lambda scene, rng: _most(scene, scene.nearest, 'nearest'),
    'leftmost': lambda scene, rng: _most(scene, next(iter(scene.objects), None), 'leftmost'),
    'rightmost': lambda scene, rng: _most(scene, next(reversed(scene.objects), None), 'rightmost'),
    'on_side': lambda scene, rng: about_side(scene, str(rng.choice(SIDES))),
    'is_colour': _is_colour,
    'is_side': _is_side,
    'is_near': lambda scene, rng: about_distance(scene, *reference(scene, rng, present=0.85)),
    'other': _other,
}
KINDS = kinds_of('kinds', _ASK)

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
_WEIGHTS = np.array([_WEIGHT.get(name, 0.8) for name in KINDS])
_WEIGHTS /= _WEIGHTS.sum()
