# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The node's parameters and config/vlm.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rclpy.parameter import Parameter
from simulated.board import board_tree
from vlm_npu_ros.engine.pulled import FOLDER_VARIABLE, Pulled, PulledFile
from vlm_npu_ros.node.vlm_node import VlmNode
import yaml

MakeNode = Callable[..., VlmNode]

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


def test_config_file_shows_every_parameter_with_its_default(make_node: MakeNode) -> None:
    shown = _flat(yaml.safe_load(CONFIG.read_text())['/**']['ros__parameters'])
    node = make_node(backend='auto')
    node.parameters.cameras()
    declared = {
        name: [t for t in p.value if t] if p.type_ is Parameter.Type.STRING_ARRAY else p.value
        for name, p in node.get_parameters_by_prefix('').items()
        if not name.startswith(ROS_OWN)
    }
    assert shown == declared


def test_every_parameter_is_described(make_node: MakeNode) -> None:
    node = make_node()
    node.parameters.cameras()
    for name in node.get_parameters_by_prefix(''):
        if not name.startswith(ROS_OWN):
            assert node.describe_parameter(name).description.endswith('.'), name


def test_wrong_value_is_refused_with_what_to_write(make_node: MakeNode) -> None:
    node = make_node(cameras=['front'], standing_questions=['door'])
    node.parameters.cameras()
    node.parameters.standing()
    for name, value, reason in (
        ('max_age', -1.0, '-1.0'),
        ('max_age', float('nan'), 'nan'),
        ('timeout', float('inf'), 'inf'),
        ('timeout', 9, 'timeout must be a number with a point, not 9: write 9.0'),
        ('encode_rate', 1e6, '1000000.0'),
        ('temperature', 1e-6, 'temperature must be 0 or at least 0.001, not 1e-06'),
        ('queue_size', -1, '-1'),
        ('queue_size', 3.0, 'write 3'),
        ('max_new_tokens', 'many', "must be a whole number, not 'many'"),
        ('image_reliability', 'sometimes', 'must be auto, best_effort or reliable'),
        ('autostart', False, 'read once, at start'),
        ('autostart', 'on', 'write true'),
        ('backend', 'abacus', 'must be onnx, rknpu, llamacpp, openai'),
        ('backends', ['onnx', 'abacus'], "not 'abacus'"),
        ('backends', ['onnx', 'onnx'], 'once'),
        ('backends', 'onnx,rknpu', "write ['onnx', 'rknpu']"),
        ('model', 'abacus', "no model profile 'abacus'"),
        ('cameras', ['a b'], 'letters'),
        ('cameras', ['front', 'front'], 'different'),
        ('cameras', ['backend'], 'different'),
        ('front.topic', 'a b', 'topic name must not'),
        ('front.topic', 12, "'12'"),
        ('front.transport', 'theora', 'must be raw or compressed'),
        ('standing.door.answer_type', 'maybe', 'must be yes_no, choice, number, text, locate or '
         'json'),
        ('standing.door.choices', [True, False], "write ['yes', 'no']"),
        ('standing.door.expected', False, "put it in quotes, such as 'no'"),
        ('standing.door.expected', None, 'must be text'),
    ):
        before, described = node.get_parameter(name).value, node.describe_parameter(name).type
        (result,) = node.set_parameters([Parameter(name, value=value)])
        assert not result.successful, (name, value)
        assert reason in result.reason and '\n' not in result.reason
        assert node.get_parameter(name).value == before
        assert node.describe_parameter(name).type == described


def test_loading_parameters_are_locked_while_configured(active_node: MakeNode) -> None:
    node = active_node(standing_questions=['door'], standing__door__question='is it open?')
    changes = [
        Parameter('backend', value='onnx'),
        Parameter('camera.topic', value='/elsewhere'),
        Parameter('camera.transport', value='compressed'),
        Parameter('standing.door.period', value=2.0),
    ]
    for result in node.set_parameters(changes):
        assert not result.successful and 'clean' in result.reason
    (result,) = node.set_parameters([Parameter('max_age', value=2.0)])
    assert result.successful
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert all(result.successful for result in node.set_parameters(changes))


def test_a_dump_can_be_loaded_into_the_node_it_is_of(active_node: MakeNode) -> None:
    node = active_node(cameras=['front', 'rear'])
    dump = [p for n, p in node.get_parameters_by_prefix('').items() if not n.startswith(ROS_OWN)]
    assert len(dump) > 40
    for result in node.set_parameters(dump):
        assert result.successful, result.reason


def test_an_empty_list_means_none(active_node: MakeNode, make_node: MakeNode) -> None:
    # As rcl gives it from a file, without a type; and as clients send it, with any.
    nothing = dict.fromkeys(('backends', 'standing_questions'))
    node = active_node(backend='scripted', **nothing)
    assert node.state == 'active' and node.parameters.backends == ('scripted',)
    for kind in (Parameter.Type.BOOL_ARRAY, Parameter.Type.DOUBLE_ARRAY):
        (result,) = node.set_parameters([Parameter('backends', kind, [])])
        assert result.successful, result.reason
        assert node.parameters.backends == ('scripted',)
    with pytest.raises(ValueError, match='cameras must name at least one camera'):
        make_node(cameras=None).parameters.cameras()


def test_names_without_effect_are_told_at_start(
    make_node: MakeNode, capfd: pytest.CaptureFixture[str]
) -> None:
    make_node(
        cameras=['left'], left__topik='/x', right__topic='/y', watchdig=2.0, colour='red',
        standing__door__question='open?', openai__base_ulr='http://x', left__topic='/z',
        qos_overrides__x='y', use_sim_time=False,
    )
    told = capfd.readouterr().err
    assert told.splitlines()[0].partition('Parameters without effect: ')[2].split('; ') == [
        'left.topik (did you mean left.topic?)',
        'right.topic (cameras does not name right)',
        'watchdig (did you mean watchdog?)',
        'colour (there is no such parameter)',
        'standing.door.question (standing_questions does not name door)',
        'openai.base_ulr (did you mean openai.base_url?)',
    ]
    make_node(left__topic='/x', cameras=['left'])
    assert 'without effect' not in capfd.readouterr().err


def test_names_that_others_overrule_are_told_at_start(
    make_node: MakeNode, capfd: pytest.CaptureFixture[str]
) -> None:
    for told, given in (
        ('backend (backends is onnx, openai)',
         {'backend': 'rknpu', 'backends': ['onnx', 'openai'], 'model': '/my.yaml'}),
        ('model (the server has its own models)', {'backend': 'openai', 'model': '/my.yaml'}),
        ('encoder_path (the server has its own models)',
         {'backend': 'auto', 'backends': ['openai'], 'encoder_path': '/e.onnx'}),
        ('', {'backend': 'openai', 'model': 'demo', 'encoder_path': '', 'backends': ['']}),
    ):
        make_node(**given)
        said = capfd.readouterr().err.partition('Parameters without effect: ')[2]
        assert said.rstrip() == told


def test_backend_is_what_the_model_or_its_files_are_for(
    make_node: MakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv('VLM_NPU_SYSROOT', str(board_tree(tmp_path / 'board')))
    file = PulledFile('file', 0, '')
    pulled = Pulled('hf:a/b', 'rknpu', 'rk3588', 'auto', 'a/b', 'main', '', file, file)
    pulled.folder.mkdir(parents=True)
    pulled.write(pulled.folder)
    for given, backend in (
        ({}, 'onnx'), ({'model': 'qwen3-vl-2b'}, 'rknpu'), ({'model': 'auto'}, 'rknpu'),
        ({'encoder_path': '/a.rknn'}, 'rknpu'), ({'model': 'hf:a/b'}, 'rknpu'),
        ({'language_model_path': '/a.onnx'}, 'onnx'),
    ):
        assert make_node(backend='auto', **given).parameters.backends == (backend,), given
    node = make_node(backend='auto')
    for model in ('hf:c/d', 'gemma-3-4b'):
        (result,) = node.set_parameters([Parameter('model', value=model)])
        assert f'`vlm-npu pull {model}`' in result.reason


def test_allowed_texts_are_described(make_node: MakeNode) -> None:
    node = make_node()
    node.parameters.cameras()
    for name, allowed in (
        ('busy', 'queue, reject or interrupt'),
        ('openai.typed', 'logprobs'),
        ('camera.transport', 'raw or compressed'),
        ('backends', 'onnx, rknpu'),
        ('temperature', '0 or at least 0.001'),
    ):
        assert allowed in node.describe_parameter(name).additional_constraints


def test_each_camera_has_a_topic_and_a_transport(make_node: MakeNode) -> None:
    node = make_node(cameras=['front', 'rear'], rear__topic='/rear', rear__transport='compressed')
    front, rear = node.parameters.cameras()
    assert (front.topic, front.transport) == ('front/image_raw', 'raw')
    assert (rear.topic, rear.transport) == ('/rear', 'compressed')


def test_settings_of_a_camera_and_its_topic(make_node: Callable[..., VlmNode]) -> None:
    override = 'qos_overrides./rear.subscription.'
    node = make_node(
        cameras=['front', 'rear'], image_reliability='reliable', front__range='auto',
        rear__topic='/rear', rear__rotate=270, rear__range=[100, 4000],
        **{f'{override}reliability': 'best_effort', f'{override}durability': 'transient_local'},
    )
    front, rear = node.parameters.cameras()
    assert (front.rotate, front.range) == (0, 'auto')
    assert (front.qos.reliability, front.qos.durability, front.qos.depth) == (
        'reliable', 'auto', 1)
    assert (rear.rotate, list(rear.range)) == (270, [100, 4000])
    assert (rear.qos.reliability, rear.qos.durability) == ('best_effort', 'transient_local')


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('camera.rotate', 45), ('camera.range', 'wide'), ('camera.range', [4000.0, 100.0]),
        ('camera.range', [1.0, 2.0, 3.0]),
        ('qos_overrides./camera/image_raw.subscription.history', 'keep_some'),
    ],
)
def test_settings_that_a_camera_cannot_have(
    make_node: Callable[..., VlmNode], name: str, value: object
) -> None:
    node = make_node(**{name: value})
    with pytest.raises(ValueError, match=name):
        node.parameters.cameras()


def test_files_belong_to_the_first_backend_that_is_not_a_server(
    make_node: MakeNode
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


def test_a_server_needs_no_process_of_its_own(make_node: MakeNode) -> None:
    parameters = make_node(backends=['openai', 'onnx'], isolation='process').parameters
    assert [parameters.isolated(name) for name in parameters.backends] == [False, True]
    parameters = make_node(backend='rknpu').parameters
    assert [parameters.isolated(name) for name in ('rknpu', 'openai', 'onnx')] == [
        True, False, False
    ]
    parameters = make_node(backend='openai', isolation='process').parameters
    with pytest.raises(ValueError, match='isolation must be auto or none'):
        parameters.isolated('openai')
