# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Dialogues: what their questions refer back to, and that the answers are true."""

from __future__ import annotations

import re

from dialogues import FOLLOW_UP_KINDS, random_dialogue, random_follow_up, WHICH_ONE
from made_scenes import scene_of, thing
import numpy as np
from sequences import random_sequence, random_sequence_question
from vlm_npu_ros.demo.questions import random_question, REFUSAL, SceneQuestion
from vlm_npu_ros.demo.scenes import random_scene, Scene

Frames = tuple[Scene, ...]


SPREAD = (scene_of(
    thing('red ball', 'left'), thing('black person', 'middle', 'far'),
    thing('blue ball', 'right', 'far'),
),)
PAIR = (scene_of(thing('green box', 'left'), thing('orange cone', 'middle')),)
MOVED = (scene_of(thing('green box', 'left')), scene_of(thing('green box', 'right')))
GONE = (PAIR[0], scene_of(thing('green box', 'left')))

# Frames, first question as kind and words, follow-up as kind and words, its answer.
TRUE_ANSWERS = [
    (SPREAD, 'where', 'red ball', 'its_colour', '', 'The ball is red.'),
    (SPREAD, 'colour', 'person', 'its_place', '',
     'The person in black is in the middle, far away.'),
    (SPREAD, 'nearest', '', 'its_distance', '', 'Yes, the red ball is near.'),
    (SPREAD, 'exists', 'a chair', 'its_place', '', "I can't see a chair."),
    (SPREAD, 'colour', 'ball', 'its_place', '', WHICH_ONE),
    (SPREAD, 'describe', '', 'its_colour', '', WHICH_ONE),
    (SPREAD, 'leftmost', '', 'is_it_colour', 'blue', 'No, the ball is red.'),
    (SPREAD, 'leftmost', '', 'is_it_colour', 'red', 'Yes, the ball is red.'),
    (SPREAD, 'colour', 'person', 'is_it_colour', 'in black', 'Yes, the person is in black.'),
    (SPREAD, 'rightmost', '', 'is_it_side', 'on the left', 'No, the blue ball is on the right.'),
    (PAIR, 'colour', 'cone', 'is_it_blocking', '', 'Yes, the orange cone is in the way.'),
    (PAIR, 'colour', 'box', 'is_it_blocking', '', 'No, the green box is not in the way.'),
    (SPREAD, 'where', 'red ball', 'how_many_such', '', 'There are 2 balls.'),
    (SPREAD, 'where', 'red ball', 'other_one', '', 'The blue ball is on the right, far away.'),
    (PAIR, 'colour', 'box', 'other_one', '', 'The cone is orange.'),
    (PAIR, 'leftmost', '', 'others_colour', '', 'The cone is orange.'),
    (SPREAD, 'leftmost', '', 'others_place', '', 'The blue ball is on the right, far away.'),
    (SPREAD, 'where', 'red ball', 'same_for', 'the person$',
     'The person is in the middle, far away.'),
    (SPREAD, 'colour', 'person', 'same_for', 'the box', "I can't see a box."),
    (PAIR, 'count', 'cones', 'same_for', 'boxes', 'There is 1 box.'),
    (PAIR, 'exists', 'cone', 'same_for', 'a box', 'Yes, there is a box.'),
    (SPREAD, 'on_side', 'on the left', 'same_for', 'in the middle',
     'I see a person in black in the middle.'),
    (MOVED, 'what_changed', '', 'its_direction', '', 'The green box moved to the right.'),
    (MOVED, 'moved', '', 'its_place', '', 'The green box is on the right, near.'),
    (GONE, 'went_away', '', 'its_place', '', "I can't see an orange cone."),
    (GONE, 'direction', 'the box', 'same_for', 'the cone', 'The cone went away.'),
]


def has(words: str, text: str) -> bool:
    return re.search(words.removesuffix('$') + r'\b', text) is not None


def first(frames: Frames, kind: str, words: str) -> SceneQuestion:
    for seed in range(3000):
        rng = np.random.default_rng(seed)
        try:
            question = random_question(frames[-1], rng, kind)
        except KeyError:
            question = random_sequence_question(frames, rng, kind)
        if has(words, question.text):
            return question
    raise AssertionError(f'no question {kind} with {words!r}')


def follow_up(
    frames: Frames, dialogue: list[SceneQuestion], kind: str, words: str
) -> SceneQuestion:
    for seed in range(3000):
        rng = np.random.default_rng(seed)
        question = random_follow_up(frames, dialogue, rng, kind, held_out=bool(seed % 2))
        if question and has(words, question.text):
            return question
    raise AssertionError(f'no follow-up {kind} with {words!r}')


def test_answers_are_true() -> None:
    for frames, kind, words, then, more_words, answer in TRUE_ANSWERS:
        question = follow_up(frames, [first(frames, kind, words)], then, more_words)
        assert (question.kind, question.answer) == (then, answer), question


def test_every_kind_is_in_the_table() -> None:
    assert {then for _, _, _, then, _, _ in TRUE_ANSWERS} == set(FOLLOW_UP_KINDS)


def test_it_stays_the_same_through_follow_ups_and_refusals() -> None:
    dialogue = [first(SPREAD, 'where', 'red ball')]
    dialogue.append(follow_up(SPREAD, dialogue, 'its_distance', ''))
    dialogue.append(first(SPREAD, 'other', ''))
    assert dialogue[-1].answer == REFUSAL
    assert follow_up(SPREAD, dialogue, 'its_colour', '').answer == 'The ball is red.'


def test_what_was_meant_can_be_said() -> None:
    dialogue = [first(SPREAD, 'describe', '')]
    dialogue.append(follow_up(SPREAD, dialogue, 'its_place', ''))
    assert dialogue[-1].answer == WHICH_ONE
    answer = follow_up(SPREAD, dialogue, 'same_for', 'the blue ball').answer
    assert answer == 'The blue ball is on the right, far away.'


def test_what_is_not_clear_is_not_asked() -> None:
    for frames, kind, words, then in UNCLEAR:
        dialogue = [first(frames, kind, words)]
        for seed in range(100):
            asked = random_follow_up(frames, dialogue, np.random.default_rng(seed), then)
            assert asked is None, (kind, then)


UNCLEAR = [
    (SPREAD, 'path_clear', '', 'its_colour'),  # nothing is named
    (SPREAD, 'colour', 'person', 'other_one'),  # there are two others
    (SPREAD, 'leftmost', '', 'other_one'),  # what is asked of it?
    (SPREAD, 'leftmost', '', 'same_for'),
    (GONE, 'went_away', '', 'is_it_blocking'),  # it is not there any more
    (GONE, 'went_away', '', 'its_direction'),
]


def test_nothing_can_be_referred_to_at_first() -> None:
    assert random_follow_up(SPREAD, [], np.random.default_rng(1)) is None


def test_dialogues_have_the_length_asked_for_and_follow_ups() -> None:
    rng = np.random.default_rng(5)
    kinds = set()
    for turns in [*range(1, 11)] * 30:
        frames = random_sequence(rng) if turns % 2 else (random_scene(rng),)
        dialogue = random_dialogue(frames, rng, turns)
        assert len(dialogue) == turns
        assert dialogue[0].kind not in FOLLOW_UP_KINDS
        kinds |= {question.kind for question in dialogue}
    assert set(FOLLOW_UP_KINDS) <= kinds
