# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Clocks for tests: a steady one without ROS, and a simulated one that a test shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import itertools
import math
import threading
import time

import rclpy
from rclpy.clock import ROSClock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.time import Time
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.frames import NANOSECONDS

_NUMBERS = itertools.count()


class SteadyClock(StampClock):
    """A clock that is never set back, without a node."""

    def __init__(self) -> None:
        self.run, self.began, self.ended = 0, 0, 0
        self.since = time.monotonic()

    def now(self) -> int:
        return time.monotonic_ns()

    def wait(
        self, condition: threading.Condition, until: float, seconds: float = math.inf
    ) -> None:
        seconds = min(seconds, (until - self.now()) / NANOSECONDS)
        condition.wait(min(max(seconds, 0.0), threading.TIMEOUT_MAX))


class Simulation:
    """Simulated time that a test shows, in seconds; no /clock has come before the first time."""

    def __init__(self, context: rclpy.Context) -> None:
        self.node = Node(
            f'simulation_{next(_NUMBERS)}', context=context, start_parameter_services=False,
            enable_rosout=False, parameter_overrides=[Parameter('use_sim_time', value=True)],
        )
        self.clock = StampClock(self.node)

    def show(self, seconds: float) -> None:
        """Show this time, as a message on /clock does."""
        clock = self.node.get_clock()
        assert isinstance(clock, ROSClock)
        clock.set_ros_time_override(
            Time(nanoseconds=round(seconds * NANOSECONDS), clock_type=ClockType.ROS_TIME)
        )

    def close(self) -> None:
        self.clock.close()
        self.node.destroy_node()


@contextmanager
def simulation(context: rclpy.Context) -> Iterator[Simulation]:
    """Give simulated time."""
    simulation = Simulation(context)
    try:
        yield simulation
    finally:
        simulation.close()
