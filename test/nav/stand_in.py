# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What stands in for Nav2 and for a changing view in the tests of missions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
import functools
from typing import Any

from geometry_msgs.msg import PoseStamped
import numpy as np
from robot import Robot
from sensor_msgs.msg import Image
from simulated_robot import SimulatedRobot
from vlm_npu_ros.demo.scenes import random_scene, render, Scene, SceneObject
from vlm_npu_ros.nav.mission import make_pose, Mission, Question, Waypoint
from vlm_npu_ros.nav.patrol.patrol import Progress
from vlm_npu_ros.nav.patrol.report import Answered, Visit

IS_CLEAR = Question('is the path clear?', {'yes_no': True}, 'yes')
FAST = 1000.0  # metres a second


@functools.cache
def clear() -> Scene:
    """Return a scene with a far green ball on the left: nothing is in the way."""
    return _scene(SceneObject('ball', 'green', 'left', False, 0.2, 0.5))


@functools.cache
def blocked() -> Scene:
    return _scene(SceneObject('box', 'red', 'middle', True, 0.5, 1.0))


def _scene(*things: SceneObject) -> Scene:
    return replace(random_scene(np.random.default_rng(1)), objects=things, noise=2.0, light=1.0)


def waypoint(name: str, *questions: Question, x: float = 1.0) -> Waypoint:
    return Waypoint(name, make_pose('map', x, 0.0), questions)


def mission(*waypoints: Waypoint, **fields: Any) -> Mission:
    return Mission('test', waypoints, **fields)


class Navigator(SimulatedRobot):
    """
    BasicNavigator's methods on a simulated robot that keeps a log.

    unreachable: x of poses that it does not get to.
    """

    def __init__(self, speed: float = FAST, unreachable: tuple[float, ...] = ()) -> None:
        super().__init__(
            speed=speed, reachable=lambda pose: pose.pose.position.x not in unreachable
        )
        self.log: list[str] = []

    def goToPose(self, pose: PoseStamped) -> bool:
        self.log.append(f'go {pose.pose.position.x:g}')
        return super().goToPose(pose)

    def cancelTask(self) -> None:
        self.log.append('cancel')
        super().cancelTask()

    def destroy_node(self) -> None:
        self.log.append('destroy')


class View(Progress):
    """
    Publishes a frame of the waypoint's scene as soon as something is asked there.

    scenes: by the name of the waypoint; none = the camera is silent.
    on: called with the name of a step and what Progress gets with it.
    """

    def __init__(
        self,
        robot: Robot | None = None,
        scenes: Mapping[str, Scene] | None = None,
        on: Callable[[str, Any], None] = lambda step, what: None,
    ) -> None:
        self.frames: list[Image] = []
        self.steps: list[str] = []
        self._robot = robot
        self._scenes = scenes or {}
        self._on = on
        self._place = ''

    def driving(self, waypoint: Waypoint) -> None:
        self._place = waypoint.name
        self._tell('driving', waypoint)

    def ended(self, visit: Visit) -> None:
        self._tell('ended', visit)

    def asking(self, question: Question) -> None:
        if self._robot and self._place in self._scenes:
            self.frames.append(self._robot.publish(render(self._scenes[self._place])))
        self._tell('asking', question)

    def answered(self, answered: Answered) -> None:
        self._tell('answered', answered)

    def _tell(self, step: str, what: Any) -> None:
        self.steps.append(step)
        self._on(step, what)
