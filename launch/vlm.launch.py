# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Start the vlm node.

The node activates itself (parameter autostart), so it is active again after a restart (argument
respawn).
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch_ros.actions import Node
from vlm_npu_ros.launching.actions import declared, given, vlm_node
from vlm_npu_ros.launching.arguments import NODE


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*declared(NODE), OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Node]:
    return [vlm_node(context, given(context, NODE))]
