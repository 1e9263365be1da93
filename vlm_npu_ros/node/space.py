# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Subscriptions to depth pictures and calibration of a camera."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
import re
import threading

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from vlm_npu_ros.node.camera_topic import CameraTopic
from vlm_npu_ros.node.frames import nanoseconds
from vlm_npu_ros.node.io_node import IoNode
from vlm_npu_ros.node.located import Surroundings
from vlm_npu_ros.node.parameter_specs import CameraSettings

_QUEUE = 5  # depth pictures that wait until they are received
_KEPT = 10  # depth pictures that may belong to a frame which is still to come
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
        with self._lock:
            around = Surroundings(size, b'', self._info, self._rectified)
            frame = _Frame(
                stamp, around, bool(self._depth_topic), bool(self._info_topic and not self._info))
            for depth in self._depths:
                frame.match(*depth)
            self._frames.append(frame)
        return around

    def _take_depth(self, message: bytes) -> None:
        stamp = deserialize_message(message, Header).stamp  # it begins with a header
        depth = nanoseconds(stamp), message
        with self._lock:
            self._depths.append(depth)
            for frame in self._frames:
                frame.match(*depth)

    def _take_info(self, message: bytes) -> None:
        with self._lock:
            self._info = message
            for frame in self._frames:
                frame.calibrate(message)


class _Frame:
    """A frame that depth pictures may belong to, and what it still lacks."""

    def __init__(
        self, stamp: int, around: Surroundings, lacks_depth: bool, lacks_info: bool
    ) -> None:
        self._stamp, self._around = stamp, around
        self._lacks_depth, self._lacks_info = lacks_depth, lacks_info
        self._apart = _APART + 1  # nanoseconds from the nearest depth picture
        self._complete = around.complete = threading.Event()
        self._settle()

    def match(self, stamp: int, depth: bytes) -> None:
        """Take a depth picture if it is the nearest one; after a later one none is."""
        if abs(stamp - self._stamp) < self._apart:
            self._apart, self._around.depth = abs(stamp - self._stamp), depth
        if stamp >= self._stamp:
            self._lacks_depth = False
        self._settle()

    def calibrate(self, info: bytes) -> None:
        """Take the calibration if there is none yet."""
        self._around.info = self._around.info or info
        self._lacks_info = False
        self._settle()

    def _settle(self) -> None:
        if not self._lacks_depth and not self._lacks_info:
            self._complete.set()
