# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The node and its camera, both spinning, for clients elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
from typing import Any

import rclpy
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.parameter import Parameter
from robot import Robot, Spinner, wait_until
from vlm_npu_ros.node.vlm_node import VlmNode


def start(node: VlmNode) -> None:
    """Make the node active, with all backends that can be loaded."""
    node.autostart()
    members = node._engine.members if node._engine else ()
    wait_until(lambda: all(member.engine or member.breaker.failures for member in members))


@contextmanager
def asked_node(autostart: bool = True, **parameters: Any) -> Iterator[tuple[VlmNode, Robot]]:
    """
    Run the node with these parameters (__ is a dot) and a robot in a context of their own.

    Frames stay fresh, because a client may have to be discovered first, which takes seconds; and
    none is lost because its publisher was not discovered yet.
    """
    context = rclpy.Context()
    rclpy.init(context=context)
    robot = Robot(context)
    robot_spinner = Spinner(robot.node, SingleThreadedExecutor(context=context))
    values = {
        'backend': 'scripted', 'max_age': 600.0, 'image_reliability': 'reliable', **parameters,
    }
    overrides = [Parameter(name.replace('__', '.'), value=v) for name, v in values.items()]
    node = VlmNode(context=context, parameter_overrides=overrides)
    spinner = Spinner(node, MultiThreadedExecutor(4, context=context))
    try:
        if autostart:
            start(node)
        yield node, robot
    finally:
        with ExitStack() as ending:  # all of it, whatever of it fails
            ending.callback(context.try_shutdown)
            ending.callback(robot_spinner.close)
            ending.callback(spinner.close)
            node.release()
