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
from vlm_npu_ros.launching.actions import declared, gateway, given, vlm_node
from vlm_npu_ros.launching.arguments import NODE, WEB


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*declared((*NODE, *WEB)), OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Node]:
    values = given(context, (*NODE, *WEB))
    return [vlm_node(context, values), *gateway(values)]
