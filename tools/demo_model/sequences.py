# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Sequences of frames of one camera, and questions about what changes in them.

Frames are ordered from the oldest to the newest. Things move from one third of the picture to
another or between near and far, appear, or go away; what stays trembles a little. The questions
compare the newest frame with the oldest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Callable

import numpy as np
from vlm_npu_ros.demo.questions import (
    about_number,
    about_place,
    absent,
    article,
    draw,
    Filled,
    kinds_of,
    listed,
    reference,
    SceneQuestion,
    sentence,
)
from vlm_npu_ros.demo.scenes import (
    COLOURS,
    FAR_SCALE,
    fits,
    MAX_OBJECTS,
    NEAR_SCALE,
    random_object,
    random_scene,
    Scene,
    SceneObject,
    SIDE_X,
    SIDES,
)

MAX_FRAMES = 4
ONE_FRAME = 'I see only one picture.'
APPEARED, WENT_AWAY = 'appeared', 'went away'

_Track = list[SceneObject | None]  # what an object is in each frame; None = not there
_TREMBLE = 0.005  # of things that stay, in image widths and as a share of their scale


@dataclass(frozen=True)
class Change:
    """
    What happened to an object between the oldest and the newest frame.

    thing: the object as it was last seen.
    what: in words: 'moved to the left', 'moved to the right', 'moved nearer',
        'moved farther away', 'appeared', 'went away'.
    """

    thing: SceneObject
    what: str

    @property
    def clause(self) -> str:
        """Name it in words: 'the red ball moved to the left', 'a red ball appeared'."""
        name = self.thing.name
        return f'{article(name) if self.what == APPEARED else f"the {name}"} {self.what}'


def changes(frames: Sequence[Scene]) -> list[Change]:
    """List what moved, then what appeared, then what went away; each from left to right."""
    before = {o.name: o for o in frames[0].objects}
    after = {o.name: o for o in frames[-1].objects}
    moved = [
        Change(thing, what)
        for name, thing in after.items()
        if name in before and (what := _movement(before[name], thing))
    ]
    new = [Change(thing, APPEARED) for name, thing in after.items() if name not in before]
    gone = [Change(thing, WENT_AWAY) for name, thing in before.items() if name not in after]
    return [*moved, *new, *gone]


def _movement(before: SceneObject, after: SceneObject) -> str:
    if before.side != after.side:
        leftwards = SIDES.index(after.side) < SIDES.index(before.side)
        return f'moved to the {"left" if leftwards else "right"}'
    if before.near != after.near:
        return 'moved nearer' if after.near else 'moved farther away'
    return ''


def random_sequence(rng: np.random.Generator, length: int | None = None) -> tuple[Scene, ...]:
    """Draw 2 to 4 frames in which 0 to 2 things change, each once."""
    length = length or int(rng.integers(2, MAX_FRAMES + 1))
    while True:
        scene = random_scene(rng)
        tracks: list[_Track] = [[thing] * length for thing in scene.objects]
        for _ in range(int(rng.choice(3, p=(0.2, 0.5, 0.3)))):
            _change(tracks, length, rng)
        if len({_name(track) for track in tracks}) < len(tracks):
            continue
        frames = [_frame(scene, [t[i] for t in tracks], rng) for i in range(length)]
        if all(_possible(frame) for frame in frames):
            return tuple(frames)


def _name(track: _Track) -> str:
    return next(thing.name for thing in track if thing)


def _change(tracks: list[_Track], length: int, rng: np.random.Generator) -> None:
    """Let a thing that stays move or go away, or another one appear."""
    still = [track for track in tracks if track[0] is track[-1]]
    draw, at = rng.random(), int(rng.integers(1, length))
    if draw < 0.17 or not still:
        tracks.append([*[None] * at, *[random_object(rng)] * (length - at)])
        return
    track = still[int(rng.integers(len(still)))]
    thing = track[0]
    assert thing
    if draw < 0.34:
        track[at:] = [None] * (length - at)
    elif draw < 0.57:
        scale = float(rng.uniform(*(FAR_SCALE if thing.near else NEAR_SCALE)))
        track[at:] = [replace(thing, near=not thing.near, scale=scale)] * (length - at)
    else:
        side = str(rng.choice([s for s in SIDES if s != thing.side]))
        track[at:] = [_placed(thing, side, rng)] * (length - at)
        if {side, thing.side} == {'left', 'right'} and at + 1 < length:
            track[at] = _placed(thing, 'middle', rng)


def _placed(thing: SceneObject, side: str, rng: np.random.Generator) -> SceneObject:
    return replace(thing, side=side, x=float(rng.uniform(*SIDE_X[side])))


def _frame(scene: Scene, things: Sequence[SceneObject | None], rng: np.random.Generator) -> Scene:
    """Put these things into the scene, each and the light varied a little."""
    objects = [
        replace(
            thing,
            x=thing.x + float(rng.uniform(-_TREMBLE, _TREMBLE)),
            scale=thing.scale * float(rng.uniform(1 - _TREMBLE, 1 + _TREMBLE)),
        )
        for thing in things
        if thing
    ]
    light = scene.light * float(rng.uniform(0.96, 1.04))
    return replace(scene, objects=tuple(sorted(objects, key=lambda o: o.x)), light=light)


def _possible(frame: Scene) -> bool:
    objects = list(frame.objects)
    return len(objects) <= MAX_OBJECTS and all(
        fits(thing, objects[:i]) for i, thing in enumerate(objects)
    )


_Ask = Callable[[Sequence[Scene], np.random.Generator], Filled | None]


def random_sequence_question(
    frames: Sequence[Scene],
    rng: np.random.Generator,
    kind: str | None = None,
    held_out: bool = False,
) -> SceneQuestion:
    """
    Draw a question about what changes in the frames, or about the newest one alone.

    In a single frame nothing can change, which is then the answer. Raises ValueError where `kind`
    has no clear answer.
    """
    chosen, filled = draw(SEQUENCE_KINDS, _WEIGHTS, kind, frames, rng)
    if len(frames) == 1 and not chosen.name.endswith('_now'):
        filled = Filled(filled.slots, ONE_FRAME)
    return chosen.question(filled, rng, held_out)


def happening(found: Sequence[Change]) -> str:
    """Put what changed into words, without a capital letter and a full stop."""
    return listed([change.clause for change in found])


def _about(found: Sequence[Change]) -> Filled:
    """Say what changed; what went away is missing now."""
    names = [change.thing.name for change in found if change.what == WENT_AWAY]
    about = tuple(change.thing for change in found)
    missing = names[0] if len(found) == 1 and names else ''
    return Filled({}, sentence(happening(found)) + '.', () if missing else about, missing)


def _changed(frames: Sequence[Scene], rng: np.random.Generator) -> Filled:
    found = changes(frames)
    if not found:
        return Filled({}, 'No, nothing changed.')
    return _about(found)._replace(answer=f'Yes, {happening(found)}.')


def _what_changed(frames: Sequence[Scene], rng: np.random.Generator) -> Filled:
    found = changes(frames)
    return _about(found) if found else Filled({}, 'Nothing changed.')


def _moved(frames: Sequence[Scene], rng: np.random.Generator) -> Filled:
    found = [c for c in changes(frames) if c.what not in (APPEARED, WENT_AWAY)]
    return _about(found) if found else Filled({}, 'Nothing moved.')


def _appeared(frames: Sequence[Scene], rng: np.random.Generator) -> Filled:
    found = [c for c in changes(frames) if c.what == APPEARED]
    return _about(found) if found else Filled({}, 'Nothing appeared.')


def _went_away(frames: Sequence[Scene], rng: np.random.Generator) -> Filled:
    found = [c for c in changes(frames) if c.what == WENT_AWAY]
    return _about(found) if found else Filled({}, 'Nothing went away.')


def about_movement(
    frames: Sequence[Scene], noun: str, shape: str, colour: str | None
) -> Filled | None:
    """Say what the thing called `noun` did; None if several have this name."""
    things = {o.name: o for frame in frames for o in frame.of(shape, colour)}
    if len(things) > 1:
        return None
    slots = {'x': noun}
    if not things:
        return Filled(slots, absent(noun), missing=noun)
    (thing,) = things.values()
    what = next((c.what for c in changes(frames) if c.thing.name == thing.name), 'did not move')
    if what == WENT_AWAY:
        return Filled(slots, f'The {noun} {what}.', missing=thing.name)
    return Filled(slots, f'The {noun} {what}.', (thing,))


def about_having_moved(
    frames: Sequence[Scene], noun: str, shape: str, colour: str | None
) -> Filled | None:
    """Say whether the thing called `noun` moved; None if several have this name."""
    filled = about_movement(frames, noun, shape, colour)
    if filled is None or filled.answer == absent(noun):
        return filled
    verdict = 'Yes' if ' moved ' in filled.answer else 'No'
    return filled._replace(answer=f'{verdict}, t{filled.answer[1:]}')


def _direction(frames: Sequence[Scene], rng: np.random.Generator) -> Filled | None:
    return about_movement(frames, *_reference(frames, rng))


def _did_move(frames: Sequence[Scene], rng: np.random.Generator) -> Filled | None:
    return about_having_moved(frames, *_reference(frames, rng))


def _reference(frames: Sequence[Scene], rng: np.random.Generator) -> tuple[str, str, str | None]:
    """Draw a noun like `reference`, but prefer what changes."""
    found = changes(frames)
    if not found or rng.random() < 0.4:
        return reference(frames[-1], rng, present=0.8)
    thing = found[int(rng.integers(len(found)))].thing
    if rng.random() < 0.5:
        return thing.shape, thing.shape, None
    return thing.name, thing.shape, thing.colour


def _count_now(frames: Sequence[Scene], rng: np.random.Generator) -> Filled:
    draw = rng.random()
    if draw < 0.35:
        return about_number(frames[-1], None, None)
    if draw < 0.5:
        return about_number(frames[-1], None, str(rng.choice(list(COLOURS))))
    return about_number(frames[-1], _reference(frames, rng)[1], None)


def _where_now(frames: Sequence[Scene], rng: np.random.Generator) -> Filled:
    return about_place(frames[-1], *_reference(frames, rng))


SEQUENCE_KINDS = kinds_of('sequences', {
    'changed': _changed,
    'what_changed': _what_changed,
    'moved': _moved,
    'direction': _direction,
    'did_move': _did_move,
    'appeared': _appeared,
    'went_away': _went_away,
    'count_now': _count_now,
    'where_now': _where_now,
})
_WEIGHT = {'what_changed': 1.3, 'moved': 1.3, 'direction': 1.3, 'count_now': 1.2, 'where_now': 0.6}
_WEIGHTS = np.array([_WEIGHT.get(name, 1.0) for name in SEQUENCE_KINDS])
_WEIGHTS /= _WEIGHTS.sum()
