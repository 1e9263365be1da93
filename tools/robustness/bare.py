# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
A service and an action server of plain rclpy, for comparison.

Both are called /bare/ask, take what the node takes and answer at once. A question that is an
order, see stamps.py, is followed on the topic, or in the feedback. With the parameter `holds`, a
goal ends when it is cancelled.
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
from rclpy.qos import QoSProfile
from stamps import stamped
from vlm_npu_ros.action import Ask as AskAction
from vlm_npu_ros.msg import PartialAnswer
from vlm_npu_ros.srv import Ask as AskService

_THREADS = 4  # as many as the node's executor has
_DEPTH = QoSProfile(depth=256)  # as the node has


class BareServer(Node):
    """Answers at once, or holds its only goal until it is cancelled."""

    def __init__(self) -> None:
        super().__init__('bare')
        self._holds = self.declare_parameter('holds', False).value
        self._cancelled = threading.Event()
        group = ReentrantCallbackGroup()
        self._publisher = self.create_publisher(PartialAnswer, '~/partial_answer', _DEPTH)
        self._service = self.create_service(
            AskService, '~/ask', self._respond, qos_profile=_DEPTH, callback_group=group
        )
        self._action = ActionServer(
            self, AskAction, '~/ask', self._execute, callback_group=group,
            goal_service_qos_profile=_DEPTH, result_service_qos_profile=_DEPTH,
            feedback_pub_qos_profile=_DEPTH, result_timeout=10, cancel_callback=self._cancel,
        )

    def _respond(
        self, request: AskService.Request, response: AskService.Response
    ) -> AskService.Response:
        if request.question[0].isdigit():
            for sequence, word in enumerate(stamped(request.question)):
                self._publisher.publish(PartialAnswer(sequence=sequence, delta=word))
        response.success, response.answer = True, 'yes'
        return response

    def _cancel(self, _: ServerGoalHandle) -> CancelResponse:
        self._cancelled.set()
        return CancelResponse.ACCEPT

    def _execute(self, goal: ServerGoalHandle) -> AskAction.Result:
        if self._holds:
            self._cancelled.wait()
            self._cancelled.clear()
            while goal.is_active and not goal.is_cancel_requested:  # set when _cancel has returned
                threading.Event().wait(0.0005)
            goal.canceled()
            return AskAction.Result()
        if goal.request.question[0].isdigit():
            for word in stamped(goal.request.question):
                goal.publish_feedback(AskAction.Feedback(partial_answer=word))
        goal.succeed()
        return AskAction.Result(success=True, answer='yes')


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
