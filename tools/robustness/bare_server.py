"""
An action server as rclpy has it, whose goals end when they are cancelled: for comparison.

It is called /bare/ask, and takes the same goals as the node.
"""

from __future__ import annotations

from contextlib import suppress
import sys
import threading

import rclpy
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node
from vlm_npu_ros.action import Ask

_THREADS = 4  # as many as the node's executor has


class BareServer(Node):
    """Holds its newest goal until somebody cancels it."""

    def __init__(self) -> None:
        super().__init__('bare')
        self._cancelled = threading.Event()
        self._server = ActionServer(
            self, Ask, '~/ask', self._execute, callback_group=ReentrantCallbackGroup(),
            cancel_callback=self._cancel,
        )

    def _cancel(self, _: ServerGoalHandle) -> CancelResponse:
        self._cancelled.set()
        return CancelResponse.ACCEPT

    def _execute(self, goal: ServerGoalHandle) -> Ask.Result:
        self._cancelled.wait()
        self._cancelled.clear()
        while goal.is_active and not goal.is_cancel_requested:  # set when _cancel has returned
            threading.Event().wait(0.0005)
        goal.canceled()
        return Ask.Result()


def main() -> int:
    """Run until SIGINT."""
    rclpy.init()
    executor = MultiThreadedExecutor(_THREADS)
    executor.add_node(BareServer())
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        executor.spin()
    return 0


if __name__ == '__main__':
    sys.exit(main())
