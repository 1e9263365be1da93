# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Behaviours, ticked in trees, with the real node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import importlib
import json
import sys
import threading
import time

from asked_node import asked_node
from bars import timing, within
from geometry_msgs.msg import Point, PointStamped
from nav.stand_in import blocked, clear
from py_trees.behaviour import Behaviour
from py_trees.behaviours import Success
from py_trees.blackboard import Blackboard
from py_trees.common import Status
from py_trees.composites import Selector, Sequence
import pytest
import rclpy
from robot import PATIENCE, Robot, wait_until
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vlm_npu_ros.client import VlmClient
from vlm_npu_ros.demo.scene_camera import calibration
from vlm_npu_ros.demo.scenes import depth_map, DISTANCE, object_box, render
from vlm_npu_ros.msg import ErrorCode
from vlm_npu_ros.nav import behaviours
from vlm_npu_ros.nav.behaviours import Ask, Find, ViewIs

PATH = 'is the path clear?'
SLOW = {'scripted__answers': ['one two three four'], 'scripted__decode_rate': 0.05}
SLOWEST_TICK = within(0.005)  # seconds, of the median


@pytest.fixture(autouse=True)
def blackboard() -> Iterator[None]:
    Blackboard.clear()
    yield
    Blackboard.clear()


def tick(tree: Behaviour) -> tuple[list[Status], list[float]]:
    """Tick until the tree has ended; return what it was and how long each tick took."""
    pause = threading.Event()
    statuses, times = [], []
    deadline = time.monotonic() + PATIENCE
    while not statuses or statuses[-1] is Status.RUNNING:
        started = time.perf_counter()
        tree.tick_once()
        times.append(time.perf_counter() - started)
        statuses.append(tree.status)
        assert time.monotonic() < deadline
        pause.wait(0.005)
    return statuses, times


@timing
def test_answers_come_to_the_blackboard_and_choose_the_branch(vlm: VlmClient) -> None:
    with asked_node(backend='onnx') as (_, robot):
        for scene, taken in (clear(), 'go'), (blocked(), 'wait'):
            frame = robot.publish(render(scene))
            stamp = frame.header.stamp
            go, wait = Success('go'), Success('wait')
            tree = Selector('choose', memory=True, children=[
                Sequence('ahead', memory=True, children=[
                    ViewIs('clear', vlm, PATH, not_before=stamp), go,
                ]),
                Sequence('else', memory=True, children=[
                    Ask('why', vlm, 'what do you see?', namespace='seen', not_before=stamp), wait,
                ]),
            ])
            statuses, times = tick(tree)
            assert statuses[0] is Status.RUNNING and statuses[-1] is Status.SUCCESS
            assert sorted(times)[len(times) // 2] < SLOWEST_TICK
            ended = {child.name for child in (go, wait) if child.status is Status.SUCCESS}
            assert ended == {taken}
        assert Blackboard.get('/seen/answer') == 'I see a near red box in the middle.'
        assert Blackboard.get('/seen/stamp') == pytest.approx(stamp.sec + stamp.nanosec / 1e9)
        assert 0 < Blackboard.get('/seen/age') < PATIENCE
        assert Blackboard.get('/seen/choice') == ''
        assert (Blackboard.get('/seen/error_code'), Blackboard.get('/seen/error')) == (0, '')


def test_choices_come_to_the_blackboard(vlm: VlmClient) -> None:
    with asked_node(backend='onnx') as (_, robot):
        stamp = robot.publish(render(blocked())).header.stamp
        ask = Ask(
            'colour', vlm, 'what colour is the box?', choices=['green', 'red'], not_before=stamp
        )
        assert tick(ask)[0][-1] is Status.SUCCESS
        assert Blackboard.get('/vlm/choice') == ask.feedback_message == 'red'
        assert 0.5 < Blackboard.get('/vlm/confidence') <= 1


@pytest.mark.parametrize('said, expected, unclear, status', [
    ('Yes.', 'yes', Status.FAILURE, Status.SUCCESS),
    ('Yes.', 'no', Status.FAILURE, Status.FAILURE),
    ('Purple.', 'yes', Status.FAILURE, Status.FAILURE),
    ('Purple.', 'yes', Status.SUCCESS, Status.SUCCESS),
])
def test_conditions(
    vlm: VlmClient, said: str, expected: str, unclear: Status, status: Status
) -> None:
    with asked_node(scripted__answers=[said]) as (_, robot):
        robot.publish()
        condition = ViewIs('it', vlm, PATH, expected, unclear=unclear)
        assert tick(condition)[0][-1] is status


def test_errors_fail_and_are_told(vlm: VlmClient) -> None:
    with asked_node():
        ask = Ask('see', vlm, 'what?', timeout=0.1)
        assert tick(ask)[0][-1] is Status.FAILURE
        assert Blackboard.get('/vlm/error_code') == ErrorCode.NO_FRAME
        assert 'camera/image_raw' in Blackboard.get('/vlm/error') == ask.feedback_message
        assert Blackboard.get('/vlm/stamp') is None
        condition = ViewIs('it', vlm, PATH, timeout=0.1, unclear=Status.SUCCESS)
        assert tick(condition)[0][-1] is Status.FAILURE


def test_no_node_and_a_closed_client_fail(context: rclpy.Context) -> None:
    with VlmClient('eyes', context=context, discovery_timeout=0.1) as vlm:
        ask = Ask('see', vlm, 'what?')
        assert tick(ask)[0][-1] is Status.FAILURE
        assert 'No node /eyes' in Blackboard.get('/vlm/error')
        assert Blackboard.get('/vlm/error_code') == 0
    assert tick(ask)[0] == [Status.FAILURE]
    assert 'closed' in Blackboard.get('/vlm/error')


def halted_while_asking(robot: Robot, tree: Behaviour, halt: Callable[[], None]) -> None:
    """Tick until the answer is being written, halt, and wait until the node has given it up."""
    tree.tick_once()
    wait_until(lambda: bool(robot.partials))
    tree.tick_once()
    assert tree.status is Status.RUNNING
    started = time.perf_counter()
    halt()
    assert time.perf_counter() - started < within(0.5)  # the next word takes 20 s
    wait_until(lambda: any(piece.finish_reason == 'cancelled' for piece in robot.partials))


@timing
@pytest.mark.parametrize('kind', [Ask, ViewIs])
def test_halting_cancels_the_question(vlm: VlmClient, kind: type[Ask] | type[ViewIs]) -> None:
    with asked_node(**SLOW) as (_, robot):
        robot.publish()
        tree = Sequence('all', memory=True, children=[kind('see', vlm, PATH)])
        halted_while_asking(robot, tree, lambda: tree.stop(Status.INVALID))
        assert not Blackboard.exists('/vlm/answer')


class Alarm(Behaviour):
    """Fails until it is raised, and then runs."""

    raised = False

    def update(self) -> Status:
        return Status.RUNNING if self.raised else Status.FAILURE


@timing
def test_a_branch_that_comes_first_cancels_the_question(vlm: VlmClient) -> None:
    with asked_node(**SLOW) as (_, robot):
        robot.publish()
        ask, alarm = Ask('see', vlm, 'what?'), Alarm('alarm')
        tree = Selector('all', memory=False, children=[alarm, ask])

        def halt() -> None:
            alarm.raised = True
            tree.tick_once()

        halted_while_asking(robot, tree, halt)
        assert (ask.status, alarm.status) == (Status.INVALID, Status.RUNNING)


def test_a_behaviour_asks_again_when_it_is_begun_again(vlm: VlmClient) -> None:
    with asked_node(scripted__answers=['yes', 'no']) as (_, robot):
        robot.publish()
        condition = ViewIs('it', vlm, PATH)
        ends = [tick(condition)[0][-1] for _ in range(3)]
        assert ends == [Status.SUCCESS, Status.FAILURE, Status.SUCCESS]


def test_with_a_clock_only_frames_from_the_start_on_count(vlm: VlmClient) -> None:
    with asked_node() as (_, robot):
        clock = robot.node.get_clock()
        robot.publish()
        late = Ask('see', vlm, 'what?', clock=lambda: clock.now().to_msg(), timeout=0.3)
        assert tick(late)[0][-1] is Status.FAILURE
        assert Blackboard.get('/vlm/error_code') == ErrorCode.NO_FRAME
        any_frame = Ask('see', vlm, 'what?')
        assert tick(any_frame)[0][-1] is Status.SUCCESS


def test_what_can_not_be_asked_is_refused_at_once(vlm: VlmClient) -> None:
    with pytest.raises(ValueError, match='timeout'):
        Ask('see', vlm, 'what?', timeout=-1.0)
    with pytest.raises(ValueError, match="expected is 'maybe': .* one of yes, no"):
        ViewIs('it', vlm, PATH, 'maybe')
    with pytest.raises(ValueError, match='one of left, right'):
        ViewIs('it', vlm, PATH, 'yes', choices=['left', 'right'])


def test_without_py_trees_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'py_trees.behaviour', None)
    with pytest.raises(ImportError, match="pip install 'py_trees>=2.2,<3'"):
        importlib.reload(behaviours)


def test_a_thing_that_was_found_becomes_a_pose_before_it(vlm: VlmClient) -> None:
    scene = blocked()
    left, top, right, bottom = (640 * v for v in object_box(scene, scene.objects[0], 480 / 640))
    box = [left / 0.64, top / 0.48, right / 0.64, bottom / 0.48]
    found = json.dumps([{'bbox_2d': box, 'label': 'box'}])
    places = {'camera__depth': 'camera/depth', 'camera__camera_info': 'camera/camera_info'}

    def to_base(point: PointStamped) -> PointStamped:
        """Look from the camera's optical frame, which is a metre ahead of the robot's middle."""
        x, y, z = point.point.z + 1.0, -point.point.x, -point.point.y
        header = Header(stamp=point.header.stamp, frame_id='base_link')
        return PointStamped(header=header, point=Point(x=x, y=y, z=z))

    with asked_node(scripted__answers=[found], **places) as (_, robot):
        depths = robot.node.create_publisher(Image, 'camera/depth', 10)
        infos = robot.node.create_publisher(CameraInfo, 'camera/camera_info', 10)
        wait_until(lambda: depths.get_subscription_count() and infos.get_subscription_count())
        depth = (depth_map(scene) * 1000).astype('<u2').tobytes()
        picture = render(scene)

        def look() -> bool:
            """Look at a new picture, which may come before what belongs to it."""
            header = Header(stamp=robot.node.get_clock().now().to_msg(), frame_id='eye')
            infos.publish(calibration(640, 480, header))
            depths.publish(Image(
                header=header, encoding='16UC1', height=480, width=640, step=1280, data=depth
            ))
            stamp = robot.publish(picture, header=header).header.stamp
            find = Find('find', vlm, 'the box', to_base, stop=0.5, not_before=stamp)
            ended = tick(find)[0][-1]
            assert ended is Status.SUCCESS or 'has no point' in find.feedback_message
            return ended is Status.SUCCESS

        wait_until(look)
        pose = Blackboard.get('/vlm/goal_pose')
        assert pose.header.frame_id == 'base_link'
        assert pose.pose.position.x == pytest.approx(1 + DISTANCE - 0.5, abs=0.1)
        assert Blackboard.get('/vlm/place').label == 'box'
        assert Blackboard.get('/vlm/error') == ''


def test_a_thing_that_is_not_seen_is_a_failure(vlm: VlmClient) -> None:
    with asked_node(scripted__answers=['[]']) as (_, robot):
        robot.publish()
        assert tick(Find('find', vlm, 'the box', lambda point: point))[0][-1] is Status.FAILURE
        assert Blackboard.get('/vlm/error') == 'the box is not seen'
