# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Sequences: what changes in them, and that the answers about it are true."""

from __future__ import annotations

import re

from made_scenes import scene_of, thing
import numpy as np
from sequences import (
    changes,
    MAX_FRAMES,
    ONE_FRAME,
    random_sequence,
    random_sequence_question,
    SEQUENCE_KINDS,
)
from vlm_npu_ros.demo.questions import SceneQuestion
from vlm_npu_ros.demo.scenes import fits, MAX_OBJECTS, Scene

Frames = tuple[Scene, ...]


BALL, BOX = thing('red ball', 'left'), thing('blue box', 'right', 'far')
STILL = (scene_of(BALL, BOX), scene_of(BALL, BOX))
LEFT = (scene_of(thing('red ball', 'right')), scene_of(thing('red ball', 'middle')))
RIGHT = (scene_of(BALL), scene_of(thing('red ball', 'middle')), scene_of(
    thing('red ball', 'right')))
NEARER = (scene_of(thing('red ball', 'left', 'far')), scene_of(BALL))
FARTHER = (scene_of(BALL), scene_of(thing('red ball', 'left', 'far')))
NEW = (scene_of(BALL), scene_of(BALL, BOX))
GONE = (scene_of(BALL, BOX), scene_of(BALL, BOX), scene_of(BALL))
TWO = (scene_of(BALL, BOX), scene_of(thing('red ball', 'middle')))
PERSON = (scene_of(), scene_of(thing('green person', 'left')))

# Frames, kind, what the question must contain, its answer.
TRUE_ANSWERS = [
    (STILL, 'changed', '', 'No, nothing changed.'),
    (NEW, 'changed', '', 'Yes, a blue box appeared.'),
    (TWO, 'changed', '', 'Yes, the red ball moved to the right and the blue box went away.'),
    (STILL, 'what_changed', '', 'Nothing changed.'),
    (LEFT, 'what_changed', '', 'The red ball moved to the left.'),
    (TWO, 'what_changed', '', 'The red ball moved to the right and the blue box went away.'),
    (STILL, 'moved', '', 'Nothing moved.'),
    (GONE, 'moved', '', 'Nothing moved.'),
    (RIGHT, 'moved', '', 'The red ball moved to the right.'),
    (NEARER, 'moved', '', 'The red ball moved nearer.'),
    (FARTHER, 'moved', '', 'The red ball moved farther away.'),
    (LEFT, 'direction', 'the ball', 'The ball moved to the left.'),
    (RIGHT, 'direction', 'the red ball', 'The red ball moved to the right.'),
    (STILL, 'direction', 'the box', 'The box did not move.'),
    (NEW, 'direction', 'the box', 'The box appeared.'),
    (GONE, 'direction', 'the box', 'The box went away.'),
    (LEFT, 'direction', 'the door', "I can't see a door."),
    (LEFT, 'did_move', 'the ball', 'Yes, the ball moved to the left.'),
    (STILL, 'did_move', 'the box', 'No, the box did not move.'),
    (GONE, 'did_move', 'the box', 'No, the box went away.'),
    (LEFT, 'did_move', 'the door', "I can't see a door."),
    (NEW, 'appeared', '', 'A blue box appeared.'),
    (PERSON, 'appeared', '', 'A person in green appeared.'),
    (GONE, 'appeared', '', 'Nothing appeared.'),
    (GONE, 'went_away', '', 'The blue box went away.'),
    (NEW, 'went_away', '', 'Nothing went away.'),
    (NEW, 'count_now', 'many objects', 'There are 2 objects.'),
    (GONE, 'count_now', 'boxes', 'There are no boxes.'),
    (LEFT, 'where_now', 'the ball', 'The ball is in the middle, near.'),
    (GONE, 'where_now', 'the box', "I can't see a box."),
]


def ask(frames: Frames, kind: str, words: str) -> SceneQuestion:
    for seed in range(3000):
        rng = np.random.default_rng(seed)
        question = random_sequence_question(frames, rng, kind, held_out=bool(seed % 2))
        if re.search(re.escape(words) + r'\b' if words else '', question.text):
            return question
    raise AssertionError(f'no question {kind} with {words!r}')


def test_answers_are_true() -> None:
    for frames, kind, words, answer in TRUE_ANSWERS:
        question = ask(frames, kind, words)
        assert (question.kind, question.answer) == (kind, answer), question


def test_every_kind_is_in_the_table() -> None:
    assert {kind for _, kind, _, _ in TRUE_ANSWERS} == set(SEQUENCE_KINDS)


def test_of_one_frame_only_the_present_is_told() -> None:
    for kind in SEQUENCE_KINDS:
        answer = random_sequence_question(NEW[:1], np.random.default_rng(1), kind).answer
        assert (answer == ONE_FRAME) != kind.endswith('_now'), kind


def test_which_of_two_moved_is_not_asked_by_shape_alone() -> None:
    two = (
        scene_of(BALL, thing('blue ball', 'right')),
        scene_of(BALL, thing('blue ball', 'middle')),
    )
    for seed in range(200):
        try:
            question = random_sequence_question(two, np.random.default_rng(seed), 'did_move')
        except ValueError:
            continue
        assert 'the ball' not in question.text


def test_random_sequences_are_as_they_say() -> None:
    rng = np.random.default_rng(5)
    drawn = [random_sequence(rng) for _ in range(300)]
    for frames in drawn:
        assert len(changes(frames)) <= 2
        for frame in frames:
            objects = list(frame.objects)
            assert objects == sorted(objects, key=lambda o: o.x)
            assert len(objects) <= MAX_OBJECTS
            assert all(fits(o, objects[:i]) for i, o in enumerate(objects))
            assert (frame.seed, frame.horizon) == (frames[0].seed, frames[0].horizon)
    assert {len(frames) for frames in drawn} == set(range(2, MAX_FRAMES + 1))
    assert {len(changes(frames)) for frames in drawn} == {0, 1, 2}
    assert {change.what for frames in drawn for change in changes(frames)} == {
        'moved to the left', 'moved to the right', 'moved nearer', 'moved farther away',
        'appeared', 'went away',
    }


def test_each_thing_changes_once() -> None:
    """What the newest frame differs in from the oldest is then all that has happened."""
    rng = np.random.default_rng(6)
    for _ in range(300):
        frames = random_sequence(rng)
        for name in {o.name for frame in frames for o in frame.objects}:
            seen = [next((o for o in f.objects if o.name == name), None) for f in frames]
            states = [(o.side, o.near) if o else None for o in seen]
            steps = [s for i, s in enumerate(states) if i == 0 or s != states[i - 1]]
            assert len(steps) == len(set(steps)) <= 3
            assert len(steps) < 3 or steps[1] and steps[1][0] == 'middle'


def test_the_same_seed_gives_the_same_frames() -> None:
    first, second = (random_sequence(np.random.default_rng(3), 4) for _ in range(2))
    assert first == second
    assert len(first) == 4
