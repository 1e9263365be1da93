# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A node that publishes what a webcam sees, without drivers of ROS."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import numpy as np
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vlm_npu_ros.client.start import run_node
from vlm_npu_ros.engine.camera_device import CameraDevice
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.options import Option
from vlm_npu_ros.node.camera_messages import jpeg_image, raw_image

_ENCODING = 'bgr8'
_PAUSE = 2.0  # seconds before a camera that was lost is tried again


class Webcam(Node):
    """
    Publishes pictures of a camera, at most `rate` a second.

    camera/image_raw, camera/image_raw/compressed (if `compressed`): the pictures, stamped when
    they come. A camera that is lost is opened again when it is back; a video begins again at its
    end. Raises ImageError if the camera cannot be opened at the start.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__('webcam', **node_options)
        device = self._parameter(
            'device', '0', 'Number or path of a device, a video file, or address of a stream.')
        size = tuple(
            self._parameter(
                name, default, f'{name.capitalize()} to ask a device for; 0 = its own.',
                integer_range=[IntegerRange(from_value=0, to_value=8192)])
            for name, default in (('width', 640), ('height', 480))
        )
        rate = self._parameter(
            'rate', 10.0, 'Most images per second.',
            floating_point_range=[FloatingPointRange(from_value=0.01, to_value=1000.0)])
        self._period = 1 / rate
        self._frame_id = self._parameter(
            'frame_id', 'camera_optical_frame', 'Frame of the images.')
        compressed = self._parameter('compressed', False, 'Publish JPEG images as well.')
        self._device, self._size = device, (size[0], size[1])
        self._camera = CameraDevice(device, self._size)
        qos = QoSProfile(depth=5)
        self._raw = self.create_publisher(Image, 'camera/image_raw', qos)
        self._jpeg = (
            self.create_publisher(CompressedImage, 'camera/image_raw/compressed', qos)
            if compressed else None
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._film, name='webcam', daemon=True)
        self._thread.start()

    def _parameter(self, name: str, default: Any, about: str, **limits: Any) -> Any:
        # Dynamic: a number on the command line is a device, too, and 10 a rate.
        descriptor = ParameterDescriptor(
            description=about, read_only=True, dynamic_typing=True, **limits)
        value = self.declare_parameter(name, default, descriptor).value
        if type(value) is int and isinstance(default, (str, float)):
            value = type(default)(value)
        low, high = next(
            ((limit.from_value, limit.to_value) for (limit,) in limits.values()), (None, None))
        if reason := Option(default, about, low, high).objection(value):
            raise ValueError(f'{name} {reason}')
        return value

    def _film(self) -> None:
        """Read all pictures, so that none is old, and publish some; then let the camera go."""
        due, came = time.monotonic(), False
        while not self._stop.is_set():
            try:
                bgr = self._camera.read()
            except ImageError as error:
                self._open_again(error, came)
                came = False
                continue
            came = True
            early = 0 if self._camera.is_device else due - time.monotonic()
            if self._stop.wait(max(early, 0)):
                break
            if (now := time.monotonic()) >= due:
                due = max(due + self._period, now)
                self._publish(bgr)
        self._camera.close()

    def _open_again(self, error: ImageError, came: bool) -> None:
        """Open what was lost, when it is back; a video of which pictures came at once."""
        if self._camera.is_device or not came:
            self.get_logger().error(str(error))
        self._stop.wait(0 if came else _PAUSE)
        told = False
        while not self._stop.is_set():
            self._camera.close()
            try:
                self._camera = CameraDevice(self._device, self._size)
                return
            except ImageError as missing:
                if not told:
                    self.get_logger().error(str(missing))
                told = True
                self._stop.wait(_PAUSE)

    def _publish(self, bgr: np.ndarray) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._frame_id)
        self._raw.publish(raw_image(bgr, _ENCODING, header))
        if self._jpeg:
            self._jpeg.publish(jpeg_image(bgr, _ENCODING, header))

    def destroy_node(self) -> None:
        """End; the camera is let go as soon as it gives a picture, or the wait for one ends."""
        self._stop.set()
        self._thread.join(_PAUSE)
        super().destroy_node()


def main() -> int:
    """Publish until SIGINT or SIGTERM."""
    return run_node(Webcam, 'webcam')


if __name__ == '__main__':
    sys.exit(main())
