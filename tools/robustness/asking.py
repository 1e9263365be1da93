# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Clients that ask the node, by service and by action, and one that looks after it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import threading
import time
from typing import Any

from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
import rclpy
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from rclpy.type_support import check_for_type_support
from vlm_npu_ros.action import Ask as AskAction
from vlm_npu_ros.msg import ErrorCode, PartialAnswer
from vlm_npu_ros.srv import Ask as AskService

WAYS = ('service', 'action')
_DISCOVERY = 120.0  # seconds, on a busy machine
_SILENCE = 60.0  # seconds, of what comes every second
_AGAIN = 1.0  # seconds until a call is made again
_NO_TRANSITION = 255
_POLL = 0.005  # seconds between looks at what another thread takes
_DEPTH = QoSProfile(depth=1000)
CODES = {getattr(ErrorCode, n): n for n in dir(ErrorCode) if n.isupper() and n != 'SLOT_TYPES'}


# Before there are threads: rclpy loads the types of an action one by one, and a second client that
# comes meanwhile takes the rest for loaded.
check_for_type_support(AskAction)


class NodeError(Exception):
    """The node is not there, or does not do what it should."""


class Ask:
    """
    A question on its way, and what came back.

    sent, ended: time.monotonic(); ended is None as long as nothing came back.
    timeout: seconds that the node was given, 0 = as many as it takes.
    shown: frame_id of what the camera showed then; '' = that is not known.
    """

    def __init__(
        self, way: str, question: str, shown: str, not_before: Time, timeout: float
    ) -> None:
        self.way, self.question, self.shown, self.not_before = way, question, shown, not_before
        self.timeout = timeout
        self.sent = time.monotonic()
        self.ended: float | None = None
        self.result: Any = None
        self.cancelled = False
        self._goal: Any = None

    @property
    def done(self) -> bool:
        """Tell whether it has ended."""
        return self.ended is not None

    @property
    def ended_by(self) -> str:
        """Name the error code; 'answer' if there is no error."""
        if self.result is None:
            return 'nothing'
        return 'answer' if self.result.success else CODES[self.result.error_code]

    def cancel(self) -> None:
        """Cancel it, as soon as the node has accepted it; for actions."""
        self.cancelled = True
        if self._goal and not self.done:
            self._goal.cancel_goal_async()

    def _end(self, result: Any) -> None:
        self.result, self.ended = result, time.monotonic()

    def on_response(self, future: Future) -> None:
        """Take the response of the service."""
        self._end(future.result())

    def on_goal(self, future: Future) -> None:
        """Note that the goal is accepted; this node rejects none."""
        self._goal = future.result()
        self._goal.get_result_async().add_done_callback(
            lambda result: self._end(result.result().result)
        )
        if self.cancelled:
            self._goal.cancel_goal_async()


class Peer:
    """A node with an executor, for one thread; a context manager."""

    def __init__(self, name: str, **options: Any) -> None:
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(
            name, context=self._context, start_parameter_services=False, **options
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *reason: Any) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def wait(self, condition: Callable[[], object], seconds: float) -> bool:
        """Execute what comes until the condition holds; tell whether it does."""
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(left, 0.05))
        return True


class Client(Peer):
    """A node that asks; `ends` is how many pairs of clients it has."""

    def __init__(self, name: str = 'client', ends: int = 1) -> None:
        super().__init__(name)
        self._services = [
            self.node.create_client(AskService, '/vlm/ask', qos_profile=_DEPTH)
            for _ in range(ends)
        ]
        # With the usual depth of 10, answers to more questions than that at once can get lost.
        self._actions = [
            ActionClient(
                self.node, AskAction, '/vlm/ask', goal_service_qos_profile=_DEPTH,
                result_service_qos_profile=_DEPTH, feedback_sub_qos_profile=_DEPTH,
            )
            for _ in range(ends)
        ]

    def __exit__(self, *reason: Any) -> None:
        for action in self._actions:
            action.destroy()
        super().__exit__(*reason)

    def find_node(self) -> None:
        """Wait until the node's interfaces are there."""
        if not self.wait(
            lambda: all(s.service_is_ready() for s in self._services)
            and all(a.server_is_ready() for a in self._actions),
            _DISCOVERY,
        ):
            raise NodeError('The interfaces of the node were not found')

    def send(
        self,
        way: str,
        question: str,
        shown: str = '',
        end: int = 0,
        timeout: float = 0.0,
        max_age: float = 0.0,
        not_before: Time | None = None,
    ) -> Ask:
        """Ask; what comes back is taken while `wait` runs."""
        ask = Ask(way, question, shown, not_before or Time(), timeout)
        request = AskService.Request() if way == 'service' else AskAction.Goal()
        request.question, request.not_before = question, ask.not_before
        request.timeout, request.max_age = duration(timeout), duration(max_age)
        if way == 'service':
            self._services[end].call_async(request).add_done_callback(ask.on_response)
        else:
            self._actions[end].send_goal_async(request).add_done_callback(ask.on_goal)
        return ask


class Overseer(Peer):
    """
    Moves the node from state to state, and listens to what it tells about itself, in a thread.

    pieces: of all answers, by request. diagnostics: the newest ones, with the time of the node in
    seconds. frame_rates: of the camera, as they said.
    """

    def __init__(self) -> None:
        super().__init__('overseer')
        self.frame_rates: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin, name='overseer')
        self.pieces: dict[str, list[PartialAnswer]] = {}
        self.diagnostics: dict[str, str] = {}
        self._change = self.node.create_client(ChangeState, '/vlm/change_state')
        self.node.create_subscription(PartialAnswer, '/vlm/partial_answer', self._on_piece, _DEPTH)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def __enter__(self) -> Overseer:
        self._thread.start()
        return self

    def __exit__(self, *reason: Any) -> None:
        self._stop.set()
        self._thread.join()
        super().__exit__(*reason)

    def wait(self, condition: Callable[[], object], seconds: float) -> bool:
        """Wait until the condition holds; tell whether it does."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True

    def _spin(self) -> None:
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def _on_piece(self, piece: PartialAnswer) -> None:
        self.pieces.setdefault(piece.request_id, []).append(piece)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        values = {value.key: value.value for status in message.status for value in status.values}
        self.frame_rates.append(float(values['frames per second']))
        self.diagnostics = {**values, 'time': str(message.header.stamp.sec)}

    def change_state(self, transition: int, patience: float = 300.0) -> float:
        """Let the node make a transition, and measure its seconds; raise NodeError if it fails."""
        self._find_node()
        started = time.monotonic()
        call = self._call(transition)
        if not self.wait(call.done, patience) or not call.result().success:
            raise NodeError(f'The transition {transition} failed')
        return time.monotonic() - started

    def _call(self, transition: int) -> Future:
        request = ChangeState.Request()
        request.transition.id = transition
        return self._change.call_async(request)

    def _find_node(self) -> None:
        """
        Wait until the node answers.

        Fast DDS drops responses to a client that it has not discovered yet: that one asks again,
        here for what no node does.
        """
        if not self.wait(self._change.service_is_ready, _DISCOVERY):
            raise NodeError('The node was not found')
        calls: list[Future] = []
        while not any(call.done() for call in calls):
            if len(calls) * _AGAIN > _DISCOVERY:
                raise NodeError('The node does not answer')
            calls.append(self._call(_NO_TRANSITION))
            self.wait(calls[-1].done, _AGAIN)

    def next_diagnostics(self) -> dict[str, str]:
        """Wait for the next diagnostics of node and camera; raise NodeError if none come."""
        self.diagnostics = {}
        if not self.wait(lambda: self.diagnostics, _SILENCE):
            raise NodeError('No diagnostics came')
        return self.diagnostics

    def restarts(self) -> int | None:
        """Ask the next diagnostics how often the engine was restarted; None if none come."""
        with suppress(NodeError):
            return int(self.next_diagnostics()['restarts'])
        return None


def duration(seconds: float) -> Duration:
    """Make a message."""
    return Duration(sec=int(seconds), nanosec=int(seconds % 1 * 1e9))
