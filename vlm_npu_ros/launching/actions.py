# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What the launch files declare and start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from vlm_npu_ros.client.names import full_name
from vlm_npu_ros.launching.arguments import Argument, NODE, read

_PACKAGE = 'vlm_npu_ros'
_RESPAWN_DELAY = 2.0  # seconds


def declared(
    arguments: Iterable[Argument], **defaults: str
) -> list[DeclareLaunchArgument]:
    """Declare arguments; defaults: those that differ from their own."""
    return [
        DeclareLaunchArgument(
            argument.name,
            default_value=defaults.get(argument.name, argument.default),
            description=argument.description,
            choices=list(argument.texts) or None,
        )
        for argument in arguments
    ]


def given(context: LaunchContext, arguments: Iterable[Argument]) -> dict[str, Any]:
    """
    Read the arguments that are not empty; raise ValueError for a wrong one.

    Read all of them before anything is started: launch does not end what it has started when a
    later action fails.
    """
    values = read(arguments, context.launch_configurations)
    if 'name' in values:
        name, namespace = values['name'], values.get('namespace', '')
        full_name(name, namespace)
        if '/' in name:
            raise ValueError(f'name:={name}: write its namespace as namespace:=')
    return values


def vlm_node(
    context: LaunchContext,
    values: Mapping[str, Any],
    defaults: Iterable[Any] = (),
    arguments: Iterable[Argument] = NODE,
    **parameters: Any,
) -> Node:
    """
    Make the action that starts a vlm node.

    values: of the arguments. defaults: parameters, or files of them, that SetParameter and all
    below override. parameters: that override everything.
    """
    defaults = list(defaults)
    files = [str(values['params_file'])] if 'params_file' in values else []
    arguments_given = {
        argument.parameter: values[argument.name]
        for argument in arguments if argument.parameter and argument.name in values
    }
    return node(
        values, 'vlm_node', values.get('name', 'vlm'),
        # What SetParameter sets comes before all of these, so it has to come again.
        [*defaults, *(_set_before(context) if defaults else ()), *files,
         typed({**arguments_given, **parameters})],
        respawn=values.get('respawn', False),
    )


def gateway(values: Mapping[str, Any]) -> list[Node]:
    """Make the action that serves the node over HTTP, if it is wanted."""
    name = full_name(values.get('name', 'vlm'), values.get('namespace', ''))
    arguments = [
        '--node', name, '--host', values['web_host'], '--port', str(values['web_port'])]
    if 'web_token_file' in values:
        arguments += ['--token-file', str(values['web_token_file'])]
    return [Node(
        package=_PACKAGE, executable='gateway', arguments=arguments, output='screen',
        respawn=values.get('respawn', False), respawn_delay=_RESPAWN_DELAY,
    )] if values['web'] else []


def node(
    values: Mapping[str, Any],
    executable: str,
    name: str,
    parameters: Iterable[Any],
    package: str = _PACKAGE,
    **options: Any,
) -> Node:
    """Make the action that starts a node with the arguments that all nodes have."""
    return Node(
        package=package,
        executable=executable,
        name=name,
        namespace=values.get('namespace', ''),
        parameters=list(parameters),
        ros_arguments=['--log-level', values['log_level']],
        respawn_delay=_RESPAWN_DELAY,
        output='screen',
        emulate_tty=True,
        **options,
    )


def typed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Keep texts that look like numbers or truth values from becoming them."""
    return {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in parameters.items()
    }


def _set_before(context: LaunchContext) -> list[Any]:
    """List what the actions SetParameter and SetParametersFromFile have set."""
    return [
        typed(dict([each])) if isinstance(each, tuple) else each
        for each in context.launch_configurations.get('global_params', [])
    ]
