# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The mission's own look at the camera."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import threading
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from robot import PATIENCE, Robot
from sensor_msgs.msg import CompressedImage
from vlm_npu_ros.client.messages import to_seconds
from vlm_npu_ros.nav.camera import MissionCamera

WIDE = np.full((200, 1000, 3), (200, 30, 10), np.uint8)


def stamp_of(message: Any) -> float:
    return to_seconds(message.header.stamp)


def found(camera: MissionCamera, message: Any, patience: float = PATIENCE) -> bytes | None:
    return camera.picture_of(stamp_of(message), message.header.frame_id, patience)


def decoded(jpeg: bytes | None) -> np.ndarray:
    assert jpeg
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_the_picture_is_the_frame_made_smaller(robot: Robot, camera: MissionCamera) -> None:
    with camera.looking():
        jpeg = found(camera, robot.publish(WIDE))
    picture = decoded(jpeg)
    assert picture.shape == (128, 640, 3)
    assert np.abs(picture[:, :, ::-1].astype(int) - (200, 30, 10)).max() < 12


def test_small_frames_keep_their_size(robot: Robot, camera: MissionCamera) -> None:
    with camera.looking():
        jpeg = found(camera, robot.publish(WIDE[:48, :64]))
    assert decoded(jpeg).shape == (48, 64, 3)


def test_only_the_frame_of_that_very_stamp_is_taken(robot: Robot, camera: MissionCamera) -> None:
    with camera.looking():
        first, second = robot.publish(), robot.publish()
        assert found(camera, second) and found(camera, first)
        between = (stamp_of(first) + stamp_of(second)) / 2
        assert camera.picture_of(between, 'camera_optical_frame', PATIENCE) is None
        assert camera.picture_of(stamp_of(first), 'rear', 0.0) is None


def test_frames_count_while_it_looks_only(robot: Robot, camera: MissionCamera) -> None:
    early = robot.publish()
    assert camera.wait_for_frame(PATIENCE)
    with camera.looking():
        first = robot.publish()
        assert found(camera, first)
        assert found(camera, early, 0.0) is None
    with camera.looking():
        assert found(camera, first, 0.0) is None


def test_a_frame_that_was_waited_for_does_not_count(
    robot: Robot, camera: MissionCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Quick(threading.Condition):
        """Who waited looks before the camera's thread goes on."""

        def notify_all(self) -> None:
            super().notify_all()
            camera._looks = True

    monkeypatch.setattr(camera, '_changed', Quick())
    early = robot.publish()
    assert camera.wait_for_frame(PATIENCE)
    assert found(camera, robot.publish()) and found(camera, early, 0.0) is None


def test_a_frame_that_can_not_be_read_is_told(
    robot: Robot, camera: MissionCamera, capfd: pytest.CaptureFixture[str]
) -> None:
    with camera.looking():
        bad = robot.publish(encoding='what')
        assert found(camera, robot.publish())
        assert found(camera, bad, 0.0) is None
    assert "No picture: The encoding 'what' is not known" in capfd.readouterr().err


def test_old_pictures_make_room(
    robot: Robot, camera: MissionCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera, '_most', 2)
    with camera.looking():
        frames = []
        for _ in range(3):
            frames.append(robot.publish())
            assert found(camera, frames[-1])
        assert [found(camera, frame, 0.0) is not None for frame in frames] == [False, True, True]


@pytest.fixture
def watch(context: rclpy.Context) -> Iterator[Callable[..., MissionCamera]]:
    cameras: list[MissionCamera] = []

    def make(*arguments: Any) -> MissionCamera:
        cameras.append(MissionCamera(*arguments, context=context))
        return cameras[-1]

    yield make
    for camera in cameras:
        camera.close()


def test_compressed_images(robot: Robot, watch: Callable[..., MissionCamera]) -> None:
    camera = watch('eye', 'compressed')
    publisher = robot.node.create_publisher(CompressedImage, 'eye', 10)
    data = cv2.imencode('.png', WIDE[:48, :64, ::-1])[1].tobytes()
    message = CompressedImage(format='rgb8; png compressed bgr8', data=data)
    message.header.stamp = robot.node.get_clock().now().to_msg()
    with camera.looking():
        while not camera.wait_for_frame(0.1):
            publisher.publish(message)
        assert found(camera, message)


def test_no_topic_no_pictures(watch: Callable[..., MissionCamera]) -> None:
    camera = watch('')
    assert camera.wait_for_frame(0.0)
    with camera.looking():
        assert camera.picture_of(1.0, 'camera', PATIENCE) is None


def test_silent_camera(watch: Callable[..., MissionCamera]) -> None:
    assert not watch('nothing').wait_for_frame(0.1)


def test_time_is_of_ros(robot: Robot, camera: MissionCamera) -> None:
    before = robot.node.get_clock().now().nanoseconds
    now = camera.now()
    after = robot.node.get_clock().now().nanoseconds
    assert before <= now.sec * 10**9 + now.nanosec <= after


def test_the_context_may_end_first(context: rclpy.Context) -> None:
    camera = MissionCamera(context=context)
    context.shutdown()
    camera.close()
    assert 'mission_camera' not in [thread.name for thread in threading.enumerate()]
