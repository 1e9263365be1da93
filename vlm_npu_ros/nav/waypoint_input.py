# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Look at each waypoint of Nav2's waypoint follower without a plugin of our own.

    def look(index, arrived):
        answers[index] = vlm.ask(questions[index], not_before=arrived, check=False)

    with WaypointInput(look):
        navigator.followWaypoints(poses)
        ...

The follower's own plugin InputAtWaypoint waits for an Empty on input_at_waypoint/input, up to its
parameter timeout (10 s).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
import time

from action_msgs.msg import GoalStatus, GoalStatusArray
from builtin_interfaces.msg import Time
from rclpy.context import Context
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Empty
from vlm_npu_ros.nav.background_node import BackgroundNode

_FOLLOWING = 2.0  # seconds for which the follower counts as driving after its last feedback
_REPEAT = 0.2  # seconds between two Empty
_REPEAT_SECONDS = 2.0  # in all, unless the follower continues
# Deeper than usual for the status of an action, because every change counts.
_STATUS = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class WaypointInput(BackgroundNode):
    """
    Calls look(index, time of arrival) where the follower arrives, then lets it continue.

    The follower has arrived when its goal of navigate_to_pose has succeeded; the index is that of
    its newest feedback. Where look raises, the follower waits until its own timeout and counts the
    waypoint as missed. Raises ImportError without nav2_msgs.
    """

    def __init__(
        self,
        look: Callable[[int, Time], None],
        topic: str = 'input_at_waypoint/input',
        context: Context | None = None,
    ) -> None:
        try:
            from nav2_msgs.action import FollowWaypoints
        except ImportError as error:
            raise ImportError(
                'nav2_msgs is missing: sudo apt install ros-$ROS_DISTRO-nav2-msgs'
            ) from error
        self._look = look
        self._index, self._heard = 0, -_FOLLOWING  # of the newest feedback; time.monotonic()
        self._past: set[bytes] | None = None  # goals that had ended; None = not known yet
        self._worker = ThreadPoolExecutor(1, 'waypoint_look')
        super().__init__('waypoint_input', context)
        self._go_on = self._node.create_publisher(Empty, topic, 10)
        self._node.create_subscription(
            FollowWaypoints.Impl.FeedbackMessage, 'follow_waypoints/_action/feedback',
            self._on_feedback, 10,
        )
        self._node.create_subscription(
            GoalStatusArray, 'navigate_to_pose/_action/status',
            self._on_status, _STATUS,
        )

    def close(self) -> None:
        """Stop the threads and destroy the node; waits for a look that is under way."""
        self._ending = True
        self._thread.join()  # first: its callbacks give the worker more to do
        self._worker.shutdown(cancel_futures=True)
        super().close()

    def _on_feedback(self, message: object) -> None:
        self._index = message.feedback.current_waypoint  # type: ignore[attr-defined]
        self._heard = time.monotonic()

    def _on_status(self, message: GoalStatusArray) -> None:
        arrived = {
            bytes(status.goal_info.goal_id.uuid) for status in message.status_list
            if status.status == GoalStatus.STATUS_SUCCEEDED
        }
        follows = time.monotonic() - self._heard < _FOLLOWING
        if self._past is None and not follows:
            self._past = arrived
        new, self._past = arrived - (self._past or set()), arrived
        if new and follows:
            stamp = self._node.get_clock().now().to_msg()
            self._worker.submit(self._process, self._index, stamp)

    def _process(self, index: int, arrived: Time) -> None:
        try:
            self._look(index, arrived)
        except Exception as error:
            self._node.get_logger().error(f'Looking at waypoint {index} failed: {error!r}')
            return
        # Repeatedly: the follower drops what came before it began to wait.
        deadline = time.monotonic() + _REPEAT_SECONDS
        while self._index == index and time.monotonic() < deadline and not self._ending:
            self._go_on.publish(Empty())
            time.sleep(_REPEAT)
