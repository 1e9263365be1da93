# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Pictures that come with a question, and regions of pictures."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

from builtin_interfaces.msg import Duration, Time
import cv2
import numpy as np
import pytest
from robot import Robot, wait_until
from seeing import seeing, told
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header
from vlm_npu_ros.client.messages import make_goal
from vlm_npu_ros.msg import ErrorCode
from vlm_npu_ros.node.vlm_node import VlmNode
from watcher import Watcher

MakeNode = Callable[..., VlmNode]
__all__ = ['seeing']
pytestmark = pytest.mark.usefixtures('seeing')


def plain(red: int, green: int, blue: int, width: int = 20, height: int = 10) -> np.ndarray:
    return np.full((height, width, 3), (red, green, blue), np.uint8)


RED, BLUE = plain(200, 0, 0), plain(0, 0, 180)


def raw(rgb: np.ndarray, **header: Any) -> Image:
    message: Image = make_goal('', image=rgb).images[0]
    message.header = Header(**header)
    return message


def png(rgb: np.ndarray) -> CompressedImage:
    data = cv2.imencode('.png', rgb[:, :, ::-1])[1].tobytes()
    return CompressedImage(format='png', data=array('B', data))


def test_answer_is_about_the_pictures_that_came(active_node: MakeNode, robot: Robot) -> None:
    node = active_node()
    response = robot.ask(question='what?', images=[raw(RED)])  # before any frame
    assert response.success, response.error_msg
    assert response.answer == told(RED)
    frame = robot.publish()
    camera = np.full((48, 64, 3), 90, np.uint8)
    stamp = Time(sec=7, nanosec=5)
    for fields, expected in (
        ({'images': [raw(RED, stamp=stamp, frame_id='crop')]}, told(RED)),
        ({'compressed_images': [png(BLUE)]}, told(BLUE)),
        ({'compressed_images': [png(BLUE)], 'images': [raw(RED), raw(BLUE)]},
         told(RED, BLUE, BLUE)),
        ({'camera': 'camera', 'images': [raw(RED)]}, told(camera, RED)),
        ({}, told(camera)),
    ):
        response = robot.ask(question='what?', **fields)
        assert response.success, response.error_msg
        assert response.answer == expected
        if 'camera' in fields or not fields:
            assert response.header == frame.header
        elif response.header.frame_id:
            assert response.header == Header(stamp=stamp, frame_id='crop')
        else:
            assert response.frame_age == Duration()
    outcome = robot.result_of(robot.send_goal(question='what?', images=[raw(RED)]))()
    assert outcome.result.answer == told(RED)
    assert node._feeds['camera'].counts.received == 1


def test_pictures_that_cannot_be_read_are_typed_errors(
    active_node: MakeNode, robot: Robot
) -> None:
    active_node()
    robot.publish()
    depth = Image(encoding='16UC1', width=2, height=2, step=4, data=array('B', bytes(8)))
    for fields, code, words in (
        ({'images': [Image()]}, ErrorCode.BAD_IMAGE, ''),
        ({'images': [depth]}, ErrorCode.BAD_IMAGE, '16UC1'),
        ({'images': [raw(RED), depth]}, ErrorCode.BAD_IMAGE, '16UC1'),
        ({'compressed_images': [CompressedImage(data=array('B', b'no picture'))]},
         ErrorCode.BAD_IMAGE, ''),
        ({'images': 17 * [raw(RED)]}, ErrorCode.BAD_REQUEST, 'at most 16'),
        ({'images': 2 * [Image(data=array('B', bytes(33 << 20)))]},
         ErrorCode.BAD_REQUEST, 'at most 64'),
        ({'images': [raw(RED)], 'num_frames': 2}, ErrorCode.BAD_REQUEST, 'pictures'),
        ({'images': [raw(RED)], 'roi': RegionOfInterest(x_offset=20, width=1, height=1)},
         ErrorCode.BAD_REQUEST, 'not within the picture of 20x10'),
    ):
        response = robot.ask(question='what?', **fields)
        assert response.error_code == code, (fields.keys(), response.error_msg)
        assert words in response.error_msg


def test_dialogue_goes_on_about_its_picture(active_node: MakeNode, robot: Robot) -> None:
    node = active_node()
    robot.publish()
    encodings: list[np.ndarray] = []
    encode = node._engine.encode
    node._engine.encode = lambda rgb: (encodings.append(rgb), encode(rgb))[1]
    in_dialogue = {'question': 'what?', 'conversation_id': 'one'}
    first = robot.ask(**in_dialogue, images=[raw(RED, frame_id='a')])
    again = robot.ask(**in_dialogue, images=[raw(RED, frame_id='b')])
    without = robot.ask(**in_dialogue)
    other = robot.ask(**in_dialogue, images=[raw(BLUE)])
    assert [r.answer for r in (first, again, without, other)] == [
        *3 * [told(RED)], told(BLUE)]
    assert [r.dropped_turns for r in (first, again, without, other)] == [0, 0, 0, 3]
    assert len([e for e in encodings if e.shape == RED.shape]) == 2


def test_region_of_frames_and_pictures(active_node: MakeNode, robot: Robot) -> None:
    active_node(camera__rotate=90)
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[10:14, 20:30] = 200, 100, 0
    robot.publish(picture)
    part = RegionOfInterest(x_offset=20, y_offset=10, width=10, height=4)
    for fields, expected in (
        ({'roi': part}, told(picture[10:14, 20:30])),
        ({'roi': part, 'images': [raw(picture)]}, told(picture[10:14, 20:30])),
        ({'roi': RegionOfInterest(x_offset=15, y_offset=10, width=10, height=4)},
         told(picture[10:14, 15:25])),
        ({'roi': RegionOfInterest(x_offset=60, width=99, height=99)}, told(picture[:, 60:])),
        ({}, told(picture)),
    ):
        response = robot.ask(question='what?', **fields)
        assert response.success, response.error_msg
        assert response.answer == expected
    for roi, code, words in (
        (RegionOfInterest(x_offset=64, width=1, height=1), ErrorCode.BAD_REQUEST, 'not within'),
        (RegionOfInterest(x_offset=5), ErrorCode.BAD_REQUEST, 'width or height is 0'),
        (RegionOfInterest(width=5, height=5, do_rectify=True), ErrorCode.NOT_SUPPORTED, 'rectify'),
    ):
        robot.publish(picture)
        response = robot.ask(question='what?', roi=roi)
        assert response.error_code == code
        assert words in response.error_msg


def test_region_is_of_the_newest_frame(active_node: MakeNode, robot: Robot) -> None:
    node = active_node(encode_rate=100.0)
    part = RegionOfInterest(x_offset=1, y_offset=1, width=2, height=2)
    for shade in (20, 40):
        frame = robot.publish(plain(shade, 0, 0), age=1 - shade / 100)
        wait_until(lambda f=frame: node._feeds['camera'].arrivals.newest is not None
                   and node._feeds['camera'].frame is not None
                   and node._feeds['camera'].frame.header == f.header)
        response = robot.ask(question='what?', roi=part)
        assert response.answer == told(plain(shade, 0, 0))
        assert response.header == frame.header


def test_region_that_is_asked_about_again_is_encoded_ahead(
    active_node: MakeNode, robot: Robot
) -> None:
    node = active_node(encode_rate=100.0)
    part = RegionOfInterest(x_offset=1, y_offset=1, width=2, height=2)
    feed = node._feeds['camera']
    robot.publish()
    for _ in range(2):
        frame = robot.publish()
        assert robot.ask(
            question='what?', roi=part, not_before=frame.header.stamp).success
    (region,) = feed.feeds[1:]
    assert region.is_regular
    frame = robot.publish()
    wait_until(lambda: region.frame is not None and region.frame.header == frame.header)
    response = robot.ask(question='what?', roi=part, not_before=frame.header.stamp)
    assert response.stats.encode_seconds == 0
    for x in range(2, 12):  # no more regions than that are kept
        robot.ask(question='what?', roi=RegionOfInterest(x_offset=x, width=2, height=2))
    assert len(feed.feeds) == 9


def test_watch_of_a_region(active_node: MakeNode, robot: Robot) -> None:
    active_node(encode_rate=100.0)
    watching = Watcher(robot).watch(roi=RegionOfInterest(x_offset=4, width=2, height=2))
    for shade in (50, 90):
        picture = plain(0, 0, 0)
        picture[:2, 4:6] = shade
        robot.publish(picture)
        assert watching.hear().answer == told(picture[:2, 4:6])
    outside = Watcher(robot).watch(roi=RegionOfInterest(x_offset=99, width=2, height=2))
    robot.publish(picture)
    result = outside.end().result
    assert result.error_code == ErrorCode.BAD_REQUEST
    assert 'not within the picture of 20x10' in result.error_msg


def test_standing_question_about_a_region(active_node: MakeNode, robot: Robot) -> None:
    node = active_node(
        standing_questions=['gauge'], standing__gauge__question='what?',
        standing__gauge__answer_type='text', standing__gauge__region__x=0.5,
        standing__gauge__region__width=0.25, standing__gauge__period=0.0,
    )
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 40:60] = 10, 20, 30
    wait_until(lambda: robot.camera.get_subscription_count() > 0)
    (question,) = node._standing._questions
    for _ in range(3):
        robot.publish(picture)
    wait_until(lambda: question._known.frame is not None)
    assert question._known.answer.answer == told(picture[:, 40:60])
