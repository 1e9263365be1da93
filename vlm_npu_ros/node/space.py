# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Subscriptions to depth pictures and calibration of a camera."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
import re
import threading

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from vlm_npu_ros.node.camera_topic import CameraTopic
from vlm_npu_ros.node.io_node import IoNode
from vlm_npu_ros.node.located import Surroundings
from vlm_npu_ros.node.parameters import CameraSettings

_QUEUE = 5  # depth pictures that wait until they are received
_KEPT = 30  # depth pictures, until the frame of their time is encoded
_LATE = 8  # frames that a depth picture may still be for
_APART = 100_000_000  # nanoseconds at most between a frame and its depth picture
_RECTIFIED = re.compile(r'(?<![a-z])rect(ified)?(?![a-z])')  # image_rect_color, rect/image


class SpaceFeed:
    """
    The newest depth pictures and the calibration of one camera, if its settings name topics.

    node: resolves the topics. io: subscribes.
    """

    def __init__(self, node: Node, io: IoNode, settings: CameraSettings) -> None:
        self._io = io
        self._depth_topic = CameraTopic(
            io, node.resolve_topic_name(settings.depth), 'raw',
            replace(settings.qos, depth=_QUEUE), self._take_depth,
        ) if settings.depth else None
        self._info_topic = settings.camera_info and node.resolve_topic_name(settings.camera_info)
        self._rectified = bool(_RECTIFIED.search(node.resolve_topic_name(settings.topic)))
        self._depths: deque[tuple[int, bytes]] = deque(maxlen=_KEPT)
        self._info = b''
        self._frames: deque[_Frame] = deque(maxlen=_LATE)
        self._lock = threading.Lock()
        self._infos: Subscription | None = None

    def start(self) -> None:
        """Subscribe."""
        if self._depth_topic:
            self._depth_topic.start()
        if self._info_topic:
            self._infos = self._io.create_subscription(
                CameraInfo, self._info_topic, self._take_info, qos_profile_sensor_data, raw=True)

    def stop(self) -> None:
        """Unsubscribe and forget."""
        if self._depth_topic:
            self._depth_topic.stop()
        self._io.run(self._end)
        self._depths.clear()
        self._frames.clear()
        self._info = b''

    def _end(self) -> None:
        if self._infos:
            self._io.destroy_subscription(self._infos)
        self._infos = None

    def at(self, stamp: int, size: tuple[int, int]) -> Surroundings:
        """
        Return what is known at the stamp of a frame, nanoseconds, of this width and height.

        What comes later is added to that: a large depth picture can take longer than the frame.
        """
        around = Surroundings(size, b'', self._info, self._rectified)
        with self._lock:
            frame = _Frame(stamp, around)
            for depth in self._depths:
                frame.match(*depth)
            if self._depths and self._depths[-1][0] < stamp:
                around.coming = threading.Event()  # a nearer one, or a later one at least
            self._frames.append(frame)
        return around

    def _take_depth(self, message: bytes) -> None:
        stamp = deserialize_message(message, Header).stamp  # it begins with a header
        depth = int(stamp.sec) * 10**9 + stamp.nanosec, message
        with self._lock:
            self._depths.append(depth)
            for frame in self._frames:
                frame.match(*depth)

    def _take_info(self, message: bytes) -> None:
        self._info = message
        with self._lock:
            for frame in self._frames:
                frame.around.info = frame.around.info or message


@dataclass
class _Frame:
    """A frame that depth pictures may belong to; apart: from the nearest one, nanoseconds."""

    stamp: int
    around: Surroundings
    apart: int = _APART + 1

    def match(self, stamp: int, depth: bytes) -> None:
        if abs(stamp - self.stamp) < self.apart:
            self.apart, self.around.depth = abs(stamp - self.stamp), depth
        if self.around.coming and stamp >= self.stamp:
            self.around.coming.set()
