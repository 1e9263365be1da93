# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Subscriptions to depth pictures and calibration of a camera."""

from __future__ import annotations

from collections import deque
import re
from typing import Any

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vlm_npu_ros.node.io_node import IoNode
from vlm_npu_ros.node.located import Surroundings
from vlm_npu_ros.node.parameters import CameraSettings

_KEPT = 30  # depth pictures, until the frame of their time is encoded
_APART = 100_000_000  # nanoseconds at most between a frame and its depth picture
_RECTIFIED = re.compile(r'(?<![a-z])rect(ified)?(?![a-z])')  # image_rect_color, rect/image


class SpaceFeed:
    """
    The newest depth pictures and the calibration of one camera, if its settings name topics.

    node: resolves the topics. io: subscribes.
    """

    def __init__(self, node: Node, io: IoNode, settings: CameraSettings) -> None:
        self._io = io
        self._topics = {
            kind: (node.resolve_topic_name(topic), received)
            for kind, topic, received in (
                (Image, settings.depth, self._take_depth),
                (CameraInfo, settings.camera_info, self._take_info),
            ) if topic
        }
        self._rectified = bool(_RECTIFIED.search(node.resolve_topic_name(settings.topic)))
        self._depths: deque[tuple[int, bytes]] = deque(maxlen=_KEPT)
        self._info = b''
        self._subscriptions: list[Any] = []

    def start(self) -> None:
        """Subscribe."""
        self._subscriptions = [
            self._io.create_subscription(
                kind, topic, received, qos_profile_sensor_data, raw=True
            )
            for kind, (topic, received) in self._topics.items()
        ]

    def stop(self) -> None:
        """Unsubscribe and forget."""
        self._io.run(self._end)
        self._depths.clear()
        self._info = b''

    def _end(self) -> None:
        for subscription in self._subscriptions:
            self._io.destroy_subscription(subscription)
        self._subscriptions = []

    def at(self, stamp: int, size: tuple[int, int]) -> Surroundings:
        """Return what is known at the stamp of a frame, nanoseconds, of this width and height."""
        depths = tuple(self._depths)
        nearest = min(depths, key=lambda told: abs(told[0] - stamp), default=(0, b''))
        is_near = abs(nearest[0] - stamp) <= _APART
        depth = nearest[1] if is_near else b''
        return Surroundings(size, depth, self._info, self._rectified)

    def _take_depth(self, message: bytes) -> None:
        stamp = deserialize_message(message, Header).stamp  # it begins with a header
        self._depths.append((int(stamp.sec) * 10**9 + stamp.nanosec, message))

    def _take_info(self, message: bytes) -> None:
        self._info = message
