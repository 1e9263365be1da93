# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The node with llama.cpp, alone and where the board has failed; the model writes nonsense."""

from __future__ import annotations

from collections.abc import Iterator
import time

from action_msgs.msg import GoalStatus
from asked_node import asked_node
from bars import timing, within
import numpy as np
import pytest
from robot import Robot, wait_until
from tiny_llama import tiny_llama
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.node.vlm_node import VlmNode

LONG = 2000  # tokens: seconds, at the speed of this model


@pytest.fixture(scope='module')
def asked() -> Iterator[tuple[VlmNode, Robot]]:
    model, mmproj = map(str, tiny_llama())
    with asked_node(
        backend='llamacpp', language_model_path=model, encoder_path=mmproj, cpu_threads=1,
        max_new_tokens=20, read_ahead_keep=0.0,
    ) as both:
        yield both


def picture(seed: int) -> np.ndarray:
    return render(random_scene(np.random.default_rng(seed)), 320, 240)


def test_partials_are_streamed_and_a_follow_up_reads_only_what_is_new(
    asked: tuple[VlmNode, Robot]
) -> None:
    node, robot = asked
    assert node.parameters.isolated('llamacpp')
    frame = robot.publish(picture(1))
    first = robot.ask(question='what do you see?', conversation_id='a',
                      not_before=frame.header.stamp)
    assert first.success and first.answer, first.error_msg
    assert (first.stats.backend, first.stats.model) == ('llamacpp', 'tiny')
    pieces = robot.partials_of(first.request_id)
    assert len(pieces) > 5 and ''.join(piece.delta for piece in pieces) == first.answer
    follow_up = robot.ask(question='and then?', conversation_id='a')
    assert follow_up.success and follow_up.header == first.header
    assert 0 < follow_up.stats.prompt_tokens < 60


def test_frame_is_read_before_the_question_comes(asked: tuple[VlmNode, Robot]) -> None:
    node, robot = asked
    before = node._queue._ahead.counts.spent
    frame = robot.publish(picture(4))
    wait_until(lambda: node._queue._ahead.counts.spent > before)
    response = robot.ask(question='is it?', not_before=frame.header.stamp)
    assert response.success, response.error_msg
    assert response.stats.read_ahead_tokens > 10 * response.stats.prompt_tokens > 0


@timing
def test_cancel_of_a_goal(asked: tuple[VlmNode, Robot]) -> None:
    _, robot = asked
    robot.publish(picture(2))
    taken = []
    for _ in range(5):
        goal = robot.send_goal(question='what do you see?', max_new_tokens=LONG)
        ended, before = robot.result_of(goal), len(robot.partials)
        wait_until(lambda before=before: len(robot.partials) > before)
        started = time.monotonic()
        robot.cancel(goal)
        assert ended().status == GoalStatus.STATUS_CANCELED
        taken.append(time.monotonic() - started)
    print(f'cancelled after {np.median(taken) * 1000:.1f} ms')
    assert np.median(taken) < within(0.05)
    assert robot.ask(question='what do you see?').success


def test_answers_where_the_board_does_not(asked: tuple[VlmNode, Robot]) -> None:
    model, mmproj = map(str, tiny_llama())
    with asked_node(
        backends=['rknpu', 'llamacpp'], encoder_path='x.rknn', language_model_path='x.rkllm',
        llamacpp__language_model_path=model, llamacpp__encoder_path=mmproj, cpu_threads=1,
        max_new_tokens=20,
    ) as (_, robot):
        robot.publish(picture(3))
        response = robot.ask(question='what do you see?')
        assert response.success, response.error_msg
        assert response.stats.backend == 'llamacpp'
