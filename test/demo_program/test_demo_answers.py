# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What answers are worth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from builtin_interfaces.msg import Duration, Time
from demo_answers import DemoAnswer, summary, verdict
import numpy as np
import pytest
from std_msgs.msg import Header
from vlm_npu_ros.client.messages import make_answer
from vlm_npu_ros.demo.questions import SceneQuestion
from vlm_npu_ros.demo.scenes import random_scene
from vlm_npu_ros.demo.truth import Truth
from vlm_npu_ros.msg import GenerationStats, PartialAnswer
from vlm_npu_ros.srv import Ask

TRUTH = Truth(random_scene(np.random.default_rng(1)), Time(sec=5, nanosec=10), 'camera')


def pieces(*deltas: str) -> tuple[PartialAnswer, ...]:
    return tuple(PartialAnswer(sequence=i, delta=delta) for i, delta in enumerate(deltas))


def answer(**result: Any) -> DemoAnswer:
    """Make a right answer by service, changed by these fields of the result."""
    response = Ask.Response(
        success=True,
        answer='It is red.',
        header=Header(stamp=Time(sec=5, nanosec=10), frame_id='camera'),
        frame_age=Duration(sec=1, nanosec=250_000_000),
        stats=GenerationStats(first_token_seconds=0.0314, tokens_per_second=99.6),
    )
    for name, value in result.items():
        setattr(response, name, value)
    question = SceneQuestion('colour', 'what colour is it?', 'It is red.')
    return DemoAnswer(
        'service', question, TRUTH, make_answer(response), pieces('It is', ' red.', '')
    )


def test_a_right_answer() -> None:
    good = answer()
    assert good.right and good.fault == ''
    assert good.note == 'frame 1.25 s old, first token after 31 ms, 100 tokens/s'
    assert verdict([good]) == ''


def test_a_wrong_answer_is_no_fault() -> None:
    wrong = replace(answer(answer='It is blue.'), pieces=pieces('It is', ' blue.'))
    assert not wrong.right and wrong.fault == ''


@pytest.mark.parametrize('faulty, words', [
    (answer(success=False, error_code=9508, error_msg='Too slow'), 'error 9508: Too slow'),
    (answer(header=Header(stamp=Time(sec=6), frame_id='other')), "a frame of 'other'"),
    (answer(header=Header(stamp=Time(sec=4, nanosec=9), frame_id='camera')), 'older'),
    (replace(answer(), pieces=pieces('It is', ' red.')[1:]), 'lost'),
    (replace(answer(), pieces=pieces('It is', ' red.')[::-1]), 'out of order'),
    (replace(answer(), pieces=pieces('It is', ' ')), 'do not add up'),
    (replace(answer(), pieces=()), 'do not add up'),
])
def test_faults(faulty: DemoAnswer, words: str) -> None:
    assert words in faulty.fault
    assert faulty.note == faulty.fault
    assert not faulty.right
    problem = verdict([answer()] * 20 + [faulty])
    assert problem.startswith("bad answer by service to 'what colour is it?': ")
    assert words in problem


@pytest.mark.parametrize('wrong, problem', [
    (0, ''),
    (1, ''),
    (2, 'only 3 of 5 answers are right, 80% are needed.'),
])
def test_most_answers_must_be_right(wrong: int, problem: str) -> None:
    bad = replace(answer(answer='It is blue.'), pieces=pieces('It is blue.'))
    assert verdict([bad] * wrong + [answer()] * (5 - wrong)) == problem


def test_summary() -> None:
    answers = [answer(), replace(answer(), way='action'), answer(success=False)]
    assert summary(answers) == '2 of 3 answers are right; 2 came by service, 1 by action.'
