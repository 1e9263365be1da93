# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Missions with the real node, client and camera; a simulated robot stands in for Nav2."""

from __future__ import annotations

import json
import threading
from typing import Any

from asked_node import asked_node
import cv2
from nav.stand_in import blocked, clear, IS_CLEAR, mission, Navigator, View, waypoint
import numpy as np
import pytest
import rclpy
from vlm_npu_ros.client import VlmClient
from vlm_npu_ros.client.messages import to_seconds
from vlm_npu_ros.demo.scenes import render
from vlm_npu_ros.msg import ErrorCode
from vlm_npu_ros.nav.camera import MissionCamera
from vlm_npu_ros.nav.mission import make_pose, Question, Waypoint
from vlm_npu_ros.nav.patrol.patrol import Patrol

WHAT = Question('what do you see?')
COLOUR = Question('what colour is the box?', {'choices': ('green', 'red')})
IMPATIENT = Question('what do you see?', {'timeout': 0.3})
SLOW = {'scripted__answers': ['one two three four'], 'scripted__decode_rate': 0.05}


def test_each_place_is_asked_about_as_it_is_there(vlm: VlmClient, camera: MissionCamera) -> None:
    scenes = {'hall': clear(), 'dock': blocked()}
    with asked_node(backend='onnx', image_reliability='reliable') as (_, robot):
        view = View(robot, scenes)
        report = Patrol(
            mission(
                waypoint('hall', IS_CLEAR, WHAT, x=1.0), waypoint('dock', IS_CLEAR, COLOUR, x=2.0)
            ),
            Navigator(), vlm, camera, progress=view,
        ).run()
    assert (report.outcome, report.complete) == ('completed', True)
    hall, dock = report.waypoints
    assert [a.verdict for a in hall.answers] == ['expected', 'answered']
    assert [a.verdict for a in dock.answers] == ['unexpected', 'answered']
    assert hall.answers[1].answer == 'I see a far green ball on the left.'
    assert [(a.choice, a.kind) for a in dock.answers] == [('no', 'yes_no'), ('red', 'choice')]
    assert [a.question for a in report.alarms] == [IS_CLEAR.text]
    for visit in report.waypoints:
        assert visit.arrived and report.started <= visit.arrived <= (report.ended or 0)
        for answered in visit.answers:
            assert answered.asked >= visit.arrived and answered.ok and answered.confidence <= 1
            difference = pixels(report.pictures[answered.picture]) - render(scenes[visit.name])
            assert np.abs(difference).mean() < 4
    assert view.steps == ['driving', 'ended', *['asking', 'answered'] * 2] * 2


def test_places_are_in_the_report(vlm: VlmClient, camera: MissionCamera) -> None:
    said = json.dumps([{'bbox_2d': [250, 500, 500, 1000], 'label': 'cup'}])
    with asked_node(scripted__answers=[said, '[]'], image_reliability='reliable') as (_, robot):
        report = Patrol(
            mission(waypoint('hall', *[Question('the cup', {'locate': True})] * 2)),
            Navigator(), vlm, camera, progress=View(robot, {'hall': clear()}),
        ).run()
    assert [a.answer for a in report.answers] == ['cup: 160x240 at 160, 240', 'not seen']
    found, none = json.loads(report.to_json())['waypoints'][0]['answers']
    assert (found['type'], found['verdict'], none['places']) == ('locate', 'answered', [])
    (place,) = found['places']
    assert (place['label'], place['box'], place['point']) == ('cup', [160, 240, 160, 240], None)


def pixels(jpeg: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1].astype(int)


@pytest.mark.parametrize('before, after, choice', [
    (blocked(), clear(), 'yes'), (clear(), blocked(), 'no'),
])
def test_frames_from_before_the_arrival_do_not_count(
    vlm: VlmClient, camera: MissionCamera, before: Any, after: Any, choice: str
) -> None:
    with asked_node(backend='onnx', image_reliability='reliable') as (_, robot):
        frame = robot.publish(render(before))
        old = vlm.ask(IS_CLEAR.text, yes_no=True, not_before=frame.header.stamp)
        assert old.choice != choice
        assert vlm.ask(IS_CLEAR.text, yes_no=True).choice == old.choice  # it is fresh enough
        view = View(robot, {'hall': after})
        patrol = Patrol(
            mission(waypoint('hall', IS_CLEAR)), Navigator(), vlm, camera, progress=view
        )
        (answered,) = patrol.run().answers
    assert (answered.choice, answered.frame_id) == (choice, 'camera_optical_frame')
    assert answered.stamp == to_seconds(view.frames[0].header.stamp)


def test_the_robot_may_settle_first(vlm: VlmClient, camera: MissionCamera) -> None:
    with asked_node(image_reliability='reliable') as (_, robot):
        view = View(robot, {'hall': clear()})
        patrol = Patrol(
            mission(waypoint('hall', IMPATIENT), settle=60.0), Navigator(), vlm, camera,
            progress=view,
        )
        (answered,) = patrol.run().answers
    assert answered.error_code == ErrorCode.NO_FRAME


def test_a_place_out_of_reach_is_told_and_the_next_one_visited(
    vlm: VlmClient, camera: MissionCamera
) -> None:
    nowhere = Waypoint('nowhere', make_pose('', 5.0, 0.0), (WHAT,))
    with asked_node(image_reliability='reliable') as (_, robot):
        report = Patrol(
            mission(waypoint('roof', WHAT, x=9.0), nowhere, waypoint('hall', WHAT, x=2.0)),
            Navigator(unreachable=(9.0,)), vlm, camera, progress=View(robot, {'hall': clear()}),
        ).run()
    assert [visit.reached for visit in report.waypoints] == [False, False, True]
    assert [visit.error for visit in report.waypoints] == [
        'the navigator says FAILED', 'the navigator rejected the goal', '',
    ]
    assert [len(visit.answers) for visit in report.waypoints] == [0, 0, 1]
    assert (report.outcome, report.complete) == ('completed', False)


def test_the_reason_that_a_newer_navigator_tells(vlm: VlmClient, camera: MissionCamera) -> None:
    navigator: Any = Navigator(unreachable=(1.0,))
    navigator.getTaskError = lambda: (203, 'no way there')
    report = Patrol(mission(waypoint('roof')), navigator, vlm, camera).run()
    assert report.waypoints[0].error == 'the navigator says FAILED: error 203: no way there'


def test_a_silent_camera_is_told_and_the_mission_goes_on(
    vlm: VlmClient, camera: MissionCamera
) -> None:
    with asked_node(image_reliability='reliable') as (_, robot):
        robot.publish()
        report = Patrol(
            mission(waypoint('cellar', IMPATIENT), waypoint('hall', WHAT, x=2.0)),
            Navigator(), vlm, camera, progress=View(robot, {'hall': clear()}),
        ).run()
    dark, bright = report.answers
    assert (dark.verdict, dark.error_code) == ('failed', ErrorCode.NO_FRAME)
    assert 'camera/image_raw' in dark.error and dark.picture == ''
    assert bright.verdict == 'answered'
    assert report.outcome == 'completed'


@pytest.mark.parametrize('unreachable, visited', [((1.0,), [0]), ((), [1])])
def test_the_mission_may_stop_at_the_first_failure(
    vlm: VlmClient, camera: MissionCamera, unreachable: tuple[float, ...], visited: list[int]
) -> None:
    with asked_node():
        navigator = Navigator(unreachable=unreachable)
        report = Patrol(
            mission(waypoint('cellar', IMPATIENT, WHAT), waypoint('hall', WHAT, x=2.0)),
            navigator, vlm, camera, stop_on_failure=True,
        ).run()
    assert report.outcome == 'stopped'
    assert [len(visit.answers) for visit in report.waypoints] == [*visited, 0]
    assert report.waypoints[1].error == 'not reached: the mission was stopped'
    assert navigator.log == ['go 1']


def test_a_missing_node_is_told(context: rclpy.Context, camera: MissionCamera) -> None:
    with VlmClient('eyes', context=context, discovery_timeout=0.3) as vlm:
        report = Patrol(mission(waypoint('hall', WHAT)), Navigator(), vlm, camera).run()
    (answered,) = report.answers
    assert (answered.verdict, answered.error_code) == ('failed', 0)
    assert 'No node /eyes' in answered.error


def test_cancel_on_the_way(vlm: VlmClient, camera: MissionCamera) -> None:
    navigator = Navigator(speed=0.01)
    view = View(on=lambda step, _: threading.Timer(0.1, patrol.cancel).start())
    patrol = Patrol(
        mission(waypoint('hall', WHAT), waypoint('dock')), navigator, vlm, camera, progress=view
    )
    report = patrol.run()
    assert navigator.log == ['go 1', 'cancel']
    assert report.outcome == 'cancelled' and report.ended
    assert [visit.error for visit in report.waypoints] == [
        'the mission was cancelled on the way', 'not reached: the mission was cancelled',
    ]


def test_cancel_while_a_question_is_answered(vlm: VlmClient, camera: MissionCamera) -> None:
    with asked_node(image_reliability='reliable', **SLOW) as (_, robot):
        def cancel(step: str, _: Any) -> None:
            if step == 'asking':
                threading.Timer(0.5, patrol.cancel).start()

        patrol = Patrol(
            mission(waypoint('hall', WHAT, WHAT), waypoint('dock', WHAT)), Navigator(), vlm,
            camera, progress=View(robot, {'hall': clear()}, cancel),
        )
        report = patrol.run()
        assert report.outcome == 'cancelled'
        (answered,) = report.answers
        assert (answered.verdict, answered.error_code) == ('failed', ErrorCode.CANCELLED)
        assert report.waypoints[0].reached and not report.waypoints[1].reached
        assert vlm.ask('what?', max_new_tokens=1, timeout=20.0).text == 'one'  # it is free again


def test_an_interrupt_leaves_nothing_under_way(vlm: VlmClient, camera: MissionCamera) -> None:
    class Interrupted(Navigator):

        def isTaskComplete(self) -> bool:
            if self.log[-1] != 'cancel':
                raise KeyboardInterrupt
            return super().isTaskComplete()

    navigator = Interrupted(speed=0.01)
    patrol = Patrol(mission(waypoint('hall', WHAT)), navigator, vlm, camera)
    with pytest.raises(KeyboardInterrupt):
        patrol.run()
    assert navigator.log == ['go 1', 'cancel']
    assert patrol.report.outcome == 'cancelled'
    assert patrol.report.waypoints[0].error == 'not reached: the mission was cancelled'


def test_answers_without_a_picture_say_why(context: rclpy.Context, vlm: VlmClient) -> None:
    with (
        asked_node(image_reliability='reliable') as (_, robot),
        MissionCamera('', context=context) as camera,
    ):
        report = Patrol(
            mission(waypoint('hall', WHAT)), Navigator(), vlm, camera,
            progress=View(robot, {'hall': clear()}),
        ).run()
    (answered,) = report.answers
    assert answered.ok and answered.picture == '' and not report.pictures
    assert answered.note.startswith('no picture: no frame of stamp')
