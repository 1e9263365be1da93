# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A bare rclpy subscriber that only counts what a camera sends."""

from __future__ import annotations

from contextlib import suppress
import sys

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import UInt64

_TYPES = {'raw': Image, 'compressed': CompressedImage}


class Counter(Node):
    """
    Counts; ~/count tells the number once a second.

    Parameters: topic; transport, raw or compressed; serialised, to count messages that are not
    deserialised.
    """

    def __init__(self) -> None:
        super().__init__('counter')
        self._count = 0
        topic, transport, serialised = (
            self.declare_parameter(name, default).value
            for name, default in (('topic', ''), ('transport', 'raw'), ('serialised', False))
        )
        self.create_subscription(
            _TYPES[transport], topic, self._take, QoSProfile(depth=1), raw=serialised
        )
        self._publisher = self.create_publisher(UInt64, '~/count', 10)
        self.create_timer(1.0, lambda: self._publisher.publish(UInt64(data=self._count)))

    def _take(self, _: Image | CompressedImage | bytes) -> None:
        self._count += 1


def main() -> int:
    """Run until SIGINT."""
    rclpy.init()
    executor = SingleThreadedExecutor()
    executor.add_node(Counter())
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        executor.spin()
    return 0


if __name__ == '__main__':
    sys.exit(main())
