# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Start the nodes of several robots that share one server.

The namespaces are robot1 ... robotN, each with a node vlm and its own camera. In a real fleet each
robot starts its own node: robots:=1 first:=7.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch_ros.actions import Node
from vlm_npu_ros.launching.actions import declared, given, vlm_node
from vlm_npu_ros.launching.arguments import FLEET

DEFAULTS = {'backends': ['openai'], 'openai.base_url': 'http://127.0.0.1:8000/v1'}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*declared(FLEET), OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Node]:
    values = given(context, FLEET)
    first = values['first']
    return [
        vlm_node(context, {**values, 'namespace': f'robot{number}'}, [DEFAULTS], FLEET)
        for number in range(first, first + values['robots'])
    ]
