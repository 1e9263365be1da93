"""The node's parameters and config/vlm.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rclpy.parameter import Parameter
from vlm_npu_ros.node.vlm_node import VlmNode
import yaml

CONFIG = Path(__file__).parents[2] / 'config' / 'vlm.yaml'
ROS_OWN = ('use_sim_time', 'start_type_description_service', 'qos_overrides')


def _flat(values: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f'{prefix}{name}.')
        else:
            flat[prefix + name] = value
    return flat


def test_config_file_shows_every_parameter_with_its_default(
    make_node: Callable[..., VlmNode],
) -> None:
    shown = _flat(yaml.safe_load(CONFIG.read_text())['/**']['ros__parameters'])
    node = make_node(backend='onnx')
    node.parameters.cameras()
    declared = {
        name: list(p.value) if p.type_ is Parameter.Type.STRING_ARRAY else p.value
        for name, p in node.get_parameters_by_prefix('').items()
        if not name.startswith(ROS_OWN)
    }
    assert shown == declared


def test_every_parameter_is_described(make_node: Callable[..., VlmNode]) -> None:
    node = make_node()
    node.parameters.cameras()
    for name in node.get_parameters_by_prefix(''):
        if not name.startswith(ROS_OWN):
            assert node.describe_parameter(name).description.endswith('.'), name


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('max_age', -1.0),
        ('max_age', float('nan')),
        ('timeout', float('inf')),
        ('encode_rate', 1e6),
        ('queue_size', -1),
        ('max_new_tokens', 0),
        ('max_new_tokens', 'many'),
        ('image_reliability', 'sometimes'),
        ('autostart', False),
    ],
)
def test_wrong_value_is_refused(
    make_node: Callable[..., VlmNode], name: str, value: object
) -> None:
    node = make_node()
    before = node.get_parameter(name).value
    (result,) = node.set_parameters([Parameter(name, value=value)])
    assert not result.successful
    assert result.reason
    assert node.get_parameter(name).value == before


def test_loading_parameters_are_locked_while_configured(
    active_node: Callable[..., VlmNode],
) -> None:
    node = active_node()
    results = node.set_parameters(
        [Parameter('backend', value='onnx'), Parameter('max_age', value=2.0)]
    )
    assert [r.successful for r in results] == [False, True]
    assert 'clean' in results[0].reason
    node.trigger_deactivate()
    node.trigger_cleanup()
    (result,) = node.set_parameters([Parameter('backend', value='onnx')])
    assert result.successful


def test_each_camera_has_a_topic_and_a_transport(make_node: Callable[..., VlmNode]) -> None:
    node = make_node(cameras=['front', 'rear'], rear__topic='/rear', rear__transport='compressed')
    front, rear = node.parameters.cameras()
    assert (front.topic, front.transport) == ('front/image_raw', 'raw')
    assert (rear.topic, rear.transport) == ('/rear', 'compressed')


def test_files_belong_to_the_first_backend_that_is_not_a_server(
    make_node: Callable[..., VlmNode]
) -> None:
    node = make_node(
        backends=['openai', 'onnx', 'scripted'], model='mine', encoder_path='see', context=512,
        cpu_threads=3, openai__retries=7, scripted__answers=['yes'],
    )
    openai, onnx, scripted = node.parameters.engines
    assert (onnx.backend, onnx.model, onnx.encoder_path, onnx.context) == (
        'onnx', 'mine', 'see', 512
    )
    for other in (openai, scripted):
        assert (other.model, other.encoder_path, other.context) == ('demo', '', 0)
    assert openai.options.retries == 7
    assert scripted.options.answers == ('yes',)
    assert {settings.threads for settings in (openai, onnx, scripted)} == {3}


def test_a_server_needs_no_process_of_its_own(make_node: Callable[..., VlmNode]) -> None:
    parameters = make_node(backends=['openai', 'onnx'], isolation='process').parameters
    assert [parameters.isolated(name) for name in parameters.backends] == [False, True]
    parameters = make_node(backend='rknpu').parameters
    assert [parameters.isolated(name) for name in ('rknpu', 'openai', 'onnx')] == [
        True, False, False
    ]
    parameters = make_node(backend='openai', isolation='process').parameters
    with pytest.raises(ValueError, match='isolation must be auto or none'):
        parameters.isolated('openai')
