# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A camera's own settings, as its frames are encoded."""

from __future__ import annotations

import array
from collections.abc import Callable
import threading

import numpy as np
import pytest
from robot import PATIENCE, Robot, wait_until
from vlm_npu_ros.demo.scenes import render, Scene, SceneObject
from vlm_npu_ros.engine.errors import BackendCrashedError
from vlm_npu_ros.engine.types import ImageEmbedding
from vlm_npu_ros.msg import ErrorCode
from vlm_npu_ros.node.vlm_node import VlmNode

MakeNode = Callable[..., VlmNode]
SCENE = Scene((SceneObject('chair', 'blue', 'right', near=True, x=0.8, scale=1.0),), 'floor',
              0.4, 1.0, 0.0, 0.0, 1)
TOPIC = '/camera/image_raw'


def test_pictures_are_turned_and_brightened_before_they_are_encoded(
    active_node: MakeNode, robot: Robot
) -> None:
    """A camera of 12 bits that hangs upside down."""
    active_node(backend='onnx', camera__rotate=180, camera__range=[0, 4095])
    hung = np.ascontiguousarray(np.rot90(render(SCENE), 2))
    deep = hung.astype('<u2') * 16
    robot.publish(
        hung, encoding='rgb16', step=deep.strides[0], data=array.array('B', deep.tobytes())
    )
    response = robot.ask(question='where is the chair?')
    assert response.success, response.error_msg
    assert 'right' in response.answer


def test_overrides_of_qos_count(active_node: MakeNode, robot: Robot) -> None:
    override = f'qos_overrides.{TOPIC}.subscription.'
    active_node(**{f'{override}reliability': 'best_effort', f'{override}depth': 3})
    wait_until(lambda: robot.node.count_subscribers(TOPIC) == 1)
    (found,) = robot.node.get_subscriptions_info_by_topic(TOPIC)
    assert found.qos_profile.reliability.short_key == 'best_effort'
    robot.publish()
    assert robot.ask(question='what?').success


def test_failing_encoder_ends_the_questions_that_wait_for_it_at_once(
    active_node: MakeNode, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = active_node()
    engine = node._engine
    assert engine

    def fail(_: np.ndarray) -> None:
        raise BackendCrashedError('The accelerator is on strike')

    with monkeypatch.context() as patch:
        patch.setattr(engine, 'encode', fail)
        waiting = [robot.ask_later(question='what?') for _ in range(3)]
        wait_until(lambda: node._queue.depth == 3)
        robot.publish()
        for answer in waiting:  # long before their timeout, which is longer than a test may take
            response = answer()
            assert response.error_code == ErrorCode.BACKEND_CRASHED
            assert 'on strike' in response.error_msg
    frame = robot.publish()
    assert robot.ask(question='what?').header.stamp == frame.header.stamp


def test_question_outlives_the_failure_of_a_frame_from_before_it(
    active_node: MakeNode, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the runtime crashes, its question ends, and the next one comes at once."""
    node = active_node()
    engine = node._engine
    assert engine
    begun, over = threading.Event(), threading.Event()
    encode = engine.encode

    def fail_once(picture: np.ndarray) -> ImageEmbedding:
        if begun.is_set():
            return encode(picture)
        begun.set()
        assert over.wait(PATIENCE)
        raise BackendCrashedError('The accelerator is on strike')

    monkeypatch.setattr(engine, 'encode', fail_once)
    robot.publish()
    assert begun.wait(PATIENCE)
    answer = robot.ask_later(question='what?', not_before=robot.node.get_clock().now().to_msg())
    wait_until(lambda: node._queue.depth == 1)
    over.set()
    frame = robot.publish()
    response = answer()
    assert response.success, response.error_msg
    assert response.header.stamp == frame.header.stamp
