"""Start the vlm node with a camera that looks at synthetic scenes."""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

# Argument and camera parameter: its type, default and description.
PARAMETERS = {
    'width': (int, '640', 'Width of the images in pixels'),
    'height': (int, '480', 'Height of the images in pixels'),
    'rate': (float, '10.0', 'Images per second'),
    'scene_period': (float, '5.0', 'Seconds between scenes; 0 = only on request'),
}


def generate_launch_description() -> LaunchDescription:
    vlm = PathJoinSubstitution([FindPackageShare('vlm_npu_ros'), 'launch', 'vlm.launch.py'])
    return LaunchDescription([
        *[
            DeclareLaunchArgument(name, default_value=default, description=about)
            for name, (_, default, about) in PARAMETERS.items()
        ],
        IncludeLaunchDescription(PythonLaunchDescriptionSource(vlm)),
        Node(
            package='vlm_npu_ros',
            executable='scene_camera',
            namespace=LaunchConfiguration('namespace'),
            parameters=[{
                name: ParameterValue(LaunchConfiguration(name), value_type=kind)
                for name, (kind, _, _) in PARAMETERS.items()
            }],
            output='screen',
            emulate_tty=True,
        ),
    ])
