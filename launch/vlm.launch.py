"""
Start the vlm node.

The node activates itself (parameter autostart), so it is active again after a restart (argument
respawn).
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from vlm_npu_ros.engine.registry import names

# Argument: node parameter, its type, description. An empty argument leaves it to params_file.
PARAMETERS = {
    'backend': ('backend', str, f'What runs the models: {", ".join(names())}'),
    'model': ('model', str, 'Name of a model profile, path of a profile .yaml, or auto (rknpu)'),
    'encoder_path': ('encoder_path', str, 'Vision encoder file; rknpu: .rknn'),
    'language_model_path': ('language_model_path', str, 'Language model file; rknpu: .rkllm'),
    'image_topic': ('camera.topic', str, 'Image topic of the camera named "camera"'),
    'transport': ('camera.transport', str, 'Transport of its images: raw or compressed'),
    'encode_rate': ('encode_rate', float, 'Most encodings per second and camera'),
    'max_age': ('max_age', float, 'Age in seconds of the oldest frame to answer from'),
    'autostart': ('autostart', bool, 'Configure and activate at startup'),
    'use_sim_time': ('use_sim_time', bool, 'Take the time from the topic /clock'),
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        DeclareLaunchArgument('name', default_value='vlm', description='Name of the node'),
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node'),
        DeclareLaunchArgument(
            'params_file', default_value='', description='Parameters of the node (empty: defaults)'
        ),
        *[
            DeclareLaunchArgument(
                name, default_value='', description=f'{about} (empty: as in params_file)'
            )
            for name, (_, _, about) in PARAMETERS.items()
        ],
        DeclareLaunchArgument(
            'log_level', default_value='info', description='debug, info, warn, error or fatal'
        ),
        DeclareLaunchArgument(
            'respawn', default_value='false', description='Restart the node if it dies'
        ),
        OpaqueFunction(function=_start),
    ])


def _start(context: LaunchContext) -> list[Node]:
    params_file = LaunchConfiguration('params_file').perform(context)
    if params_file and not Path(params_file).is_file():  # launch_ros would only warn
        raise FileNotFoundError(f'There is no params_file {params_file}')
    return [Node(
        package='vlm_npu_ros',
        executable='vlm_node',
        name=LaunchConfiguration('name'),
        namespace=LaunchConfiguration('namespace'),
        parameters=[*filter(None, [params_file]), _given(context)],
        ros_arguments=['--log-level', LaunchConfiguration('log_level')],
        respawn=LaunchConfiguration('respawn'),
        respawn_delay=2.0,
        output='screen',
        emulate_tty=True,
    )]


def _given(context: LaunchContext) -> dict[str, ParameterValue]:
    """Keep the parameters whose arguments are not empty."""
    return {
        parameter: ParameterValue(LaunchConfiguration(argument), value_type=kind)
        for argument, (parameter, kind, _) in PARAMETERS.items()
        if LaunchConfiguration(argument).perform(context)
    }
