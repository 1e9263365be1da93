"""
Start the vlm node under a lifecycle manager of Nav2.

The manager is for this node only: Nav2's other nodes do not wait while a model is loaded, and are
not reset when the vlm node is lost. Both are in the same namespace, because the manager looks for
the node and its heartbeat there.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

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
    share = FindPackageShare('vlm_npu_ros')
    vlm = PathJoinSubstitution([share, 'launch', 'vlm.launch.py'])
    return LaunchDescription([
        DeclareLaunchArgument('name', default_value='vlm', description='Name of the node'),
        DeclareLaunchArgument(
            'namespace', default_value='', description='Namespace of node and manager'
        ),
        DeclareLaunchArgument(
            'params_file',
            default_value=PathJoinSubstitution([share, 'config', 'nav2.yaml']),
            description='Parameters of the node',
        ),
        DeclareLaunchArgument(
            'autostart', default_value='true', description='Let the manager start the node'
        ),
        DeclareLaunchArgument(
            'respawn', default_value='true', description='Restart the node if it dies'
        ),
        DeclareLaunchArgument(
            'use_sim_time', default_value='', description='Take the time from the topic /clock'
        ),
        OpaqueFunction(function=_manager),
        # Last, because the included file sets autostart, and its arguments stay set afterwards.
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(vlm), launch_arguments={'autostart': 'false'}.items()
        ),
    ])


def _manager(context: LaunchContext) -> list[Node]:
    given = [n for n in ('autostart', 'use_sim_time') if LaunchConfiguration(n).perform(context)]
    return [Node(
        package='nav2_lifecycle_manager',
        executable='lifecycle_manager',
        name='lifecycle_manager_vlm',
        namespace=LaunchConfiguration('namespace'),
        parameters=[{
            **MANAGER,
            'node_names': [LaunchConfiguration('name').perform(context)],
            **{n: ParameterValue(LaunchConfiguration(n), value_type=bool) for n in given},
        }],
        output='screen',
        emulate_tty=True,
    )]
