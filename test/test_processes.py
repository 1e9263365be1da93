# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Node, camera and asker as three processes of the operating system, over DDS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
import signal
import subprocess
import sys
import threading
from typing import Any

from builtin_interfaces.msg import Duration
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
import psutil
import pytest
import rclpy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future
from vlm_npu_ros.action import Ask as AskAction
from vlm_npu_ros.msg import ErrorCode, PartialAnswer
from vlm_npu_ros.srv import Ask as AskService

PATIENCE = 120.0  # seconds; only a broken test waits this long


class Asker:
    """The third process: this one."""

    def __init__(self) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = Node('asker', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.pieces: dict[str, list[PartialAnswer]] = {}
        self.node.create_subscription(
            PartialAnswer, '/vlm/partial_answer', self._on_piece, QoSProfile(depth=1000)
        )
        self._service = self.node.create_client(AskService, '/vlm/ask')
        self._action = ActionClient(self.node, AskAction, '/vlm/ask')

    def _on_piece(self, piece: PartialAnswer) -> None:
        self.pieces.setdefault(piece.request_id, []).append(piece)

    def wait_until_active(self) -> None:
        """
        Wait for the node to have configured and activated itself.

        Fast DDS drops responses to a client that it has not discovered yet: that one asks again.
        """
        client = self.node.create_client(GetState, '/vlm/get_state')
        assert client.wait_for_service(PATIENCE)
        state = None
        while state != State.PRIMARY_STATE_ACTIVE:
            asked = client.call_async(GetState.Request())
            self._executor.spin_until_future_complete(asked, 1.0)
            state = asked.result().current_state.id if asked.done() else None

    def _result(self, future: Future) -> Any:
        self._executor.spin_until_future_complete(future, PATIENCE)
        assert future.done(), 'nothing came back'
        return future.result()

    def ask(self, **request: Any) -> AskService.Response:
        assert self._service.wait_for_service(PATIENCE)
        return self._result(self._service.call_async(AskService.Request(**request)))

    def ask_by_action(self, **goal: Any) -> AskAction.Result:
        assert self._action.wait_for_server(PATIENCE)
        handle = self._result(self._action.send_goal_async(AskAction.Goal(**goal)))
        return self._result(handle.get_result_async()).result

    def wait_for_pieces(self, request_id: str) -> list[PartialAnswer]:
        last = Future()
        pieces = self.pieces.setdefault(request_id, [])
        while not (pieces and pieces[-1].done):
            self._executor.spin_once_until_future_complete(last, PATIENCE)
        return pieces

    def close(self) -> None:
        self._executor.shutdown()
        self._action.destroy()
        self.node.destroy_node()
        self._context.try_shutdown()


@contextmanager
def process(module: str, **parameters: object) -> Iterator[subprocess.Popen[str]]:
    """Run a module with ROS parameters; it must end by itself, cleanly, on SIGINT."""
    arguments = [a for k, v in parameters.items() for a in ('-p', f'{k}:={v}')]
    command = [sys.executable, '-m', module, '--ros-args', *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        output: list[str] = []
        reader = threading.Thread(target=lambda: output.extend(child.stdout or ()))
        reader.start()
        try:
            yield child
            child.send_signal(signal.SIGINT)
            assert child.wait(20) == 0, ''.join(output)
        finally:
            child.kill()
            reader.join()
        assert 'Traceback' not in ''.join(output), ''.join(output)


@pytest.fixture
def asker() -> Iterator[Asker]:
    asker = Asker()
    yield asker
    asker.close()


@pytest.fixture(autouse=True)
def domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep these processes apart from the in-process tests."""
    monkeypatch.setenv('ROS_DOMAIN_ID', str(int(os.environ['ROS_DOMAIN_ID']) + 20))


def test_question_is_answered_by_service_and_by_action(asker: Asker) -> None:
    with process('vlm_npu_ros.demo.scene_camera'), process('vlm_npu_ros.node.vlm_node'):
        asker.wait_until_active()
        by_service = asker.ask(question='what do you see?')
        assert by_service.success, by_service.error_msg
        assert by_service.answer.startswith('I see')
        assert by_service.header.frame_id == 'camera_optical_frame'
        by_action = asker.ask_by_action(question='is the path clear?')
        assert by_action.success, by_action.error_msg
        assert by_action.answer.split(',')[0] in ('Yes', 'No')
        pieces = asker.wait_for_pieces(by_action.request_id)
        assert ''.join(p.delta for p in pieces) == by_action.answer


def test_camera_that_stops_and_comes_back(asker: Asker) -> None:
    patience = Duration(sec=2)
    with process('vlm_npu_ros.node.vlm_node', max_age=1.0):
        asker.wait_until_active()
        with process('vlm_npu_ros.demo.scene_camera') as camera:
            assert asker.ask(question='what do you see?').success
            camera.kill()
            camera.wait()
            # Answers come from the cache until its frame is too old.
            while (response := asker.ask(question='what do you see?', timeout=patience)).success:
                pass
            assert response.error_code == ErrorCode.STALE_FRAME
            assert "'camera'" in response.error_msg and ' s old' in response.error_msg
            camera.returncode = 0  # it was killed on purpose
        with process('vlm_npu_ros.demo.scene_camera'):
            assert asker.ask(question='what do you see?').success


@pytest.mark.timeout(900)  # 20 s where nothing else runs
def test_hundred_questions_at_full_hd_and_30_hz(asker: Asker) -> None:
    full_hd = {'width': 1920, 'height': 1080, 'rate': 30.0, 'reliability': 'reliable'}
    camera = process('vlm_npu_ros.demo.scene_camera', **full_hd)
    with camera, process('vlm_npu_ros.node.vlm_node', image_reliability='reliable') as node:
        asker.wait_until_active()
        memory = psutil.Process(node.pid)
        sizes = []
        for number in range(100):
            ask = asker.ask_by_action if number % 2 else asker.ask
            # Each question is about a frame of its own.
            now = asker.node.get_clock().now().to_msg()
            response = ask(question='what do you see?', not_before=now)
            assert response.success, response.error_msg
            pieces = asker.wait_for_pieces(response.request_id)
            assert [p.sequence for p in pieces] == list(range(len(pieces)))
            assert ''.join(p.delta for p in pieces) == response.answer
            sizes.append(memory.memory_info().rss)
        assert len(asker.pieces) == 100
        # The least of ten: frames on their way come and go. The middleware may have set aside
        # room for one more frame than before.
        assert min(sizes[90:]) < 1.05 * min(sizes[10:20]) + 1920 * 1080 * 3


def test_large_frames_that_best_effort_loses_are_named(asker: Asker) -> None:
    large = {'width': 4096, 'height': 4096, 'rate': 5.0, 'scene_period': 0.0}
    camera = process('vlm_npu_ros.demo.scene_camera', reliability='best_effort', **large)
    with camera, process('vlm_npu_ros.node.vlm_node', backend='scripted'):
        asker.wait_until_active()
        reason, tries = '', 0
        while 'get lost on the way' not in reason:  # now and then, one gets through
            response = asker.ask(question='what do you see?', timeout=Duration(sec=2))
            reason, tries = response.error_msg, tries + 1
            assert tries < 20, reason
        assert response.error_code in (ErrorCode.NO_FRAME, ErrorCode.STALE_FRAME)
        assert 'Let the camera publish reliably' in reason


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_node_ends_cleanly_while_it_answers(asker: Asker, number: signal.Signals) -> None:
    slow = {'backend': 'scripted', 'scripted.answers': '[one two three]'}
    node = process('vlm_npu_ros.node.vlm_node', **slow, **{'scripted.decode_rate': 0.2})
    with process('vlm_npu_ros.demo.scene_camera'), node as child:
        asker.wait_until_active()
        generating = Future()
        assert asker._action.wait_for_server(PATIENCE)
        asker._result(
            asker._action.send_goal_async(
                AskAction.Goal(question='count'),
                lambda m: m.feedback.partial_answer and generating.set_result(None),
            )
        )
        asker._result(generating)
        child.send_signal(number)
        assert child.wait(10) == 0
