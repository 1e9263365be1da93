# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
A patrol over the action that Nav2 drives with.

Nav2's own BasicNavigator is used where it is installed, and else one that drives as it does; what
answers is a stand-in for the rest of Nav2.
"""

from __future__ import annotations

from collections.abc import Iterator
import threading
from typing import Any

from action_msgs.msg import GoalStatus
from asked_node import asked_node
from nav.stand_in import blocked, clear, IS_CLEAR, mission, View, waypoint
import pytest
import rclpy
from rclpy.action import ActionClient, ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from robot import PATIENCE, Spinner
from simulated_robot import TaskResult
from vlm_npu_ros.client import VlmClient
from vlm_npu_ros.nav.camera import MissionCamera
from vlm_npu_ros.nav.patrol.patrol import Patrol

pytestmark = pytest.mark.timeout(300)  # messages may have to be built first
WALL, MOON = 5.0, 99.0  # x of poses: a drive there fails, or takes forever
RESULTS = {
    GoalStatus.STATUS_SUCCEEDED: TaskResult.SUCCEEDED,
    GoalStatus.STATUS_ABORTED: TaskResult.FAILED,
    GoalStatus.STATUS_CANCELED: TaskResult.CANCELED,
}


class ActionNavigator(Node):
    """Drives by the action, spun by itself with the global executor, as BasicNavigator is."""

    def __init__(self) -> None:
        from nav2_msgs.action import NavigateToPose

        super().__init__('basic_navigator')
        self._action = NavigateToPose
        self._client = ActionClient(self, NavigateToPose, 'navigate_to_pose')
        self._goal: Any = None
        self._result: Any = None

    def goToPose(self, pose: Any) -> bool:
        assert self._client.wait_for_server(PATIENCE)
        self._goal = self._await(self._client.send_goal_async(self._action.Goal(pose=pose)))
        self._result = self._goal.get_result_async() if self._goal.accepted else None
        return bool(self._goal.accepted)

    def isTaskComplete(self) -> bool:
        rclpy.spin_until_future_complete(self, self._result, timeout_sec=0.1)
        return bool(self._result.done())

    def getResult(self) -> TaskResult:
        return RESULTS[self._result.result().status]

    def cancelTask(self) -> None:
        self._await(self._goal.cancel_goal_async())

    def destroy_node(self) -> None:
        self._client.destroy()
        super().destroy_node()

    def _await(self, future: Any) -> Any:
        rclpy.spin_until_future_complete(self, future, timeout_sec=PATIENCE)
        return future.result()


class Driver:
    """The action server."""

    def __init__(self, context: rclpy.Context) -> None:
        from nav2_msgs.action import NavigateToPose

        self.ends: list[str] = []
        self.node = Node('bt_navigator', context=context)
        self._result = NavigateToPose.Result
        self._feedback = NavigateToPose.Feedback
        self.server = ActionServer(
            self.node, NavigateToPose, 'navigate_to_pose', self._drive,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )

    def _drive(self, goal: Any) -> Any:
        x, way, step = goal.request.pose.pose.position.x, threading.Event(), 0
        while (x == MOON or step < 10) and not goal.is_cancel_requested:
            goal.publish_feedback(self._feedback(distance_remaining=1.0))
            way.wait(0.02)
            step += 1
        cancelled = goal.is_cancel_requested
        self.ends.append('cancelled' if cancelled else f'{x:g}')
        (goal.canceled if cancelled else goal.abort if x == WALL else goal.succeed)()
        return self._result()


@pytest.fixture
def driver(context: rclpy.Context, nav2_msgs: None) -> Iterator[Driver]:
    driver = Driver(context)
    spinner = Spinner(driver.node, MultiThreadedExecutor(4, context=context))
    yield driver
    driver.server.destroy()
    spinner.close()


@pytest.fixture
def navigator(nav2_msgs: None) -> Iterator[Any]:
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        from nav2_simple_commander.robot_navigator import BasicNavigator
    except ImportError:
        BasicNavigator = ActionNavigator  # noqa: N806
    navigator = BasicNavigator()
    yield navigator
    navigator.destroy_node()
    rclpy.shutdown()


def test_navigator_client_and_camera_do_not_disturb_each_other(
    driver: Driver, navigator: Any
) -> None:
    places = [waypoint(f'at {x}', IS_CLEAR, IS_CLEAR, x=float(x)) for x in range(1, 7)]
    scenes = {place.name: (clear(), blocked())[i % 2] for i, place in enumerate(places)}

    def cancel_far_away(step: str, what: Any) -> None:
        if step == 'driving' and what.name == 'moon':
            threading.Timer(0.3, patrol.cancel).start()

    with (
        asked_node(backend='onnx', image_reliability='reliable') as (_, robot),
        MissionCamera(reliability='reliable') as camera,  # all in the context of the navigator
        VlmClient() as vlm,
    ):
        patrol = Patrol(
            mission(*places, waypoint('moon', x=MOON)), navigator, vlm, camera,
            progress=View(robot, scenes, cancel_far_away),
        )
        report = patrol.run()
    assert driver.ends == ['1', '2', '3', '4', '5', '6', 'cancelled']
    assert [visit.reached for visit in report.waypoints] == [True] * 4 + [False, True, False]
    assert report.waypoints[4].error.startswith('the navigator says FAILED')
    assert report.waypoints[6].error == 'the mission was cancelled on the way'
    told = [[a.choice for a in visit.answers] for visit in report.waypoints if visit.reached]
    assert told == [['yes'] * 2, ['no'] * 2] * 2 + [['no'] * 2]
    assert all(answered.picture for answered in report.answers)
