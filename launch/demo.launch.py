# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Start the vlm node with a camera that looks at synthetic scenes."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch_ros.actions import Node
from vlm_npu_ros.launching.actions import declared, gateway, given, node, typed, vlm_node
from vlm_npu_ros.launching.arguments import CAMERA, NODE, WEB

# What the camera publishes, by transport.
TOPICS = {'raw': 'camera/image_raw', 'compressed': 'camera/image_raw/compressed'}
SPACE = {'camera.depth': 'camera/depth', 'camera.camera_info': 'camera/camera_info'}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*declared((*NODE, *CAMERA, *WEB)), OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Node]:
    values = given(context, (*NODE, *CAMERA, *WEB))
    transport = values.get('transport', 'raw')
    topic = TOPICS[transport]
    parameters = {argument.name: values[argument.name] for argument in CAMERA}
    if 'use_sim_time' in values:
        parameters['use_sim_time'] = values['use_sim_time']
    if transport == 'compressed':
        parameters['compressed'] = True
        values.setdefault('image_topic', topic)
    remappings = [(topic, values['image_topic'])] if 'image_topic' in values else []
    return [
        vlm_node(context, values, defaults=[SPACE]),
        node(
            values, 'scene_camera', 'scene_camera', [typed(parameters)], remappings=remappings
        ),
        *gateway(values),
    ]
