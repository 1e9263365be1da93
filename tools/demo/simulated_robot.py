# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A robot that drives in straight lines, behind the methods of Nav2's BasicNavigator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import enum
import math
import time

from geometry_msgs.msg import PoseStamped


class TaskResult(enum.Enum):
    """As nav2_simple_commander.robot_navigator.TaskResult."""

    UNKNOWN = 0
    SUCCEEDED = 1
    CANCELED = 2
    FAILED = 3


@dataclass(frozen=True)
class Feedback:
    """The part of the nav2_msgs/action/NavigateToPose feedback that missions read; metres."""

    distance_remaining: float


class SimulatedRobot:
    """
    Has the methods of BasicNavigator that a patrol needs, without Nav2.

    speed: metres a second. on_arrival: called with the pose just before the task is complete.
    reachable: returns whether a pose can be reached; a drive elsewhere fails half-way.
    """

    def __init__(
        self,
        on_arrival: Callable[[PoseStamped], None] = lambda pose: None,
        reachable: Callable[[PoseStamped], bool] = lambda pose: True,
        speed: float = 2.0,
    ) -> None:
        self.place = 0.0, 0.0
        self._on_arrival = on_arrival
        self._reachable = reachable
        self._speed = speed
        self._pose = PoseStamped()
        self._start = self.place
        self._started = 0.0  # time.monotonic()
        self._result = TaskResult.UNKNOWN
        self._drives = False

    def waitUntilNav2Active(self, navigator: str = '', localizer: str = '') -> None:
        """Do nothing: there is nothing to wait for."""

    def goToPose(self, pose: PoseStamped) -> bool:
        """Set out; return whether the goal was accepted, which needs a frame."""
        if not pose.header.frame_id:
            return False
        self._pose, self._start, self._started = pose, self.place, time.monotonic()
        self._result, self._drives = TaskResult.UNKNOWN, True
        return True

    def isTaskComplete(self) -> bool:
        """Drive on; return whether the drive is over."""
        if not self._drives:
            return True
        share = self._share()
        (x, y), target = self._start, self._pose.pose.position
        self.place = x + share * (target.x - x), y + share * (target.y - y)
        if share >= 0.5 and not self._reachable(self._pose):
            self._end(TaskResult.FAILED)
        elif share >= 1:
            self._on_arrival(self._pose)
            self._end(TaskResult.SUCCEEDED)
        return not self._drives

    def getFeedback(self) -> Feedback:
        """Measure the remaining way."""
        return Feedback(self._distance(self.place))

    def getResult(self) -> TaskResult:
        """Tell how the last drive ended."""
        return self._result

    def cancelTask(self) -> None:
        """Stop where the robot is."""
        if self._drives:
            self._end(TaskResult.CANCELED)

    def _end(self, result: TaskResult) -> None:
        self._result, self._drives = result, False

    def _share(self) -> float:
        """Compute the share of the way that is done, 0 to 1."""
        way = self._distance(self._start)
        driven = (time.monotonic() - self._started) * self._speed
        return min(driven / way, 1.0) if way else 1.0

    def _distance(self, place: tuple[float, float]) -> float:
        target = self._pose.pose.position
        return math.hypot(target.x - place[0], target.y - place[1])
