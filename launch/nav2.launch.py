# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Start the vlm node under a lifecycle manager of Nav2.

The manager is for this node only: Nav2's other nodes do not wait while a model is loaded, and are
not reset when the vlm node is lost. Both are in the same namespace, because the manager looks for
the node and its heartbeat there.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare
from vlm_npu_ros.launching.actions import declared, given, node, vlm_node
from vlm_npu_ros.launching.arguments import NODE

# Parameters of the manager.
MANAGER = {
    # Seconds without a heartbeat after which the manager resets the node. The node sends one every
    # 0.1 s from a thread of its own, also while its model works. The bond may take half of this to
    # form when the node is activated (measured: 0.1 s).
    'bond_timeout': 4.0,
    # Wait for a lost node to be restarted (argument respawn), then bring it up again.
    'attempt_respawn_reconnection': True,
    # Seconds to wait for that: the node comes back after 2 s.
    'bond_respawn_max_duration': 10.0,
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        *declared(NODE, autostart='true', respawn='true'), OpaqueFunction(function=_start)
    ])


def _start(context: LaunchContext) -> list[Node]:
    values = given(context, NODE)
    parameters = {**MANAGER, 'node_names': [values['name']], 'autostart': values['autostart']}
    if 'use_sim_time' in values:
        parameters['use_sim_time'] = values['use_sim_time']
    share = FindPackageShare('vlm_npu_ros')
    defaults = [PathJoinSubstitution([share, 'config', 'nav2.yaml'])]
    return [
        # First: where Nav2 is missing, nothing must have been started.
        node(
            values, 'lifecycle_manager', 'lifecycle_manager_vlm', [parameters],
            package='nav2_lifecycle_manager',
        ),
        # The manager starts the node: autostart is its own.
        vlm_node(
            context, values, () if 'params_file' in values else defaults, autostart=False
        ),
    ]
