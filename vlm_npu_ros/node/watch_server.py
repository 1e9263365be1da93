# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The Watch action: repeats a question and reports when the answer changes."""

from __future__ import annotations

from collections.abc import Callable
import math
import threading
import time
from typing import Any

from builtin_interfaces.msg import Duration
from rclpy.action import CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from vlm_npu_ros.action import Watch as WatchAction
from vlm_npu_ros.engine.errors import as_vlm_error, CancelledError, RequestError, VlmError
from vlm_npu_ros.node.ask import Ask
from vlm_npu_ros.node.ask_options import AskOptions, shared_fields
from vlm_npu_ros.node.ask_server import fill_choice, finish, key_of
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.evaluations import Evaluations
from vlm_npu_ros.node.frames import NANOSECONDS
from vlm_npu_ros.node.io_node import InFlight, IoNode, LAST_RESULTS
from vlm_npu_ros.node.lifecycle import inactive_error
from vlm_npu_ros.node.looks import fill_look, Hysteresis, outcome, said
from vlm_npu_ros.node.presence import Presence


class WatchServer:
    """
    Accepts watches, and passes their questions to the evaluations of the active node.

    io: offers the action; each open watch is a coroutine of it.
    check: converts a request of the Ask service to AskOptions or raises RequestError.
    """

    def __init__(
        self, node: Node, io: IoNode, clock: StampClock, check: Callable[[Any], AskOptions]
    ) -> None:
        self._node, self._io, self._clock = node, io, clock
        self._check = check
        self._evaluations: Evaluations | None = None
        self._watches: dict[bytes, _Watch] = {}  # the open ones
        self._in_flight = InFlight()
        action = io.resolve_action_name('~/watch')
        self._clients = Presence(node, io, action, self._client_gone, is_action=True)
        self._action = io.create_action_server(
            WatchAction, action, self._execute, self._accept, self._cancel
        )

    @property
    def count(self) -> int:
        """Count the open watches."""
        return len(self._watches)

    def use(self, evaluations: Evaluations | None) -> None:
        """Use these evaluations from now on; without them, watches end as inactive."""
        self._evaluations = evaluations

    def close(self) -> None:
        """Remove the interface after the results of ended watches have been sent."""
        self._clients.close()
        self._io.run()  # afterwards, accepted goals have begun
        self._in_flight.wait(LAST_RESULTS)
        self._io.run(self._action.destroy)

    async def _accept(self, _: WatchAction.Goal) -> GoalResponse:
        self._clients.look()
        await self._clients.discovered()
        return GoalResponse.ACCEPT

    async def _execute(self, goal: ServerGoalHandle) -> WatchAction.Result:
        with self._in_flight:
            try:
                result = await self._watch(goal)
            except Exception as error:
                result = _failed(WatchAction.Result(), as_vlm_error(error))
            finish(goal, result)
        return result

    async def _watch(self, goal: ServerGoalHandle) -> WatchAction.Result:
        """Join the evaluations until the watch has ended."""
        evaluations, over = self._evaluations, self._io.completion()
        if evaluations is None:
            raise inactive_error(self._node)
        # Its timeout is for the watch, not for a question.
        options = self._check(shared_fields(goal.request, 'timeout'))
        watch = _Watch(goal, options, self._clock, lambda _: over.complete())
        self._watches[key_of(goal)] = watch
        evaluations.join(options, watch)
        if goal.is_cancel_requested:  # before the watch existed
            self._cancel(goal)
        try:
            with self._clients.watching(watch, key_of(goal)):
                await over.wait()
        finally:
            del self._watches[key_of(goal)]
            evaluations.leave(watch)
        return watch.result

    def _cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        watch = self._watches.get(key_of(goal))
        if watch:
            watch.ended(CancelledError('The watch was cancelled'))
        return CancelResponse.ACCEPT

    def _client_gone(self, watch: _Watch) -> None:
        self._node.get_logger().info(f'The client of watch {watch.question!r} has gone')
        watch.ended(CancelledError('The client has gone'))


class _Watch:
    """
    One watch; subscriber to its evaluation.

    Raises RequestError for an invalid goal.

    over: it has ended, and `on_end` was called.
    """

    def __init__(
        self,
        goal: ServerGoalHandle,
        options: AskOptions,
        clock: StampClock,
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
        self._options = options
        self._until = _until(request.until, options.outcomes)
        self._every_look = request.every_look
        self._hysteresis = Hysteresis(request.agreeing)
        self._error_code = 0  # of the last look
        self._clock = clock
        self._on_end = on_end
        self._lock = threading.RLock()

    def looked(self, ask: Ask) -> None:
        """Report an answer if it is due, and end if it is the one in `until`."""
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
            if changed and self._until == outcome(self._hysteresis.said, self._options):
                self._end(None)

    def _tell_error(self, error: VlmError) -> None:
        """Report an error once, not each time it recurs."""
        if error.code != self._error_code:
            self._error_code = error.code
            self.goal.publish_feedback(
                WatchAction.Feedback(error_code=error.code, error_msg=str(error))
            )

    def _note(self, ask: Ask, changed: bool) -> None:
        self.result.looks += 1
        self.result.answer, self.result.header = ask.answer, ask.header
        self.result.located = ask.located
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


def _until(wanted: str, outcomes: tuple[str, ...]) -> str | None:
    """Return the outcome that ends a watch, spelled as there; None = no such outcome."""
    name = ' '.join(wanted.split()).casefold()
    if not name:
        return None
    if not outcomes:
        raise RequestError(f'until is {wanted!r}, but answer_type has no choices')
    for each in outcomes:
        if each.casefold() == name:
            return each
    raise RequestError(f'until must be one of {outcomes}, not {wanted!r}')


def _seconds(field: str, value: Duration) -> float:
    seconds = value.sec + value.nanosec / NANOSECONDS
    if seconds < 0:
        raise RequestError(f'{field} is negative')
    return float(seconds)


def _failed(result: WatchAction.Result, error: VlmError) -> WatchAction.Result:
    result.error_code, result.error_msg = error.code, str(error)
    return result
