# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A camera that films synthetic scenes and publishes what is in them."""

from __future__ import annotations

import array
import sys
from typing import Any

import cv2
import numpy as np
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String
from vlm_npu_ros.client.start import run_node
from vlm_npu_ros.demo.scenes import depth_map, random_scene, render, Scene
from vlm_npu_ros.demo.truth import scene_from_json, Truth
from vlm_npu_ros.node.camera_messages import jpeg_image, raw_image

FRAME_ID = 'camera_optical_frame'
_FOCAL = 0.9  # of its width
# Seconds from a picture to its depth: of both at once, Fast DDS loses parts and is late.
_DEPTH_LATER = 0.02
_ENCODINGS = ('rgb8', 'bgr8')
_RELIABILITIES = ('reliable', 'best_effort')  # RViz takes only reliable ones as it is


class SceneCamera(Node):
    """
    Publishes pictures of a scene, and changes the scene every `scene_period` seconds.

    camera/image_raw, camera/image_raw/compressed (if `compressed`): the pictures.
    camera/depth: the distance of each pixel, 16UC1 in millimetres.
    camera/camera_info: a calibration, without distortion.
    ~/scene: the truth about them, see `Truth`; published before a scene's first picture.
    ~/set_scene: shows the scene of this JSON next; an empty string shows a random one.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__('scene_camera', **node_options)
        self._size = (
            self._integer('width', 640, 16, 8192, 'Width of the images in pixels.'),
            self._integer('height', 480, 16, 8192, 'Height of the images in pixels.'),
        )
        rate = self._number('rate', 10.0, 0.1, 1000.0, 'Images per second.')
        period = self._number(
            'scene_period', 5.0, 0.0, 86400.0, 'Seconds between scenes; 0 = only when told to.'
        )
        seed = self._integer('seed', 0, 0, 2**31 - 1, 'Of the scenes; 0 = a random one.')
        self._encoding = self._choice('encoding', _ENCODINGS, 'Pixel format of the images.')
        reliability = self._choice('reliability', _RELIABILITIES, 'QoS of the images.')
        compressed = self._parameter('compressed', False, 'Publish JPEG images as well.')

        self._random = np.random.default_rng(seed or None)
        images = QoSProfile(depth=5, reliability=ReliabilityPolicy[reliability.upper()])
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._raw_publisher = self.create_publisher(Image, 'camera/image_raw', images)
        self._jpeg_publisher = (
            self.create_publisher(CompressedImage, 'camera/image_raw/compressed', images)
            if compressed
            else None
        )
        self._depth_publisher = self.create_publisher(Image, 'camera/depth', images)
        self._info_publisher = self.create_publisher(CameraInfo, 'camera/camera_info', images)
        self._truth_publisher = self.create_publisher(String, '~/scene', latched)
        self.create_subscription(String, '~/set_scene', self._on_set_scene, 10)
        self._depth: Image | None = None
        self._show(random_scene(self._random))
        self._depth_timer = self.create_timer(_DEPTH_LATER, self._publish_depth)
        self._depth_timer.cancel()
        self.create_timer(1 / rate, self._publish)
        self._scene_timer = (
            self.create_timer(period, lambda: self._show(random_scene(self._random)))
            if period
            else None
        )

    def _parameter(self, name: str, default: Any, about: str, **limits: Any) -> Any:
        descriptor = ParameterDescriptor(description=about, read_only=True, **limits)
        return self.declare_parameter(name, default, descriptor).value

    def _integer(self, name: str, default: int, low: int, high: int, about: str) -> int:
        limits = [IntegerRange(from_value=low, to_value=high)]
        return self._parameter(name, default, about, integer_range=limits)

    def _number(self, name: str, default: float, low: float, high: float, about: str) -> float:
        limits = [FloatingPointRange(from_value=low, to_value=high)]
        return self._parameter(name, default, about, floating_point_range=limits)

    def _choice(self, name: str, choices: tuple[str, ...], about: str) -> str:
        allowed = f'one of {", ".join(choices)}'
        value = self._parameter(name, choices[0], about, additional_constraints=allowed)
        if value not in choices:
            raise ValueError(f'The parameter {name} must be {allowed}, not {value!r}')
        return value

    def _on_set_scene(self, message: String) -> None:
        try:
            scene = scene_from_json(message.data) if message.data else random_scene(self._random)
        except ValueError as error:
            self.get_logger().error(f'The scene stays as it is: {error}')
            return
        self._show(scene)
        if self._scene_timer:
            self._scene_timer.reset()

    def _show(self, scene: Scene) -> None:
        """Publish the truth and make the messages, which later only get new stamps."""
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=FRAME_ID)
        self._truth_publisher.publish(
            String(data=Truth(scene, header.stamp, header.frame_id).to_json())
        )
        self._scene, self._depth = scene, None
        self._info = calibration(*self._size, header)
        rgb = render(scene, *self._size)
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        self._raw = raw_image(rgb if self._encoding == 'rgb8' else bgr, self._encoding, header)
        self._jpeg = jpeg_image(bgr, self._encoding, header) if self._jpeg_publisher else None

    def _publish(self) -> None:
        stamp = self.get_clock().now().to_msg()
        self._info.header.stamp = stamp
        self._info_publisher.publish(self._info)
        self._raw.header.stamp = stamp
        self._raw_publisher.publish(self._raw)
        if self._jpeg_publisher and self._jpeg:
            self._jpeg.header.stamp = stamp
            self._jpeg_publisher.publish(self._jpeg)
        self._depth_timer.reset()

    def _publish_depth(self) -> None:
        self._depth_timer.cancel()
        if self._depth_publisher.get_subscription_count():
            self._depth = self._depth or _depth(self._scene, self._size, self._info.header)
            self._depth.header.stamp = self._info.header.stamp
            self._depth_publisher.publish(self._depth)


def calibration(width: int, height: int, header: Header) -> CameraInfo:
    """Make that of a pinhole camera which sees 58 degrees across."""
    focal, x, y = _FOCAL * width, width / 2 - 0.5, height / 2 - 0.5
    return CameraInfo(
        header=header, width=width, height=height, distortion_model='plumb_bob', d=[0.0] * 5,
        k=[focal, 0.0, x, 0.0, focal, y, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, x, 0.0, 0.0, focal, y, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def _depth(scene: Scene, size: tuple[int, int], header: Header) -> Image:
    rows = np.rint(depth_map(scene, *size) * 1000).astype('<u2')
    return Image(
        header=header, height=size[1], width=size[0], encoding='16UC1', step=2 * size[0],
        data=array.array('B', rows.tobytes()),  # bytes are copied number by number
    )


def main() -> int:
    """Publish until SIGINT or SIGTERM."""
    return run_node(SceneCamera, 'scene_camera')


if __name__ == '__main__':
    sys.exit(main())
