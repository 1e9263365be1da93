# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Parameters of every wrong kind: set while the node runs, at configure and at its start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from asked_node import asked_node
from builtin_interfaces.msg import Duration
from fuzz.fuzzing import examples, Outcomes
from hypothesis import given
from hypothesis import strategies as st
import pytest
from rcl_interfaces.srv import SetParameters
import rclpy
from rclpy.parameter import Parameter
from robot import wait_for
from vlm_npu_ros.engine.errors import VlmError
from vlm_npu_ros.node.vlm_node import VlmNode

SOON = Duration(nanosec=200_000_000)

FLOATS = st.floats() | st.floats(0, 10) | st.sampled_from([
    float('nan'), float('inf'), float('-inf'), 5e-324, 1e-300, 1e-9, 0.1, -0.0, 1e308, -1e308,
])
INTEGERS = (
    st.integers(-2**63, 2**63 - 1) | st.integers(-1, 300) | st.sampled_from([-2**63, 2**63 - 1])
)
TEXTS = st.text(max_size=9) | st.sampled_from([
    '', ' ', '\0', '..', '/', '/dev/zero', '/tmp', '.yaml', 'a b', '~', '{node}', 'a' * 1_000_000,
    'nul\0byte', '\u202e', 'onnx', 'rknpu', 'scripted', 'none', 'auto', 'demo', 'qwen3-vl-2b',
    'compressed', 'reliable', 'reject', '1.2.3',
])
KINDS = {
    float: FLOATS,
    int: INTEGERS,
    str: TEXTS,
    bool: st.booleans(),
    list: st.lists(TEXTS, min_size=1, max_size=3),
}
ANY_VALUE = st.one_of(
    *KINDS.values(), st.none(), st.lists(FLOATS, max_size=3), st.lists(INTEGERS, max_size=3),
    st.lists(st.booleans(), max_size=3), st.lists(st.binary(min_size=1, max_size=1), max_size=3),
)


@contextmanager
def resting_node(**parameters: object) -> Iterator[VlmNode]:
    """Give a node that was started with these parameters (__ is a dot), in no executor."""
    context = rclpy.Context()
    rclpy.init(context=context)
    values = {'backend': 'scripted', **parameters}
    overrides = [Parameter(name.replace('__', '.'), value=v) for name, v in values.items()]
    try:
        node = VlmNode(context=context, parameter_overrides=overrides)
        yield node
        node.release()
        node.destroy_node()
    finally:
        context.try_shutdown()


def defaults(node: VlmNode) -> dict[str, Any]:
    names = node.list_parameters([], 0).names
    own = [n for n in names if not n.startswith(('use_sim', 'start_type', 'qos_'))]
    return {name: node.get_parameter(name).value for name in own}


@st.composite
def changes(draw: st.DrawFn, values: dict[str, Any]) -> Parameter:
    name = draw(st.sampled_from([*values, 'nothing']))
    right = KINDS.get(type(values.get(name)), ANY_VALUE)
    return Parameter(name, value=draw(draw(st.sampled_from([right] * 5 + [ANY_VALUE]))))


def test_running_node_takes_a_parameter_and_works_or_refuses_it(outcomes: Outcomes) -> None:
    counts = outcomes['parameters of the running node']
    with asked_node() as (node, robot):
        robot.publish()
        assert robot.ask(question='what?').success
        before = defaults(node)
        service = robot.node.create_client(SetParameters, '/vlm/set_parameters')
        assert service.wait_for_service(30)

        live = {
            name: value for name, value in before.items()
            if 'at configure' not in node.describe_parameter(name).description
        }

        @examples(100, 2000)
        @given(change=changes({'backend': 'scripted', 'autostart': True, **live}))
        def change_it(change: Parameter) -> None:
            request = SetParameters.Request(parameters=[change.to_parameter_msg()])
            (result,) = wait_for(service.call_async(request)).results
            if not result.successful:
                assert result.reason
                counts['refused'] += 1
                return
            robot.publish()
            response = robot.ask(question='what?', timeout=SOON, num_frames=2)
            assert response.success or response.error_code > VlmError.code, response.error_msg
            counts['accepted'] += 1
            # rclpy lets a parameter that does not exist be unset.
            if change.name in before:
                node.set_parameters([Parameter(change.name, value=before[change.name])])

        change_it()
        assert defaults(node) == before
        frame = robot.publish()
        assert robot.ask(question='what?', not_before=frame.header.stamp).success


def test_configure_takes_a_parameter_or_says_what_is_wrong_with_it(outcomes: Outcomes) -> None:
    counts = outcomes['parameters at configure']
    with resting_node() as node:
        node.parameters.cameras()
        before = defaults(node)

        @examples(40, 2000)
        @given(first=changes(before), second=changes(before))
        def configure(first: Parameter, second: Parameter) -> None:
            try:
                results = node.set_parameters([p for p in (first, second) if p.name in before])
                # What is logged as a fault of the package is neither of these.
                VlmNode.on_configure.__wrapped__(node)
            except (VlmError, ValueError) as error:
                str(error).encode()
                counts[f'{type(error).__name__} at configure'] += 1
            else:
                refused = not all(result.successful for result in results)
                counts['refused' if refused else 'configured'] += 1
            finally:
                node.release()
                node.set_parameters([Parameter(n, value=v) for n, v in before.items()])

        configure()
        VlmNode.on_configure.__wrapped__(node)


@pytest.mark.parametrize(('name', 'value'), [
    ('max_age', 5),
    ('max_age', float('nan')),
    ('timeout', float('inf')),
    ('encode_rate', 5e-324),
    ('temperature', 1e-300),
    ('queue_size', 1.0),
    ('queue_size', 2**63 - 1),
    ('cameras', 'camera'),
    ('backend', ['onnx']),
    ('image_reliability', 'sometimes'),
])
def test_node_does_not_start_with_a_wrong_value(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f'^{name} must be'):
        with resting_node(**{name: value}):
            pass


@pytest.mark.parametrize(('name', 'value'), [
    ('topic', 5), ('topic', ''), ('topic', 'a b'), ('topic', '/'), ('topic', 'a' * 999),
    ('transport', 1.5), ('transport', 'theora'),
])
def test_wrong_value_of_a_camera_fails_configure(name: str, value: object) -> None:
    with resting_node(**{f'camera__{name}': value}) as node:
        with pytest.raises(ValueError, match=f'camera.{name}'):
            VlmNode.on_configure.__wrapped__(node)
