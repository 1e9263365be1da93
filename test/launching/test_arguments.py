# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Arguments of the launch files: which values they take, and which parameters they set."""

from __future__ import annotations

from pathlib import Path

import pytest
from rcl_interfaces.msg import ParameterDescriptor
import rclpy
from rclpy.node import Node
from vlm_npu_ros.demo.scene_camera import SceneCamera
from vlm_npu_ros.launching.arguments import Argument, CAMERA, FLEET, NODE, read
from vlm_npu_ros.node.vlm_node import VlmNode

FILE = Path(__file__)
SPEED = Argument('speed', 'How fast', kind=float, low=0.5, high=2.0)
COUNT = Argument('count', 'How many', '3', int, low=1)
LIGHT = Argument('light', 'With light', kind=bool)
COLOURS = Argument('colours', 'Some colours', kind=list, choices=('red', 'blue'))
SIDE = Argument('side', 'Which side', 'left', choices=('left', 'right'))
TABLE = Argument('table', 'A file', kind=Path)


def test_values() -> None:
    for argument, text, value in (
        (SPEED, '2', 2.0), (SPEED, '', None), (SPEED, '5e-1', 0.5),
        (COUNT, '12', 12),
        (LIGHT, 'true', True), (LIGHT, 'False', False), (LIGHT, '', None),
        (COLOURS, 'blue, red', ['blue', 'red']), (COLOURS, '[red]', ['red']),
        (SIDE, 'right', 'right'),
        (TABLE, str(FILE), FILE),
    ):
        assert argument.read(text) == value
    assert read((SPEED, COUNT), {'speed': '', 'count': '1', 'more': 'x'}) == {'count': 1}
    assert read((SPEED, COUNT), {'speed': '', 'count': ''}) == {'count': 3}


def test_what_is_wrong_names_the_argument_and_what_to_write() -> None:
    for argument, text, words in (
        (SPEED, 'fast', 'write a number of at least 0.5 and at most 2'),
        (SPEED, '2.1', 'at most 2'), (SPEED, 'nan', 'at most 2'),
        (COUNT, '1.5', 'write a whole number of at least 1'), (COUNT, '0', 'at least 1'),
        (COLOURS, 'red,green', 'green is not one of red, blue'),
        (TABLE, '/nowhere/table', 'there is no such file'),
    ):
        with pytest.raises(ValueError) as caught:
            argument.read(text)
        assert f'{argument.name}:={text}: ' in str(caught.value) and words in str(caught.value)


def test_choices_are_told_to_launch() -> None:
    assert LIGHT.texts == ('', 'true', 'false', 'True', 'False')
    assert SIDE.texts == ('left', 'right')
    assert SPEED.texts == COLOURS.texts == ()
    assert SIDE.description == 'Which side (side:=left|right)'
    assert SPEED.description == 'How fast (speed:=NUMBER; empty: as without it)'


def check(argument: Argument, node: Node, name: str) -> None:
    """Fail unless the argument is like the parameter that it sets."""
    described: ParameterDescriptor = node.describe_parameter(name)
    value = node.get_parameter(name).value
    assert type(value) is argument.kind, name
    for limits in (*described.floating_point_range, *described.integer_range):
        assert (limits.from_value, limits.to_value) == (argument.low, argument.high), name
    assert argument.default in ('', str(value)), name


def test_parameters_exist_and_have_the_same_limits(context: rclpy.Context) -> None:
    node = VlmNode(context=context)
    node.parameters.cameras()
    for argument in (*NODE, *FLEET):
        if argument.parameter:
            check(argument, node, argument.parameter)
    node.destroy_node()
    camera = SceneCamera(context=context)
    for argument in CAMERA:
        check(argument, camera, argument.name)
    camera.destroy_node()
