# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The client as a mission script uses it, with the real node."""

from __future__ import annotations

from collections.abc import Iterator
import os
import subprocess
import sys
import threading
import time
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from action_msgs.srv import CancelGoal
from asked_node import asked_node
from bars import timing, within
import numpy as np
import pytest
import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_action_status_default
from rclpy.task import Future
from robot import PATIENCE, Spinner, wait_for
from vlm_npu_ros.action import Ask
from vlm_npu_ros.client import (
    AnswerFuture,
    AskError,
    NodeStatus,
    NodeUnavailableError,
    VlmClient,
    VlmClientError,
)
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.msg import ErrorCode

WORDS = 'one two three four five six'
SLOW = {'scripted__answers': [WORDS], 'scripted__decode_rate': 0.05}


@pytest.fixture
def client() -> Iterator[VlmClient]:
    with VlmClient(discovery_timeout=PATIENCE) as client:
        yield client


def ask_slowly(client: VlmClient) -> AnswerFuture:
    """Ask; return when the first word is there, the next one would take 20 s."""
    begun = threading.Event()
    future = client.ask_async('count', on_text=lambda _: begun.set())
    assert begun.wait(PATIENCE)
    return future


def test_answer_tells_text_frame_and_cost(client: VlmClient) -> None:
    with asked_node(scripted__answers=[WORDS]) as (_, robot):
        frame = robot.publish()
        pieces: list[str] = []
        answer = client.ask('count', on_text=pieces.append)
        assert answer.ok and answer.text == WORDS == ''.join(pieces)
        stamp = frame.header.stamp
        assert answer.stamp == pytest.approx(stamp.sec + stamp.nanosec / 1e9, abs=1e-6)
        assert answer.frame_id == 'camera_optical_frame'
        assert answer.age is not None and 0 < answer.age < PATIENCE
        assert (answer.error_code, answer.error, answer.finish_reason) == (0, '', 'eos')
        assert answer.stats['new_tokens'] == 6
        assert answer.stats['backend'] == 'scripted'
        answer.raise_for_error()


def test_embedded_model_sees_the_scene(client: VlmClient) -> None:
    with asked_node(backend='onnx') as (_, robot):
        frame = robot.publish(render(random_scene(np.random.default_rng(5))))
        answer = client.ask('what do you see?', not_before=frame.header.stamp)
        assert answer.text.startswith('I see')


def test_answers_to_branch_on(client: VlmClient) -> None:
    answers = ['Yes, it is.', 'In the middle.', 'B', 'Who knows?', '3.']
    with asked_node(scripted__answers=answers) as (_, robot):
        robot.publish()
        answer = client.ask('is it?', yes_no=True)
        assert (answer.choice, answer.choice_index, answer.confidence) == ('yes', 0, 0.0)
        assert answer.decided_by == 'words'
        answer = client.ask('where?', choices=['left', 'middle'], min_confidence=0.9)
        assert (answer.choice, answer.choice_index) == ('middle', 1)
        assert answer.decided_by == 'asked_back' and answer.text == 'In the middle.'
        answer = client.ask('where?', choices=('left', 'middle'), never_ask_back=True)
        assert (answer.choice, answer.choice_index, answer.ok) == ('unclear', -1, True)
        assert answer.decided_by == ''
        answer = client.ask('how many?', number=True, maximum=9.0)
        assert (answer.choice, answer.choice_index, answer.number) == ('3', 0, 3.0)
    with pytest.raises(ValueError, match='both'):
        client.ask('is it?', yes_no=True, choices=['a', 'b'])


def test_stream_gives_pieces_and_then_the_answer(client: VlmClient) -> None:
    with asked_node(scripted__answers=[WORDS], scripted__decode_rate=50.0) as (_, robot):
        robot.publish()
        stream = client.stream('count')
        first = next(stream)
        assert first == 'one' and stream.answer is None
        assert first + ''.join(stream) == WORDS
        assert stream.answer is not None and stream.answer.text == WORDS
        assert list(stream) == []


def test_leaving_a_stream_cancels_the_question(client: VlmClient) -> None:
    with asked_node(**SLOW) as (_, robot):
        robot.publish()
        with client.stream('count') as stream:
            assert next(stream) == 'one'
        with pytest.raises(AskError) as raised:
            stream.future.result(PATIENCE)
        assert raised.value.code == ErrorCode.CANCELLED


def test_two_clients_ask_many_questions_at_once(client: VlmClient) -> None:
    answers = [f'answer {number}' for number in range(24)]
    with asked_node(scripted__answers=answers, queue_size=24) as (_, robot), VlmClient() as other:
        robot.publish()
        futures = [asker.ask_async('what?') for asker in [client, other] * 12]
        texts = [future.result(PATIENCE).text for future in futures]
        assert sorted(texts) == sorted(answers)


@timing
def test_cancel_ends_the_question_with_what_there_is(client: VlmClient) -> None:
    with asked_node(**SLOW) as (_, robot):
        robot.publish()
        future = ask_slowly(client)
        started = time.monotonic()
        assert future.cancel()
        with pytest.raises(AskError) as raised:
            future.result(PATIENCE)
        assert time.monotonic() - started < within(1.5)  # the next word would take 20 s
        assert raised.value.code == ErrorCode.CANCELLED
        assert raised.value.answer.text == 'one'
        assert not future.cancel()
        assert client.ask('still there?', max_new_tokens=1).text == 'one'


def test_cancel_before_the_node_is_found(client: VlmClient) -> None:
    future = client.ask_async('what?')
    assert future.cancel()
    with pytest.raises(AskError, match='before it was sent'):
        future.result(PATIENCE)


@pytest.mark.parametrize(
    ('question', 'fields', 'code', 'words'),
    [
        ('  ', {}, ErrorCode.BAD_REQUEST, 'empty'),
        ('what?', {'camera': 'rear'}, ErrorCode.BAD_REQUEST, 'rear'),
        ('what?', {'max_new_tokens': 99_999}, ErrorCode.CONTEXT_EXCEEDED, 'context'),
        ('count', {'timeout': 0.5}, ErrorCode.TIMEOUT, '500 ms'),
        ('what?', {'not_before': 2e9, 'timeout': 0.2}, ErrorCode.NO_FRAME, 'image_raw'),
        ('what?', {'max_age': 1e-9, 'timeout': 0.2}, ErrorCode.STALE_FRAME, ' old'),
    ],
)
def test_node_refuses_with_a_typed_error(
    client: VlmClient, question: str, fields: dict[str, object], code: int, words: str
) -> None:
    with asked_node(**SLOW) as (_, robot):
        robot.publish()
        with pytest.raises(AskError, match=words) as raised:
            client.ask(question, **fields)  # type: ignore[arg-type]
        assert raised.value.code == code
        answer = client.ask(question, check=False, **fields)  # type: ignore[arg-type]
        assert not answer.ok and answer.error_code == code
        with pytest.raises(AskError, match=words):
            answer.raise_for_error()


def test_busy_and_inactive_node(client: VlmClient) -> None:
    with asked_node(queue_size=0, **SLOW) as (node, robot):
        robot.publish()
        future = ask_slowly(client)
        with pytest.raises(AskError) as raised:
            client.ask('what?')
        assert raised.value.code == ErrorCode.BUSY
        node.trigger_deactivate()
        with pytest.raises(AskError):
            future.result(PATIENCE)
        with pytest.raises(AskError, match='ros2 lifecycle') as raised:
            client.ask('what?')
        assert raised.value.code == ErrorCode.INACTIVE


def test_text_that_no_message_can_hold_ends_only_its_question(client: VlmClient) -> None:
    with asked_node() as (_, robot):
        robot.publish()
        with pytest.raises(UnicodeEncodeError):
            client.ask('\udc80')
        assert client.ask('what?').ok


def test_asks_in_a_callback_of_another_executor(client: VlmClient) -> None:
    with asked_node(scripted__answers=[WORDS]) as (_, robot):
        robot.publish()
        task = robot.node.executor.create_task(lambda: client.ask('count').text)
        assert wait_for(task) == WORDS


def test_waiting_in_its_own_thread_is_refused(client: VlmClient) -> None:
    with asked_node() as (_, robot):
        robot.publish()
        future = client.ask_async('what?', on_text=lambda _: [client.ask('what?'), None][1])
        with pytest.raises(RuntimeError, match='ask_async'):
            future.result(PATIENCE)


def test_an_error_in_on_text_cancels_the_question(client: VlmClient) -> None:
    def fail(_: str) -> None:
        raise KeyError('mine')

    with asked_node(**SLOW) as (_, robot):
        robot.publish()
        with pytest.raises(KeyError, match='mine'):
            client.ask_async('count', on_text=fail).result(PATIENCE)
        with pytest.raises(KeyError, match='mine'):
            client.ask('count', on_text=fail)
        assert client.ask('count', max_new_tokens=1, timeout=5.0).text == 'one'


def test_dialogues_are_listed_and_forgotten(client: VlmClient) -> None:
    with asked_node() as (_, robot):
        frame = robot.publish()
        for name in ('a', 'b', 'c'):
            client.ask('what?', conversation=name)
        client.ask('and?', conversation='a')
        latest, *others = client.conversations()
        assert (latest.name, latest.turns, latest.frame_id) == ('a', 2, frame.header.frame_id)
        assert latest.stamp == pytest.approx(frame.header.stamp.sec, abs=1.0)
        assert latest.tokens > 64 and 0 <= latest.idle < PATIENCE
        assert [other.name for other in others] == ['c', 'b']
        assert [kept.name for kept in client.conversations(clear=['a', 'x'])] == ['c', 'b']
        assert client.conversations(clear_all=True) == []


@timing
def test_no_node_is_told_within_the_bound() -> None:
    started = time.monotonic()
    with VlmClient('eyes', '/robot', discovery_timeout=0.5) as client:
        with pytest.raises(NodeUnavailableError, match='/robot/eyes.*ros2 launch vlm_npu_ros'):
            client.ask('what?')
        assert client.status(0.2) == NodeStatus('/robot/eyes', '', False)
        with pytest.raises(NodeUnavailableError, match='No node /robot/eyes'):
            client.wait_until_ready(0.2)
        with pytest.raises(NodeUnavailableError, match='No node /robot/eyes'):
            client.conversations()
    assert time.monotonic() - started < within(3.0)


@pytest.mark.parametrize('name', ['', 'a b', '1x', 'x//y', '/x/', 'x' * 300])
def test_impossible_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match='cannot be the name'):
        VlmClient(name)


def test_waits_for_a_node_that_is_not_ready() -> None:
    with asked_node(autostart=False) as (node, robot), VlmClient(discovery_timeout=1.0) as client:
        assert client.status(PATIENCE) == NodeStatus('/vlm', 'unconfigured', False)
        with pytest.raises(NodeUnavailableError, match='/vlm is there'):
            client.ask('what?')
        with pytest.raises(NodeUnavailableError, match='unconfigured|is there'):
            client.wait_until_ready(3.0)
        node.trigger_configure()
        assert client.status(PATIENCE) == NodeStatus('/vlm', 'inactive', False)
        node.trigger_activate()
        client.wait_until_ready()
        robot.publish()
        assert client.ask('what?').ok


def test_a_question_waits_for_the_node_to_come() -> None:
    with VlmClient(discovery_timeout=PATIENCE) as client:
        future = client.ask_async('what?', check=False)
        with asked_node() as (_, robot):
            robot.publish()
            answer = future.result(PATIENCE)
            # It may have been found before it was active.
            assert answer.ok or answer.error_code == ErrorCode.INACTIVE


def test_closing_cancels_what_is_on_its_way() -> None:
    with asked_node(**SLOW) as (_, robot):
        robot.publish()
        with VlmClient() as client:
            future = ask_slowly(client)
        with pytest.raises(AskError) as raised:
            future.result(0)
        assert raised.value.code == ErrorCode.CANCELLED
        with pytest.raises(VlmClientError, match='closed'):
            client.ask('what?')
        with pytest.raises(VlmClientError, match='closed'):
            client.status()
        client.close()


def test_uses_the_context_of_the_program_and_outlives_its_end() -> None:
    with asked_node(**SLOW) as (_, robot):
        robot.publish()
        rclpy.init(args=[])
        with VlmClient() as client:
            future = ask_slowly(client)
            rclpy.shutdown()
            with pytest.raises(VlmClientError, match='ROS'):
                future.result(PATIENCE)
            with pytest.raises(VlmClientError, match='ROS'):
                client.ask('what?')


def test_a_program_may_end_without_closing() -> None:
    program = (
        'from vlm_npu_ros.client import VlmClient\n'
        'client = VlmClient(discovery_timeout=60.0)\n'
        'client.ask_async("what?")\n'
        'print("done")\n'
    )
    outcome = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, 'done\n', '')


class ForgetfulNode:
    """
    The parts of an action server that drop their first responses, as real ones can.

    accepts: what it says to a question that comes again; a real one says no.
    """

    def __init__(self, node: Node, accepts: bool) -> None:
        self.taken = self.fetched = 0
        self._accepts = accepts
        self._status = node.create_publisher(
            GoalStatusArray, '/vlm/ask/_action/status', qos_profile_action_status_default
        )
        node.create_publisher(Ask.Impl.FeedbackMessage, '/vlm/ask/_action/feedback', 10)
        group = ReentrantCallbackGroup()
        for kind, name, callback in (
            (Ask.Impl.SendGoalService, 'send_goal', self._take),
            (Ask.Impl.GetResultService, 'get_result', self._give),
            (CancelGoal, 'cancel_goal', lambda _, response: response),
        ):
            node.create_service(kind, f'/vlm/ask/_action/{name}', callback, callback_group=group)

    async def _take(self, _: Any, response: Any) -> Any:
        self.taken += 1
        if self.taken == 1:
            await Future()
        response.accepted = self._accepts
        return response

    async def _give(self, request: Any, response: Any) -> Any:
        self.fetched += 1
        if self.fetched == 1:
            ended = GoalStatus(status=GoalStatus.STATUS_SUCCEEDED)
            ended.goal_info.goal_id = request.goal_id
            self._status.publish(GoalStatusArray(status_list=[ended]))
            await Future()
        response.result.success, response.result.answer = True, 'yes'
        return response


@pytest.mark.parametrize('accepts', [False, True])
def test_dropped_responses_are_asked_for_again(client: VlmClient, accepts: bool) -> None:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node('forgetful', context=context)
    forgetful = ForgetfulNode(node, accepts)
    spinner = Spinner(node, SingleThreadedExecutor(context=context))
    assert client.ask('what?').text == 'yes'
    assert forgetful.taken >= 2 and forgetful.fetched >= 2
    spinner.close()
    context.try_shutdown()


@pytest.mark.parametrize('timeout', [6.0, 0.0])  # both together below the lease of 20 s
def test_node_that_is_killed_while_it_answers(
    monkeypatch: pytest.MonkeyPatch, timeout: float
) -> None:
    monkeypatch.setenv('ROS_DOMAIN_ID', str(int(os.environ['ROS_DOMAIN_ID']) + 20))
    parameters = ['backend:=scripted', 'scripted.decode_rate:=0.01']
    arguments = [argument for parameter in parameters for argument in ('-p', parameter)]
    command = [sys.executable, '-m', 'vlm_npu_ros.node.vlm_node', '--ros-args', *arguments]
    camera_command = [sys.executable, '-m', 'vlm_npu_ros.demo.scene_camera']
    with (
        subprocess.Popen(command) as node,
        subprocess.Popen(camera_command) as camera,
        VlmClient(discovery_timeout=6.0) as client,
    ):
        try:
            client.wait_until_ready()
            client.ask('count', max_new_tokens=1)  # the camera may need more than the timeout
            stream = client.stream('count', timeout=timeout)
            next(stream)
            node.kill()
            words = 'timeout' if timeout else 'went away'
            with pytest.raises(NodeUnavailableError, match=words):
                list(stream)
        finally:
            node.kill()
            camera.kill()
