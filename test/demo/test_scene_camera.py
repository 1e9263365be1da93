# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The scene camera: its pictures are those of the scenes that it tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import json
import signal
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from robot import wait_until
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from vlm_npu_ros.client.messages import to_seconds
from vlm_npu_ros.demo.scene_camera import FRAME_ID, SceneCamera
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.demo.truth import Truth
from vlm_npu_ros.engine.conversions import to_rgb

PATIENCE = 60.0  # seconds; only a broken test waits this long
SCENE = random_scene(np.random.default_rng(11))
SIZE = (96, 64)
COMMAND = [sys.executable, '-m', 'vlm_npu_ros.demo.scene_camera', '--ros-args']


class Viewer:
    """Keeps what the camera publishes."""

    def __init__(self, context: rclpy.Context) -> None:
        self.node = Node('viewer', context=context)
        self.truths: list[Truth] = []
        self.images: list[Image] = []
        self.jpegs: list[CompressedImage] = []
        self._arrived = threading.Condition()
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for kind, topic, keep, qos in (
            (String, 'scene_camera/scene', self._keep_truth, latched),
            (Image, 'camera/image_raw', self._keeper(self.images), QoSProfile(depth=10)),
            (CompressedImage, 'camera/image_raw/compressed', self._keeper(self.jpegs),
             QoSProfile(depth=10)),
        ):
            self.node.create_subscription(kind, topic, keep, qos)
        self._set_scene = self.node.create_publisher(String, 'scene_camera/set_scene', 10)

    def _keeper(self, messages: list[Any]) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            with self._arrived:
                messages.append(message)
                self._arrived.notify_all()

        return keep

    def _keep_truth(self, message: String) -> None:
        self._keeper(self.truths)(Truth.from_json(message.data))

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """Return what the condition returns once it is true."""
        with self._arrived:
            assert self._arrived.wait_for(condition, PATIENCE)
            return condition()

    def truth(self, number: int) -> Truth:
        return self.wait_for(lambda: len(self.truths) > number and self.truths[number])

    def image_since(self, truth: Truth) -> Image:
        """Return an image that is stamped at or after a truth."""
        return self.wait_for(lambda: next(
            (m for m in self.images
             if to_seconds(m.header.stamp) >= to_seconds(truth.stamp)), None))

    def set_scene(self, text: str) -> None:
        # The truth, too: of two, only the last would come.
        self.wait_for(lambda: self.truths and self.images)
        wait_until(lambda: self._set_scene.get_subscription_count() > 0)
        self._set_scene.publish(String(data=text))


@pytest.fixture
def viewer(context: rclpy.Context, spin: Callable[[Node], None]) -> Viewer:
    viewer = Viewer(context)
    spin(viewer.node)
    return viewer


@pytest.fixture
def start(context: rclpy.Context, spin: Callable[[Node], None]) -> Callable[..., SceneCamera]:

    def start(**parameters: Any) -> SceneCamera:
        values = {
            'width': SIZE[0], 'height': SIZE[1], 'rate': 50.0, 'scene_period': 0.0,
            'reliability': 'reliable', **parameters,
        }
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        camera = SceneCamera(context=context, parameter_overrides=overrides)
        spin(camera)
        return camera

    return start


def test_images_show_the_scene_that_is_told(
    start: Callable[..., SceneCamera], viewer: Viewer
) -> None:
    start()
    truth = viewer.truth(0)
    image = viewer.image_since(truth)
    assert truth.frame_id == image.header.frame_id == FRAME_ID
    assert (image.encoding, image.width, image.height, image.step) == ('rgb8', *SIZE, 3 * SIZE[0])
    np.testing.assert_array_equal(to_rgb(image), render(truth.scene, *SIZE))


def test_every_image_has_a_stamp_of_its_own(
    start: Callable[..., SceneCamera], viewer: Viewer
) -> None:
    start()
    viewer.wait_for(lambda: len(viewer.images) >= 5)
    stamps = [to_seconds(image.header.stamp) for image in viewer.images]
    assert stamps == sorted(set(stamps))


def test_a_scene_can_be_set(start: Callable[..., SceneCamera], viewer: Viewer) -> None:
    start()
    viewer.set_scene(json.dumps(SCENE.as_dict()))
    truth = viewer.truth(1)
    assert truth.scene == SCENE
    viewer.image_since(truth)
    for image in viewer.images:
        new = to_seconds(image.header.stamp) >= to_seconds(truth.stamp)
        scene = SCENE if new else viewer.truths[0].scene
        np.testing.assert_array_equal(to_rgb(image), render(scene, *SIZE))


def test_the_empty_string_sets_a_random_scene(
    start: Callable[..., SceneCamera], viewer: Viewer
) -> None:
    start()
    viewer.set_scene('')
    assert viewer.truth(1).scene != viewer.truth(0).scene


def test_what_is_no_scene_changes_nothing(
    start: Callable[..., SceneCamera], viewer: Viewer
) -> None:
    start()
    viewer.set_scene('{"objects": []}')
    viewer.set_scene(json.dumps(SCENE.as_dict()))
    assert viewer.truth(1).scene == SCENE


def test_scenes_change_by_themselves(start: Callable[..., SceneCamera], viewer: Viewer) -> None:
    start(scene_period=0.1)
    first, second, third = (viewer.truth(number) for number in range(3))
    assert first.scene != second.scene != third.scene
    assert to_seconds(third.stamp) - to_seconds(first.stamp) >= 0.1


def test_the_seed_decides_the_scenes(start: Callable[..., SceneCamera], viewer: Viewer) -> None:
    start(seed=3)
    viewer.set_scene('')
    scenes = np.random.default_rng(3)
    expected = [random_scene(scenes) for _ in range(2)]
    assert [viewer.truth(number).scene for number in range(2)] == expected


def test_bgr(start: Callable[..., SceneCamera], viewer: Viewer) -> None:
    start(encoding='bgr8')
    truth = viewer.truth(0)
    image = viewer.image_since(truth)
    assert image.encoding == 'bgr8'
    np.testing.assert_array_equal(to_rgb(image), render(truth.scene, *SIZE))


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8'])
def test_jpeg(start: Callable[..., SceneCamera], viewer: Viewer, encoding: str) -> None:
    start(compressed=True, encoding=encoding)
    scene = viewer.truth(0).scene
    jpeg = viewer.wait_for(lambda: viewer.jpegs and viewer.jpegs[0])
    assert jpeg.header.frame_id == FRAME_ID
    difference = to_rgb(jpeg).astype(int) - render(scene, *SIZE)
    assert np.abs(difference).mean() < 8
    assert np.abs(difference.mean(axis=(0, 1))).max() < 2


@pytest.mark.parametrize('name, value, words', [
    ('encoding', 'mono8', 'encoding must be one of rgb8, bgr8'),
    ('reliability', 'sometimes', 'reliability must be one of reliable, best_effort'),
    ('width', 0, 'width'),
    ('rate', -1.0, 'rate'),
])
def test_wrong_parameters_are_refused(
    context: rclpy.Context, name: str, value: Any, words: str
) -> None:
    with pytest.raises((ValueError, InvalidParameterValueException), match=words):
        SceneCamera(context=context, parameter_overrides=[Parameter(name, value=value)])


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, '-p', 'reliability:=reliable', '-p', 'width:=64', '-p', 'height:=48'],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    with process:
        yield process
        process.kill()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_quietly(
    program: subprocess.Popen[str], viewer: Viewer, number: signal.Signals
) -> None:
    viewer.image_since(viewer.truth(0))
    program.send_signal(number)
    assert program.communicate(timeout=PATIENCE)[0] == ''
    assert program.returncode == 0


def test_a_wrong_parameter_ends_it_with_a_sentence() -> None:
    result = subprocess.run(
        [*COMMAND, '-p', 'encoding:=mono8'], capture_output=True, text=True, timeout=PATIENCE
    )
    assert result.returncode == 1
    assert 'The parameter encoding must be one of rgb8, bgr8, not' in result.stderr
    assert 'Traceback' not in result.stderr
