"""The Watch action: asks the same question again and again, and tells when the answer changes."""

from __future__ import annotations

from collections.abc import Callable
import math
import threading
import time
from typing import Any

from builtin_interfaces.msg import Duration
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.qos import QoSProfile
from vlm_npu_ros.action import Watch as WatchAction
from vlm_npu_ros.engine.choices.instructions import UNCLEAR
from vlm_npu_ros.engine.errors import CancelledError, InactiveError, RequestError, VlmError
from vlm_npu_ros.node.ask import Ask
from vlm_npu_ros.node.ask_options import AskOptions, shared_fields
from vlm_npu_ros.node.ask_server import fill_choice
from vlm_npu_ros.node.clients import Clients
from vlm_npu_ros.node.evaluations import Evaluations
from vlm_npu_ros.node.frames import NANOSECONDS
from vlm_npu_ros.node.goal_server import GoalServer, key_of
from vlm_npu_ros.node.looks import fill_look, Hysteresis, said

_DEPTH = QoSProfile(depth=256)  # as of the Ask action
_RESULT_SECONDS = 10  # that a result is kept for a caller who does not fetch it


class WatchServer:
    """
    Takes watches, and hands their questions to the evaluations of the active node.

    check: makes AskOptions of a request of the Ask service or raises RequestError.
    """

    def __init__(self, node: Node, check: Callable[[Any], AskOptions]) -> None:
        self._node = node
        self._check = check
        self._evaluations: Evaluations | None = None
        self._watches: dict[bytes, _Watch] = {}  # that are open
        self._clients = Clients(node, '~/watch', self._client_gone)
        self._action = GoalServer(
            node,
            WatchAction,
            '~/watch',
            self._begin,
            self._cancelled,
            callback_group=ReentrantCallbackGroup(),
            goal_service_qos_profile=_DEPTH,
            result_service_qos_profile=_DEPTH,
            feedback_pub_qos_profile=_DEPTH,
            result_timeout=_RESULT_SECONDS,
        )

    def use(self, evaluations: Evaluations | None) -> None:
        """Look by these from now on; without them, watches end as inactive."""
        self._evaluations = evaluations

    def close(self) -> None:
        """Remove the interface, when the watches that have ended have their results."""
        self._action.close()
        self._clients.close()

    def _begin(self, goal: ServerGoalHandle, gid: bytes | None) -> None:
        evaluations = self._evaluations
        try:
            if evaluations is None:
                name = self._node.get_fully_qualified_name()
                raise InactiveError(f'{name} is not active: ros2 lifecycle set {name} activate')
            # Its timeout is that of the watch, not of a question.
            options = self._check(shared_fields(goal.request, 'timeout'))
            watch = _Watch(goal, options, self._node.get_clock(), self._ended)
        except VlmError as error:
            self._finish(goal, _failed(WatchAction.Result(), error))
            return
        except Exception as error:  # would end the executor
            unexpected = VlmError(f'{type(error).__name__}: {error}')
            self._finish(goal, _failed(WatchAction.Result(), unexpected))
            return
        self._watches[key_of(goal)] = watch
        self._clients.watch(watch, gid)
        evaluations.join(options, watch)
        if goal.is_cancel_requested:  # before it was among the watches
            self._cancelled(goal)
        if watch.over:  # before it had joined
            evaluations.leave(watch)
            self._clients.forget(watch)

    def _cancelled(self, goal: ServerGoalHandle) -> None:
        watch = self._watches.get(key_of(goal))
        if watch:
            watch.ended(CancelledError('The watch was cancelled'))

    def _client_gone(self, watch: _Watch) -> None:
        self._node.get_logger().info(f'The client of watch {watch.question!r} has gone')
        watch.ended(CancelledError('The client has gone'))

    def _ended(self, watch: _Watch) -> None:
        """Send the result of a watch that has ended; called once for each."""
        self._watches.pop(key_of(watch.goal), None)
        self._clients.forget(watch)
        evaluations = self._evaluations
        if evaluations:
            evaluations.leave(watch)
        self._finish(watch.goal, watch.result)

    def _finish(self, goal: ServerGoalHandle, result: WatchAction.Result) -> None:
        self._action.finish(goal, lambda: result)


class _Watch:
    """
    One watch: what it has seen, and its one end.

    Raises RequestError for a goal that makes no sense.

    over: it has ended, and `on_end` was called.
    """

    def __init__(
        self,
        goal: ServerGoalHandle,
        options: AskOptions,
        clock: Clock,
        on_end: Callable[[_Watch], None],
    ) -> None:
        request = goal.request
        self.goal = goal
        self.question = options.request.question
        self.period = _seconds('period', request.period)
        timeout = _seconds('timeout', request.timeout)
        self.deadline = time.monotonic() + timeout if timeout else math.inf
        self.result = WatchAction.Result()
        self.over = False
        self._until = _until(request.until, options.request.choices)
        self._every_look = request.every_look
        self._hysteresis = Hysteresis(request.agreeing)
        self._error_code = 0  # of the last look
        self._clock = clock
        self._on_end = on_end
        self._lock = threading.RLock()

    def looked(self, ask: Ask) -> None:
        """Tell what was seen, if it is to be told, and end if it is what was waited for."""
        with self._lock:
            if self.over:
                return
            if ask.error:
                self._tell_error(ask.error)
                return
            self._error_code = 0
            changed = self._hysteresis.add(said(ask), ask.header.stamp)
            self._note(ask, changed)
            if changed or self._every_look:
                feedback = WatchAction.Feedback(changed=changed)
                fill_look(feedback, ask, self._clock)
                fill_choice(feedback, ask)
                self.goal.publish_feedback(feedback)
            if changed and self._until == self._hysteresis.said:
                self._end(None)

    def _tell_error(self, error: VlmError) -> None:
        """Tell an error once, and not at each of its repetitions."""
        if error.code != self._error_code:
            self._error_code = error.code
            self.goal.publish_feedback(
                WatchAction.Feedback(error_code=error.code, error_msg=str(error))
            )

    def _note(self, ask: Ask, changed: bool) -> None:
        self.result.looks += 1
        self.result.answer, self.result.header = ask.answer, ask.header
        if changed:
            self.result.changes += 1
            fill_choice(self.result, ask)

    def ended(self, error: VlmError) -> None:
        """End with an error; ignored after the end."""
        with self._lock:
            if not self.over:
                self._end(error)

    def _end(self, error: VlmError | None) -> None:
        self.over = True
        if error:
            _failed(self.result, error)
        else:
            self.result.success = True
        self._on_end(self)


def _until(wanted: str, choices: tuple[str, ...]) -> str | None:
    """Return the choice that ends a watch, as it is written there; None = there is none."""
    name = ' '.join(wanted.split()).casefold()
    if not name:
        return None
    if not choices:
        raise RequestError(f'until is {wanted!r}, but answer_type is TEXT: there are no choices')
    for choice in (*choices, UNCLEAR):
        if choice.casefold() == name:
            return choice
    raise RequestError(f'until must be one of {(*choices, UNCLEAR)}, not {wanted!r}')


def _seconds(field: str, value: Duration) -> float:
    seconds = value.sec + value.nanosec / NANOSECONDS
    if seconds < 0:
        raise RequestError(f'{field} is negative')
    return float(seconds)


def _failed(result: WatchAction.Result, error: VlmError) -> WatchAction.Result:
    result.error_code, result.error_msg = error.code, str(error)
    return result
