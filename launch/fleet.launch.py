"""
Start the nodes of several robots that share one server.

The namespaces are robot1 ... robotN, each with a node vlm and its own camera. In a real fleet each
robot starts its own node: robots:=1 first:=7.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

ARGUMENTS = {
    'robots': ('2', 'Number of robots'),
    'first': ('1', 'Number of the first robot'),
    'url': ('http://127.0.0.1:8000/v1', 'Address of the server'),
    'model': ('', 'Name of its model; empty: the only one that it has'),
    'backends': ('openai', 'Backends in order of preference, such as openai,onnx'),
    'image_topic': ('camera/image_raw', 'Image topic, in the namespace of the robot'),
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        *[
            DeclareLaunchArgument(name, default_value=default, description=about)
            for name, (default, about) in ARGUMENTS.items()
        ],
        DeclareLaunchArgument(
            'params_file', default_value='', description='Parameters of all (empty: defaults)'
        ),
        OpaqueFunction(function=_start),
    ])


def _start(context: LaunchContext) -> list[Node]:
    params_file = LaunchConfiguration('params_file').perform(context)
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    first, count = int(given['first']), int(given['robots'])
    return [
        Node(
            package='vlm_npu_ros',
            executable='vlm_node',
            name='vlm',
            namespace=f'robot{number}',
            parameters=[*filter(None, [params_file]), _parameters(given)],
            output='screen',
            emulate_tty=True,
        )
        for number in range(first, first + count)
    ]


def _parameters(given: dict[str, str]) -> dict[str, object]:
    """Map the launch arguments to node parameters."""
    texts = {
        'openai.base_url': given['url'],
        'openai.model': given['model'],
        'camera.topic': given['image_topic'],
    }
    values = {name: ParameterValue(text, value_type=str) for name, text in texts.items()}
    return {'backends': given['backends'].split(','), **values}
