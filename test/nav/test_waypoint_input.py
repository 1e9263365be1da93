# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Looks at waypoints, with a stand-in for Nav2's waypoint follower and its InputAtWaypoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import sys
import threading
from typing import Any

from action_msgs.msg import GoalInfo, GoalStatus, GoalStatusArray
from asked_node import asked_node
from builtin_interfaces.msg import Time
from nav.stand_in import blocked, clear
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_action_status_default
from robot import PATIENCE, Spinner, wait_until
from std_msgs.msg import Empty
from unique_identifier_msgs.msg import UUID
from vlm_npu_ros.client import VlmClient
from vlm_npu_ros.client.messages import to_seconds
from vlm_npu_ros.demo.scenes import render
from vlm_npu_ros.nav.waypoint_input import WaypointInput

pytestmark = pytest.mark.timeout(300)  # messages may have to be built first
STEP = 0.05  # seconds, a third of a drive


class Follower:
    """
    What can be seen of the waypoint follower from outside, and the plugin that waits.

    Its loop tells the current waypoint; when a drive is over, it waits for an Empty and forgets
    those that came before.
    """

    def __init__(self, context: rclpy.Context) -> None:
        from nav2_msgs.action import FollowWaypoints

        self.node = Node('follower', context=context)
        self._message = FollowWaypoints.Impl.FeedbackMessage
        self._feedback = self.node.create_publisher(
            self._message, 'follow_waypoints/_action/feedback', 10
        )
        self._status = self.node.create_publisher(
            GoalStatusArray, 'navigate_to_pose/_action/status', qos_profile_action_status_default
        )
        self.node.create_subscription(Empty, 'input_at_waypoint/input', self._on_input, 10)
        self._input, self._drive = threading.Event(), threading.Event()
        self._goals: list[GoalStatus] = []

    def wait_for_listener(self) -> None:
        wait_until(
            lambda: self._feedback.get_subscription_count() > 0
            and self._status.get_subscription_count() > 0
        )

    def drive(self, index: int | None, end: int = GoalStatus.STATUS_SUCCEEDED) -> None:
        """Drive to a waypoint; None = to a pose, without the follower."""
        uuid = UUID(uuid=[len(self._goals)] * 16)
        for status in (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING, end):
            if status == GoalStatus.STATUS_ACCEPTED:
                self._goals.append(GoalStatus(goal_info=GoalInfo(goal_id=uuid)))
            if index is not None:
                message = self._message()
                message.feedback.current_waypoint = index
                self._feedback.publish(message)
            self._goals[-1].status = status
            self._status.publish(GoalStatusArray(status_list=self._goals))
            self._drive.wait(STEP)

    def process_at_waypoint(self, patience: float = PATIENCE) -> bool:
        """Do what InputAtWaypoint does; return whether there was an input in time."""
        self._input.clear()
        return self._input.wait(patience)

    def _on_input(self, _: Empty) -> None:
        self._input.set()


@pytest.fixture
def follower(context: rclpy.Context, nav2_msgs: None) -> Iterator[Follower]:
    follower = Follower(context)
    spinner = Spinner(follower.node, SingleThreadedExecutor(context=context))
    yield follower
    spinner.close()


@pytest.fixture
def start(context: rclpy.Context, follower: Follower) -> Iterator[Callable[..., WaypointInput]]:
    started: list[WaypointInput] = []

    def start(look: Callable[[int, Time], None]) -> WaypointInput:
        started.append(WaypointInput(look, context=context))
        follower.wait_for_listener()
        return started[-1]

    yield start
    for waypoint_input in started:
        waypoint_input.close()


def test_each_waypoint_is_looked_at_before_the_robot_goes_on(
    vlm: VlmClient, follower: Follower, start: Callable[..., WaypointInput]
) -> None:
    answers: dict[int, Any] = {}
    with asked_node(backend='onnx', image_reliability='reliable') as (_, robot):
        def look(index: int, arrived: Time) -> None:
            frame = robot.publish(render((clear(), blocked())[index]))
            assert to_seconds(frame.header.stamp) > to_seconds(arrived)
            answers[index] = vlm.ask('is the path clear?', yes_no=True, not_before=arrived)

        start(look)
        for index in range(2):
            follower.drive(index)
            assert follower.process_at_waypoint()
            assert list(answers) == list(range(index + 1))
    assert [answers[index].choice for index in range(2)] == ['yes', 'no']


def test_a_look_that_is_quicker_than_the_follower_is_not_lost(
    follower: Follower, start: Callable[..., WaypointInput]
) -> None:
    looked = threading.Event()
    start(lambda index, arrived: looked.set())
    follower.drive(0)
    assert looked.wait(PATIENCE)
    assert follower._input.wait(PATIENCE)  # this one comes too early: the follower forgets it
    assert follower.process_at_waypoint()


def test_only_arrivals_of_the_follower_count(
    follower: Follower, start: Callable[..., WaypointInput]
) -> None:
    looks: list[int] = []
    looked = threading.Event()

    def look(index: int, arrived: Time) -> None:
        looks.append(index)
        looked.set()

    started = start(look)
    follower.drive(None)  # a drive of another mission
    wait_until(lambda: bool(started._past))  # it is over, before the follower's begins
    follower.drive(0, end=GoalStatus.STATUS_ABORTED)
    follower.drive(1)
    assert looked.wait(PATIENCE)
    assert follower.process_at_waypoint()
    assert looks == [1]


def test_a_look_that_fails_lets_the_follower_wait(
    follower: Follower, start: Callable[..., WaypointInput], capfd: pytest.CaptureFixture[str]
) -> None:
    def look(index: int, arrived: Time) -> None:
        if index == 0:
            raise ValueError('dark')

    start(look)
    follower.drive(0)
    assert not follower.process_at_waypoint(1.0)
    follower.drive(1)
    assert follower.process_at_waypoint()
    assert "Looking at waypoint 0 failed: ValueError('dark')" in capfd.readouterr().err


def test_without_nav2_msgs_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, context: rclpy.Context
) -> None:
    monkeypatch.setitem(sys.modules, 'nav2_msgs.action', None)
    with pytest.raises(ImportError, match='apt install ros-.*-nav2-msgs'):
        WaypointInput(lambda index, arrived: None, context=context)
