# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Whether the robot's battery has enough for what need not be."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import BatteryState


class Battery:
    """
    Listens to a battery.

    topic: of sensor_msgs/BatteryState; '' = there is none. bound: gives the least charge, 0 to 1,
    that is enough.
    """

    def __init__(self, node: Node, topic: str, bound: Callable[[], float]) -> None:
        self._node, self._bound = node, bound
        self._charge = 1.0
        self._subscription = topic and node.create_subscription(
            BatteryState, topic, self._take, qos_profile_sensor_data
        )

    @property
    def shortage(self) -> str:
        """Say that its charge is too low; '' = it is enough, or not known."""
        bound = self._bound()
        if self._charge >= bound:
            return ''
        return f'the battery is at {self._charge:.0%}, below battery_threshold, {bound:.0%}'

    def _take(self, message: BatteryState) -> None:
        if message.percentage >= 0:  # NaN = not measured
            self._charge = message.percentage

    def close(self) -> None:
        """Stop listening."""
        if self._subscription:
            self._node.destroy_subscription(self._subscription)
