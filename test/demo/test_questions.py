# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Questions: their phrasings, and that their answers are true."""

from __future__ import annotations

import re

from made_scenes import scene_of, thing
import numpy as np
import pytest
from vlm_npu_ros.demo.questions import KINDS, random_question, REFUSAL, SceneQuestion
from vlm_npu_ros.demo.scenes import Scene

EMPTY = scene_of(surface='table')
CONE = scene_of(thing('orange cone', 'middle'))
SPREAD = scene_of(
    thing('red ball', 'left'),
    thing('black person', 'middle', 'far'),
    thing('blue ball', 'right', 'far'),
)

# Scene, kind, what the question must contain, its answer.
TRUE_ANSWERS = [
    (EMPTY, 'describe', '', 'I see an empty table.'),
    (CONE, 'describe', '', 'I see a near orange cone in the middle.'),
    (SPREAD, 'describe', '',
     'I see a near red ball on the left, a far person in black in the middle '
     'and a far blue ball on the right.'),
    (CONE, 'colour', 'the cone', 'The cone is orange.'),
    (CONE, 'colour', 'the door', "I can't see a door."),
    (SPREAD, 'colour', 'the ball', 'There are 2 balls: red and blue.'),
    (SPREAD, 'colour', 'the person', 'The person is in black.'),
    (EMPTY, 'count', 'many objects', 'There are no objects.'),
    (CONE, 'count', 'cones', 'There is 1 cone.'),
    (SPREAD, 'count', 'balls', 'There are 2 balls.'),
    (SPREAD, 'count', 'people', 'There is 1 person.'),
    (SPREAD, 'count', 'boxes', 'There are no boxes.'),
    (SPREAD, 'count', 'many objects', 'There are 3 objects.'),
    (SPREAD, 'count', 'blue objects', 'There is 1 blue object.'),
    (CONE, 'where', 'the cone', 'The cone is in the middle, near.'),
    (SPREAD, 'where', 'person in black', 'The person in black is in the middle, far away.'),
    (SPREAD, 'where', 'the ball',
     'There are 2 balls: red on the left and blue on the right.'),
    (SPREAD, 'where', 'red ball', 'The red ball is on the left, near.'),
    (CONE, 'exists', 'an orange cone', 'Yes, there is an orange cone.'),
    (SPREAD, 'exists', 'a ball', 'Yes, there are 2 balls.'),
    (SPREAD, 'exists', 'a chair', "No, I can't see a chair."),
    (SPREAD, 'anything', 'blue', 'Yes, I see a blue ball.'),
    (SPREAD, 'anything', 'green', 'No, I see nothing green.'),
    (EMPTY, 'path_clear', '', 'Yes, the path is clear.'),
    (CONE, 'path_clear', '', 'No, an orange cone is in the way.'),
    (SPREAD, 'path_clear', '', 'Yes, the path is clear.'),
    (CONE, 'path_blocked', '', 'Yes, an orange cone is in the way.'),
    (SPREAD, 'path_blocked', '', 'No, the path is clear.'),
    (CONE, 'blocker', '', 'An orange cone is in the way.'),
    (EMPTY, 'blocker', '', 'Nothing is in the way.'),
    (EMPTY, 'nearest', '', 'There are no objects.'),
    (SPREAD, 'nearest', '', 'The red ball is nearest.'),
    (SPREAD, 'leftmost', '', 'The red ball is leftmost.'),
    (SPREAD, 'rightmost', '', 'The blue ball is rightmost.'),
    (SPREAD, 'on_side', 'in the middle', 'I see a person in black in the middle.'),
    (CONE, 'on_side', 'on the left', 'I see nothing on the left.'),
    (CONE, 'is_colour', 'orange', 'Yes, the cone is orange.'),
    (CONE, 'is_colour', 'cone is green', 'No, the cone is orange.'),
    (SPREAD, 'is_colour', 'person is in red', 'No, the person is in black.'),
    (CONE, 'is_side', 'the cone is on the left', 'No, the cone is in the middle.'),
    (CONE, 'is_side', 'the cone is in the middle', 'Yes, the cone is in the middle.'),
    (CONE, 'is_near', 'the cone', 'Yes, the cone is near.'),
    (SPREAD, 'is_near', 'the person in black', 'No, the person in black is far away.'),
    (SPREAD, 'is_near', 'the box', "I can't see a box."),
    (CONE, 'other', '', REFUSAL),
]


def ask(scene: Scene, kind: str, words: str) -> SceneQuestion:
    for seed in range(3000):
        rng = np.random.default_rng(seed)
        try:
            question = random_question(scene, rng, kind, held_out=bool(seed % 2))
        except ValueError:
            continue
        if re.search(re.escape(words) + r'\b' if words else '', question.text):
            return question
    raise AssertionError(f'no question {kind} with {words!r}')


def test_answers_are_true() -> None:
    for scene, kind, words, answer in TRUE_ANSWERS:
        question = ask(scene, kind, words)
        assert (question.kind, question.answer) == (kind, answer), question


def test_every_kind_is_in_the_table() -> None:
    assert {kind for _, kind, _, _ in TRUE_ANSWERS} == set(KINDS)


def test_what_is_nearest_of_two_is_not_asked() -> None:
    two = scene_of(thing('red ball', 'left'), thing('blue box', 'right'))
    with pytest.raises(ValueError, match='nearest'):
        random_question(two, np.random.default_rng(1), 'nearest')


def test_the_same_seed_asks_the_same() -> None:
    first, second = (random_question(SPREAD, np.random.default_rng(3)) for _ in range(2))
    assert first == second


def test_no_question_of_the_held_out_refusals_is_trained_on() -> None:
    rng = np.random.default_rng(2)
    trained = {random_question(EMPTY, rng, 'other').text.strip(' ?.!') for _ in range(3000)}
    assert not trained & set(KINDS['other'].held_out)
