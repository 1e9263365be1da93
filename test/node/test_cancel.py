# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Cancel, timeout and order over ROS, whatever the engine does meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
import threading
import time
from typing import Any

from action_msgs.msg import GoalStatus
from bars import timing, within
from builtin_interfaces.msg import Duration
import numpy as np
import pytest
from rclpy.parameter import Parameter
from robot import PATIENCE, Robot, wait_until
from sensor_msgs.msg import Image
from vlm_npu_ros.engine.backends.scripted import (
    ScriptedEncoder,
    ScriptedLanguageModel,
    ScriptedTimings,
)
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.types import Chunk, GenerationRequest
from vlm_npu_ros.msg import ErrorCode
from vlm_npu_ros.node.vlm_node import VlmNode

MakeNode = Callable[..., VlmNode]
OLD = 'old ' * 50
ROUNDS = 8
TIMEOUT = 0.15  # seconds
SOON = {'timeout': Duration(nanosec=round(TIMEOUT * 1e9))}


@dataclass(frozen=True)
class Kind:
    """
    A kind of trouble.

    stage: of a question that is in it. code: of its end by timeout.
    """

    stage: str
    code: int = ErrorCode.TIMEOUT


KINDS = {
    'slow decode': Kind('generating'),
    'deaf in prefill': Kind('prefill'),
    'stuck in its encode': Kind('encoding', ErrorCode.NO_FRAME),
    'stuck in another encode': Kind('prefill'),
}


class Model(ScriptedLanguageModel):
    """Repeats the question, a word in 50 s; deaf to a cancel in prefill until `go`."""

    def __init__(self) -> None:
        super().__init__((), ScriptedTimings(decode_rate=0.02))
        self.go = threading.Event()
        self.go.set()

    def generate(self, request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        self.go.wait()
        yield from super().generate(request, cancelled)

    def _answer(self, question: str) -> str:
        return question


class Encoder(ScriptedEncoder):
    """Stuck until `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()
        self.stuck = False

    def encode(self, rgb: np.ndarray) -> np.ndarray:
        self.stuck = not self.go.is_set()
        self.go.wait()
        return super().encode(rgb)


class Troubled:
    """Somebody who asks a node whose engine is in trouble."""

    def __init__(self, robot: Robot, node: VlmNode, kind: str) -> None:
        self._robot = robot
        self._kind = kind
        self._model, self._encoder = Model(), Encoder()
        self._count = 0
        node.trigger_configure()
        node._engine._language_model, node._engine._encoder = self._model, self._encoder
        node.trigger_activate()
        robot.publish()
        assert robot.ask(question='first').answer == 'first'

    @property
    def kind(self) -> Kind:
        return KINDS[self._kind]

    def begin(self) -> dict[str, Any]:
        """Make the trouble; return a question that gets into it."""
        fields: dict[str, Any] = {'question': OLD}
        if 'prefill' in self._kind:
            self._model.go.clear()
        if 'encode' in self._kind:
            self._encoder.go.clear()
            frame = self._robot.publish()
            wait_until(lambda: self._encoder.stuck)
            if 'its' in self._kind:
                fields['not_before'] = frame.header.stamp
        return fields

    def end(self, old: str) -> None:
        """Ask another question, let the engine go on, and look at the answer."""
        self._count += 1
        answer = self._robot.ask_later(question=f'new{self._count}')
        self._model.go.set()
        self._encoder.go.set()
        response = answer()
        assert response.answer == f'new{self._count}', response.error_msg
        pieces = self._robot.partials_of(response.request_id)
        assert ''.join(piece.delta for piece in pieces) == response.answer
        *before, last = self._robot.partials_of(old)
        assert last.done and not any(piece.done for piece in before)


@pytest.fixture(params=KINDS)
def troubled(
    request: pytest.FixtureRequest, make_node: MakeNode, robot: Robot
) -> Iterator[Troubled]:
    node = make_node(max_age=600.0, encode_rate=100.0, image_reliability='reliable')
    yield Troubled(robot, node, request.param)


def judge(what: str, seconds: list[float]) -> None:
    print(
        f'{what}: median {np.median(seconds) * 1000:.1f} ms, max {max(seconds) * 1000:.1f} ms '
        f'of {len(seconds)}'
    )
    assert np.median(seconds) < within(0.05)
    assert max(seconds) < within(2.0)


@timing
def test_cancelled_goal_ends_at_once(robot: Robot, troubled: Troubled) -> None:
    taken = []
    for _ in range(ROUNDS):
        fields, reached = troubled.begin(), threading.Event()

        def on_feedback(message: Any, reached: threading.Event = reached) -> None:
            if message.feedback.stage == troubled.kind.stage:
                reached.set()

        goal = robot.send_goal(on_feedback, **fields)
        result = robot.result_of(goal)
        assert reached.wait(PATIENCE)
        started = time.monotonic()
        robot.cancel(goal)
        outcome = result()
        taken.append(time.monotonic() - started)
        assert outcome.status == GoalStatus.STATUS_CANCELED
        assert outcome.result.error_code == ErrorCode.CANCELLED
        troubled.end(outcome.result.request_id)
    judge('cancel of a goal', taken)


@timing
def test_timeout_of_a_goal_is_kept(robot: Robot, troubled: Troubled) -> None:
    late = []
    for _ in range(ROUNDS):
        fields, started = troubled.begin(), time.monotonic()
        outcome = robot.result_of(robot.send_goal(**fields, **SOON))()
        late.append(time.monotonic() - started - TIMEOUT)
        assert outcome.status == GoalStatus.STATUS_ABORTED
        assert outcome.result.error_code == troubled.kind.code
        troubled.end(outcome.result.request_id)
    judge('timeout of a goal', late)


@timing
def test_timeout_of_a_service_question_is_kept(robot: Robot, troubled: Troubled) -> None:
    late = []
    for _ in range(ROUNDS):
        fields, started = troubled.begin(), time.monotonic()
        response = robot.ask(**fields, **SOON)
        late.append(time.monotonic() - started - TIMEOUT)
        assert response.error_code == troubled.kind.code
        troubled.end(response.request_id)
    judge('timeout of a service question', late)


def test_feedback_tells_the_position_in_the_queue(active_node: MakeNode, robot: Robot) -> None:
    active_node(scripted__answers=['one two three'], scripted__decode_rate=0.01)
    robot.publish()
    running = threading.Event()
    first = robot.send_goal(lambda m: m.feedback.partial_answer and running.set(), question='a')
    assert running.wait(PATIENCE)
    second = robot.send_goal(question='b')
    places: list[int] = []
    third = robot.send_goal(lambda m: places.append(m.feedback.queue_position), question='c')
    wait_until(lambda: places == [1])
    robot.cancel(second)
    wait_until(lambda: places == [1, 0])
    robot.cancel(first)
    wait_until(lambda: len(places) > 3)
    assert not any(places[1:])
    robot.cancel(third)
    robot.result_of(third)()


def test_question_about_a_cached_frame_waits_for_one_encoding_at_most(
    active_node: MakeNode, robot: Robot
) -> None:
    encode = 0.3
    node = active_node(
        cameras=['camera', 'rear'], encode_rate=100.0, scripted__encode_seconds=encode,
    )
    rear = robot.node.create_publisher(Image, 'rear/image_raw', 10)
    frame = robot.publish()

    def publish() -> None:
        frame.header.stamp = robot.node.get_clock().now().to_msg()
        robot.camera.publish(frame)
        rear.publish(frame)

    robot.node.create_timer(0.05, publish)
    feeds = node._feeds.values()
    wait_until(lambda: all(feed.counts.encoded for feed in feeds))
    came: list[int] = []  # encodings until each question came, and until the model read it
    begun: list[int] = []

    def noting(counts: list[int], call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            counts.append(sum(feed.counts.encoded for feed in feeds))
            return call(*arguments)

        return noted

    queue, model = node._queue, node._engine._language_model
    queue.submit = noting(came, queue.submit)
    model.generate = noting(begun, model.generate)
    started = time.monotonic()
    for _ in range(20):
        assert robot.ask(question='what?').success
    seconds = time.monotonic() - started
    assert np.percentile(np.subtract(begun, came), 75) <= 1  # some end before they are counted
    assert begun[-1] - came[0] > 0.2 * seconds / encode - 1  # the encoder had no rest


def test_busy_is_changed_while_the_node_runs(active_node: MakeNode, robot: Robot) -> None:
    node = active_node(scripted__answers=['one' + 200 * ' more'], scripted__decode_rate=2.0)
    robot.publish()
    running = threading.Event()
    goal = robot.send_goal(lambda m: m.feedback.partial_answer and running.set(), question='a')
    assert running.wait(PATIENCE)
    node.set_parameters([Parameter('busy', value='reject')])
    assert robot.ask(question='b').error_code == ErrorCode.BUSY
    node.set_parameters([Parameter('busy', value='interrupt')])
    assert robot.ask(question='c', max_new_tokens=1).answer == 'one'
    outcome = robot.result_of(goal)()
    assert outcome.status == GoalStatus.STATUS_ABORTED
    assert outcome.result.error_code == ErrorCode.BUSY
    assert 'newer' in outcome.result.error_msg
    assert outcome.result.answer.startswith('one')


def test_no_other_word_is_taken_for_busy(active_node: MakeNode) -> None:
    node = active_node()
    (result,) = node.set_parameters([Parameter('busy', value='sometimes')])
    assert not result.successful
    assert 'interrupt' in result.reason
    assert node.parameters['busy'] == 'queue'
