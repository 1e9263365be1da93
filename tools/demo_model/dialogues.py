# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Dialogues about one group of frames, in which questions refer back to earlier ones.

'It' is the only object that the last answer names. 'And the box?' repeats the last question for
the box. Refusals in between do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sequences import (
    about_having_moved,
    about_movement,
    ONE_FRAME,
    random_sequence_question,
)
from vlm_npu_ros.demo.questions import (
    about_colour,
    about_distance,
    about_number,
    about_place,
    about_presence,
    about_side,
    absent,
    article,
    Filled,
    kinds_of,
    PLACE,
    random_question,
    reference,
    SceneQuestion,
)
from vlm_npu_ros.demo.scenes import COLOURS, Scene, SceneObject, SIDES

WHICH_ONE = 'Which one do you mean?'

# From the frames and the question referred back to; None where there is no clear answer.
_Ask = Callable[[Sequence[Scene], SceneQuestion, np.random.Generator], Filled | None]
# What can be asked about a thing; the arguments are the frames, its noun, shape and colour.
_About = Callable[[Sequence[Scene], str, str, str | None], Filled | None]
_ABOUT: dict[str, _About] = {
    'colour': lambda frames, noun, shape, colour: about_colour(frames[-1], shape, colour),
    'where': lambda frames, *thing: about_place(frames[-1], *thing),
    'is_near': lambda frames, *thing: about_distance(frames[-1], *thing),
    'exists': lambda frames, *thing: about_presence(frames[-1], *thing),
    'direction': about_movement,
    'did_move': about_having_moved,
}
_SAME = {'where_now': 'where', 'count_now': 'count'}
_IT = ('colour', 'where', 'is_near')  # what 'and the other one?' can carry on


def random_dialogue(
    frames: Sequence[Scene], rng: np.random.Generator, turns: int, held_out: bool = False
) -> list[SceneQuestion]:
    """Draw questions of which most refer back to earlier ones."""
    dialogue: list[SceneQuestion] = []
    while len(dialogue) < turns:
        turn = None
        if dialogue and rng.random() < 0.75:
            turn = random_follow_up(frames, dialogue, rng, held_out=held_out)
        dialogue.append(turn or random_opening(frames, rng, held_out))
    return dialogue


def random_opening(
    frames: Sequence[Scene], rng: np.random.Generator, held_out: bool = False
) -> SceneQuestion:
    """Draw a question that can be understood by itself."""
    if rng.random() < (0.6 if len(frames) > 1 else 0.03):
        return random_sequence_question(frames, rng, held_out=held_out)
    return random_question(frames[-1], rng, held_out=held_out)


def random_follow_up(
    frames: Sequence[Scene],
    dialogue: Sequence[SceneQuestion],
    rng: np.random.Generator,
    kind: str | None = None,
    held_out: bool = False,
) -> SceneQuestion | None:
    """Draw a question that refers back to the dialogue so far; None if none is clear."""
    last = next((turn for turn in reversed(dialogue) if turn.kind != 'other'), None)
    if last is None:
        return None
    for name in [kind] if kind else _shuffled(rng):
        filled = FOLLOW_UP_KINDS[name].ask(frames, last, rng)
        if filled is not None:
            return FOLLOW_UP_KINDS[name].question(filled, rng, held_out)
    return None


def _shuffled(rng: np.random.Generator) -> list[str]:
    """Shuffle the kinds; those with more weight tend to come first."""
    order = rng.exponential(size=len(_NAMES)) / _WEIGHTS
    return [_NAMES[i] for i in np.argsort(order)]


def _of_it(asks: str) -> _Ask:
    """Make the function for a question of this kind about 'it'."""

    def ask(
        frames: Sequence[Scene], last: SceneQuestion, rng: np.random.Generator
    ) -> Filled | None:
        if last.missing:
            return Filled({}, absent(last.missing), missing=last.missing, asks=asks)
        if len(last.about) > 1:
            several = Filled({}, WHICH_ONE, last.about, asks=asks)
            return several if rng.random() < 0.3 else None
        if not last.about:
            return None
        return _of_thing(asks, frames, last.about[0])

    return ask


def _of_thing(asks: str, frames: Sequence[Scene], thing: SceneObject) -> Filled | None:
    filled = _ABOUT[asks](frames, thing.name, thing.shape, thing.colour)
    return filled._replace(slots={}, asks=asks) if filled else None


def _only(frames: Sequence[Scene], last: SceneQuestion) -> SceneObject | None:
    """Find what 'it' is in the newest frame, if it is there."""
    if len(last.about) != 1:
        return None
    return next((o for o in frames[-1].objects if o.name == last.about[0].name), None)


def _is_it_colour(
    frames: Sequence[Scene], last: SceneQuestion, rng: np.random.Generator
) -> Filled | None:
    thing = _only(frames, last)
    if thing is None:
        return None
    colour = thing.colour if rng.random() < 0.5 else str(rng.choice(list(COLOURS)))
    worn = 'in ' if thing.shape == 'person' else ''
    verdict = 'Yes' if colour == thing.colour else 'No'
    answer = f'{verdict}, the {thing.shape} is {worn}{thing.colour}.'
    return Filled({'y': worn + colour}, answer, (thing,))


def _is_it_side(
    frames: Sequence[Scene], last: SceneQuestion, rng: np.random.Generator
) -> Filled | None:
    thing = _only(frames, last)
    if thing is None:
        return None
    side = thing.side if rng.random() < 0.4 else str(rng.choice(SIDES))
    verdict = 'Yes' if side == thing.side else 'No'
    answer = f'{verdict}, the {thing.name} is {PLACE[thing.side]}.'
    return Filled({'y': PLACE[side]}, answer, (thing,))


def _is_it_blocking(
    frames: Sequence[Scene], last: SceneQuestion, rng: np.random.Generator
) -> Filled | None:
    thing = _only(frames, last)
    if thing is None:
        return None
    if thing in frames[-1].blocking:
        return Filled({}, f'Yes, the {thing.name} is in the way.', (thing,))
    return Filled({}, f'No, the {thing.name} is not in the way.', (thing,))


def _how_many_such(
    frames: Sequence[Scene], last: SceneQuestion, rng: np.random.Generator
) -> Filled | None:
    thing = _only(frames, last)
    return about_number(frames[-1], thing.shape, None)._replace(asks='count') if thing else None


def _its_direction(
    frames: Sequence[Scene], last: SceneQuestion, rng: np.random.Generator
) -> Filled | None:
    if len(frames) == 1 and last.about and rng.random() < 0.1:
        return Filled({}, ONE_FRAME)
    if len(frames) == 1 or len(last.about) != 1:
        return None
    return _of_thing('direction', frames, last.about[0])


def _other(frames: Sequence[Scene], last: SceneQuestion) -> SceneObject | None:
    """Find 'the other one': of two of a shape or, failing that, of two objects."""
    thing = _only(frames, last)
    if thing is None:
        return None
    others = [o for o in frames[-1].objects if o.name != thing.name]
    alike = [o for o in others if o.shape == thing.shape] or others
    return alike[0] if len(alike) == 1 else None


def _other_one(
    frames: Sequence[Scene], last: SceneQuestion, rng: np.random.Generator
) -> Filled | None:
    other, asks = _other(frames, last), _SAME.get(last.asks, last.asks)
    carried = asks in _IT or (len(frames) > 1 and asks in ('direction', 'did_move'))
    return _of_thing(asks, frames, other) if other and carried else None


def _of_the_other(asks: str) -> _Ask:
    """Make the function for a question of this kind about 'the other one'."""

    def ask(
        frames: Sequence[Scene], last: SceneQuestion, rng: np.random.Generator
    ) -> Filled | None:
        other = _other(frames, last)
        return _of_thing(asks, frames, other) if other else None

    return ask


def _same_for(
    frames: Sequence[Scene], last: SceneQuestion, rng: np.random.Generator
) -> Filled | None:
    """Repeat the last question for another thing."""
    asks = _SAME.get(last.asks, last.asks)
    noun, shape, colour = _another(frames[-1], last, rng)
    if asks == 'on_side':
        side = str(rng.choice([s for s in SIDES if PLACE[s] not in last.answer]))
        return about_side(frames[-1], side)._replace(asks=asks)
    if asks == 'count':
        number = about_number(frames[-1], shape, None)
        return number._replace(slots={'x': number.slots['xs']}, asks=asks)
    if asks not in _ABOUT or (len(frames) == 1 and asks in ('direction', 'did_move')):
        return None
    if asks == 'colour':
        noun, colour = shape, None
    filled = _ABOUT[asks](frames, noun, shape, colour)
    x = article(noun) if asks == 'exists' else f'the {noun}'
    return filled._replace(slots={'x': x}, asks=asks) if filled else None


def _another(
    scene: Scene, last: SceneQuestion, rng: np.random.Generator
) -> tuple[str, str, str | None]:
    """Draw the noun, the shape and the colour of something that was not asked about just now."""
    if last.answer == WHICH_ONE and rng.random() < 0.8:
        thing = last.about[int(rng.integers(len(last.about)))]
        return thing.name, thing.shape, thing.colour
    while True:
        noun, shape, colour = reference(scene, rng, present=0.8)
        if not any(o.shape == shape and colour in (None, o.colour) for o in last.about):
            return noun, shape, colour


FOLLOW_UP_KINDS = kinds_of('follow_ups', {
    'its_colour': _of_it('colour'),
    'its_place': _of_it('where'),
    'its_distance': _of_it('is_near'),
    'is_it_colour': _is_it_colour,
    'is_it_side': _is_it_side,
    'is_it_blocking': _is_it_blocking,
    'how_many_such': _how_many_such,
    'its_direction': _its_direction,
    'other_one': _other_one,
    'others_colour': _of_the_other('colour'),
    'others_place': _of_the_other('where'),
    'same_for': _same_for,
})
_WEIGHT = {'other_one': 5.0, 'others_colour': 3.0, 'others_place': 3.0, 'its_direction': 3.0}
_NAMES = list(FOLLOW_UP_KINDS)
_WEIGHTS = np.array([_WEIGHT.get(name, 1.0) for name in _NAMES])
