"""An action server for goals that take long."""

from __future__ import annotations

from collections.abc import Callable
import functools
import threading
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.task import Task
from vlm_npu_ros.engine.errors import CancelledError
from vlm_npu_ros.node.clients import gid_of
from vlm_npu_ros.node.discovery import Discovery

LAST_RESULTS = 1.0  # seconds that they may take when an interface is removed
_SERVICES = {'goal': 'send_goal', 'cancel': 'cancel_goal', 'result': 'get_result'}  # of an action


class GoalServer(ActionServer):
    """
    Accepts all goals, and holds no coroutine for any of them.

    rclpy looks at every waiting coroutine whenever anything happens: with a hundred of them, that
    takes most of its time.

    begin: called with each goal and the gid of its request, see gid_of; `finish` is to be called
        at its end, once.
    cancelled: called with each goal that shall end as cancelled, when its state allows that.
    """

    def __init__(
        self,
        node: Node,
        action_type: Any,
        name: str,
        begin: Callable[[ServerGoalHandle, bytes | None], None],
        cancelled: Callable[[ServerGoalHandle], None],
        callback_group: CallbackGroup,
        **options: Any,
    ) -> None:
        self._begin = begin
        self._cancelled = cancelled
        self._gids: dict[bytes, bytes | None] = {}  # of the goals that are being accepted
        self._cancelling: dict[bytes, ServerGoalHandle] = {}
        self._open = 0  # goals whose result is not on its way to the caller
        self._idle = threading.Condition()
        services = (f'{name}/_action/{kind}' for kind in _SERVICES.values())
        self._discovery = Discovery(node, services, callback_group)
        super().__init__(
            node,
            action_type,
            name,
            lambda goal: None,  # not called: see notify_execute
            goal_callback=lambda goal: GoalResponse.ACCEPT,
            cancel_callback=self._accept_cancel,
            callback_group=callback_group,
            **options,
        )

    def finish(self, goal: ServerGoalHandle, fill: Callable[[], Any]) -> None:
        """
        Send the result that `fill` returns, which says how the goal has ended.

        In this thread: the executor would take a millisecond and more to come to it.
        """
        Task(self._execute_goal, (functools.partial(self._end, fill), goal))()

    def close(self) -> None:
        """Remove the interface, when the goals that have ended have their results."""
        self._discovery.close()
        with self._idle:
            self._idle.wait_for(lambda: not self._open, LAST_RESULTS)
        self.destroy()

    def _end(self, fill: Callable[[], Any], goal: ServerGoalHandle) -> Any:
        result = fill()
        if result.success:
            goal.succeed()
        elif result.error_code == CancelledError.code and goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        # rclpy sends the result after this returns; its future, if there, tells when.
        sent = getattr(self, '_result_futures', {}).get(key_of(goal))
        if sent is None:
            self._count(-1)
        else:
            sent.add_done_callback(lambda _: self._count(-1))
        return result

    def _count(self, change: int) -> None:
        with self._idle:
            self._open += change
            self._idle.notify_all()

    # What rclpy calls

    def notify_execute(self, goal_handle: ServerGoalHandle, execute_callback: Any) -> None:
        """Begin with a goal that was accepted."""
        self._count(1)
        self._begin(goal_handle, self._gids.get(key_of(goal_handle)))

    async def execute(self, taken_data: Any) -> None:
        """Do what the taken messages ask for."""
        for kind, taken in taken_data.items():
            gid = gid_of(taken[0]) if kind in _SERVICES else None
            # A task, as nobody awaits what was held back.
            task = Task(self._execute, (kind, taken, gid))
            self._discovery.when_found(gid, task)
            if task.done():
                task.result()  # raises what went wrong

    async def _execute(self, kind: str, taken: Any, gid: bytes | None) -> None:
        key = key_of(taken[1]) if kind == 'goal' else b''
        self._gids[key] = gid
        try:
            await super().execute({kind: taken})
        finally:
            self._gids.pop(key, None)
        for key, goal in list(self._cancelling.items()):
            if goal.is_cancel_requested or not goal.is_active:
                self._cancelling.pop(key, None)
                self._cancelled(goal)

    def _accept_cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        self._cancelling[key_of(goal)] = goal  # rclpy changes its state when this has returned
        return CancelResponse.ACCEPT


def key_of(goal: Any) -> bytes:
    """Return the id of a goal handle or goal request."""
    return bytes(goal.goal_id.uuid)
