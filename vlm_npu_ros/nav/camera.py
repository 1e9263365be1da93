# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A mission's own view of the camera: small pictures of what it asks about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import threading

from builtin_interfaces.msg import Time
import cv2
import numpy as np
from rclpy.context import Context
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from vlm_npu_ros.client.messages import to_seconds
from vlm_npu_ros.engine.conversions import to_rgb
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.images import resize
from vlm_npu_ros.nav.background_node import BackgroundNode

_TYPES = {'raw': Image, 'compressed': CompressedImage}
_DEPTH = 10  # messages that may wait while one is made small
_QUALITY = 85  # of the JPEG


class MissionCamera(BackgroundNode):
    """
    Keeps small pictures of a camera's frames while a mission looks, and tells the time.

        with MissionCamera('camera/image_raw') as camera, camera.looking():
            answer = vlm.ask('what do you see?', not_before=camera.now())
            jpeg = camera.picture_of(answer.stamp, answer.frame_id)

    topic: of the images; '' = no pictures. transport: raw or compressed.
    reliability: best_effort or reliable. width: of the pictures, in pixels. most: how many of them
    are kept, of about 40 KiB each. name: of its node.

    size: width and height of the newest frame itself.
    """

    def __init__(
        self,
        topic: str = 'camera/image_raw',
        transport: str = 'raw',
        reliability: str = 'best_effort',
        width: int = 640,
        context: Context | None = None,
        most: int = 1000,
        name: str = 'mission_camera',
    ) -> None:
        self._width, self._most = width, most
        self._type = _TYPES[transport]
        self._comes = self._looks = False
        self.size = 0, 0
        self._pictures: dict[tuple[float, str], bytes] = {}
        self._changed = threading.Condition()
        self._has_topic = bool(topic)
        super().__init__(name, context)
        if topic:
            qos = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy[reliability.upper()])
            # Raw: messages are deserialised only while the mission looks.
            self._node.create_subscription(self._type, topic, self._on_message, qos, raw=True)

    def wait_for_frame(self, patience: float) -> bool:
        """Wait up to patience seconds; return whether frames come (True without a topic)."""
        with self._changed:
            return self._changed.wait_for(lambda: self._comes or not self._has_topic, patience)

    def now(self) -> Time:
        """Return the ROS time, the clock of the camera's stamps."""
        return self._node.get_clock().now().to_msg()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Keep pictures inside this context; earlier ones are dropped."""
        with self._changed:
            self._pictures.clear()
        self._looks = True
        try:
            yield
        finally:
            self._looks = False

    def picture_of(self, stamp: float, frame_id: str, patience: float = 1.0) -> bytes | None:
        """Return the frame of exactly this stamp as JPEG; waits up to patience seconds for it."""
        if not self._has_topic:
            return None
        key = stamp, frame_id

        def decided() -> bool:
            return key in self._pictures or any(
                other > stamp and name == frame_id for other, name in self._pictures
            )

        with self._changed:
            self._changed.wait_for(decided, patience)
            return self._pictures.get(key)

    def next_picture(self, after: float, patience: float) -> tuple[float, str, bytes] | None:
        """
        Return stamp, frame id and JPEG of the newest frame, if its stamp is not `after`.

        Waits up to patience seconds for one; None = none came.
        """
        def newest() -> tuple[float, str] | None:
            return next(reversed(self._pictures), None)

        with self._changed:
            self._changed.wait_for(lambda: (newest() or (after, ''))[0] != after, patience)
            found = newest()
            return (*found, self._pictures[found]) if found and found[0] != after else None

    def _on_message(self, data: bytes) -> None:
        looks = self._looks  # first: who waits for this frame may then look for the next one
        if not self._comes:
            with self._changed:
                self._comes = True
                self._changed.notify_all()
        if not looks:
            return
        message = deserialize_message(data, self._type)
        try:
            rgb = to_rgb(message)
            picture = _small(rgb, self._width)
        except ImageError as error:
            self._node.get_logger().warning(f'No picture: {error}', throttle_duration_sec=5.0)
            return
        with self._changed:
            self.size = rgb.shape[1], rgb.shape[0]
            self._pictures[to_seconds(message.header.stamp), message.header.frame_id] = picture
            if len(self._pictures) > self._most:
                del self._pictures[next(iter(self._pictures))]
            self._changed.notify_all()


def _small(rgb: np.ndarray, width: int) -> bytes:
    """Encode the picture as JPEG, scaled down to this width."""
    if rgb.shape[1] > width:
        size = width, max(1, round(rgb.shape[0] * width / rgb.shape[1]))
        rgb = resize(rgb, size, cv2.INTER_AREA)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
