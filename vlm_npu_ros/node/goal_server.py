"""An action server for goals that take long."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from vlm_npu_ros.node.clients import sender


class GoalServer(ActionServer):
    """
    Accepts all goals, and holds no coroutine for any of them.

    rclpy looks at every waiting coroutine whenever anything happens: with a hundred of them, that
    takes most of its time.

    begin: called with each goal and its sender, see there; `finish` is to be called at its end.
    cancelled: called with each goal that shall end as cancelled, when its state allows that.
    """

    def __init__(
        self,
        node: Node,
        action_type: Any,
        name: str,
        begin: Callable[[ServerGoalHandle, bytes | None], None],
        cancelled: Callable[[ServerGoalHandle], None],
        **options: Any,
    ) -> None:
        self._begin = begin
        self._cancelled = cancelled
        self._senders: dict[bytes, bytes | None] = {}  # of the goals that are being accepted
        self._cancelling: dict[bytes, ServerGoalHandle] = {}
        super().__init__(
            node,
            action_type,
            name,
            lambda goal: None,  # not called: see notify_execute
            goal_callback=lambda goal: GoalResponse.ACCEPT,
            cancel_callback=self._accept_cancel,
            **options,
        )

    def finish(self, goal: ServerGoalHandle, end: Callable[[ServerGoalHandle], Any]) -> None:
        """Have `end`, which sets the goal's final state and returns its result, called soon."""
        super().notify_execute(goal, end)

    # What rclpy calls

    def notify_execute(self, goal_handle: ServerGoalHandle, execute_callback: Any) -> None:
        """Begin with a goal that was accepted."""
        self._begin(goal_handle, self._senders.get(key_of(goal_handle)))

    async def execute(self, taken_data: Any) -> None:
        """Do what the taken messages ask for."""
        key = b''
        # No goal, or an rclpy that hands goals on in another way: then nobody is known.
        with suppress(AttributeError, KeyError, TypeError, ValueError):
            header, request = taken_data['goal']
            key = key_of(request)
            self._senders[key] = sender(header)
        try:
            await super().execute(taken_data)
        finally:
            self._senders.pop(key, None)
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
