# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The launch files: what they start, with which parameters, and that all of it can exist."""

from __future__ import annotations

import ast
from collections.abc import Mapping
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.parameter import Parameter
from vlm_npu_ros.launching.arguments import CAMERA, FLEET, NODE, WEB
from vlm_npu_ros.node.vlm_node import VlmNode
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / 'launch'
ARGUMENTS = {
    'vlm': (*NODE, *WEB), 'demo': (*NODE, *CAMERA, *WEB), 'nav2': NODE, 'fleet': FLEET,
}


def flat(values: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    names: dict[str, Any] = {}
    for key, value in values.items():
        nested = flat(value, f'{prefix}{key}.') if isinstance(value, Mapping) else None
        names.update(nested or {f'{prefix}{key}': value})
    return names


class Started:
    """A node that a launch file would start; parameters: as the last one given says."""

    def __init__(self, action: Any, context: Any) -> None:
        action._perform_substitutions(context)
        words = [
            ''.join(part.perform(context) for part in word if hasattr(part, 'text'))
            for word in action.cmd
        ]
        self.name, self.package = action.node_name, action._Node__package
        self.remappings = dict(action.expanded_remapping_rules or ())
        self.log_level = words[words.index('--log-level') + 1] if '--log-level' in words else None
        self.respawn = action._ExecuteLocal__respawn
        self.parameters: dict[str, Any] = {}
        for option, value in zip(words, words[1:], strict=False):
            if option == '-p':
                name, text = value.split(':=', 1)
                self.parameters[name] = yaml.safe_load(text)
            if option == '--params-file':
                for given in yaml.full_load(Path(value).read_text()).values():  # with tuples
                    self.parameters.update({
                        name: list(value) if isinstance(value, tuple) else value
                        for name, value in flat(given['ros__parameters']).items()
                    })


def launched(file: str, *before: Any, **arguments: str) -> list[Started]:
    """Evaluate a launch file as `ros2 launch` does, without starting the nodes."""
    pytest.importorskip('launch_ros')
    from launch import LaunchContext
    from launch.actions import OpaqueFunction

    spec = importlib.util.spec_from_file_location('launched', LAUNCH / f'{file}.launch.py')
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    context = LaunchContext()
    context.launch_configurations.update(arguments)
    for action in before:
        action.execute(context)
    actions: list[Any] = []
    for entity in module.generate_launch_description().entities:
        made = entity.execute(context)
        assert made is None or isinstance(entity, OpaqueFunction)
        actions += made or ()
    return [Started(action, context) for action in actions]


def test_it_compiles_and_all_are_tested() -> None:
    assert {path.name for path in LAUNCH.glob('*.*')} == {f'{f}.launch.py' for f in ARGUMENTS}
    for file in ARGUMENTS:
        tree = ast.parse((LAUNCH / f'{file}.launch.py').read_text(), file)
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        assert 'generate_launch_description' in functions


def test_arguments_are_declared_with_their_choices() -> None:
    pytest.importorskip('launch_ros')
    for file, arguments in ARGUMENTS.items():
        spec = importlib.util.spec_from_file_location('launched', LAUNCH / f'{file}.launch.py')
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        declared = {a.name: a for a in module.generate_launch_description().get_launch_arguments()}
        assert declared.keys() == {argument.name for argument in arguments}
        for argument in arguments:
            assert tuple(declared[argument.name].choices or ()) == argument.texts
            assert f'{argument.name}:=' in declared[argument.name].description


def test_without_arguments_the_node_keeps_what_it_has() -> None:
    node, = launched('vlm')
    assert (node.name, node.parameters, node.log_level) == ('/vlm', {}, 'info')
    node, = launched(
        'vlm', image_topic='front/image', encode_rate='3', autostart='false', model='2',
        backends='openai,onnx', respawn='True', namespace='left', name='eye', log_level='debug',
    )
    assert node.parameters == {
        'camera.topic': 'front/image', 'encode_rate': 3.0, 'autostart': False, 'model': '2',
        'backends': ['openai', 'onnx'],
    }
    assert (node.name, node.respawn, node.log_level) == ('/left/eye', True, 'debug')


def test_what_set_parameter_sets_stays(tmp_path: Path) -> None:
    pytest.importorskip('launch_ros')
    from launch_ros.actions import SetParameter, SetParametersFromFile

    mine, theirs = tmp_path / 'mine.yaml', tmp_path / 'theirs.yaml'
    mine.write_text('/**: {ros__parameters: {queue_size: 3, timeout: 7.0}}')
    theirs.write_text('/**: {ros__parameters: {timeout: 9.0, top_k: 2}}')
    before = [
        SetParameter('max_age', 1.25), SetParameter('openai.base_url', 'http://server:1/v1'),
        SetParameter('use_sim_time', True), SetParametersFromFile(str(theirs)),
    ]
    for file in ARGUMENTS:
        *_, vlm = [n for n in launched(file, *before) if n.name.endswith('/vlm')]
        wanted = {
            'max_age': 1.25, 'openai.base_url': 'http://server:1/v1', 'use_sim_time': True,
            'timeout': 9.0, 'top_k': 2,
        }
        assert vlm.parameters.items() >= wanted.items(), file
        *_, vlm = [
            n for n in launched(file, *before, params_file=str(mine)) if n.name.endswith('/vlm')
        ]
        assert vlm.parameters.items() >= {**wanted, 'timeout': 7.0, 'queue_size': 3}.items(), file
    *_, vlm = launched('vlm', *before, max_age='2', params_file=str(mine))
    assert vlm.parameters['max_age'] == 2.0


def test_all_that_is_started_gets_what_is_for_all() -> None:
    for file, arguments in ARGUMENTS.items():
        nodes = launched(file, use_sim_time='true', log_level='error')
        assert {(n.parameters['use_sim_time'], n.log_level) for n in nodes} == {(True, 'error')}
        if any(argument.name == 'namespace' for argument in arguments):
            nodes = launched(file, namespace='left')
            assert all(node.name.startswith('/left/') for node in nodes)


def test_camera_of_the_demo_publishes_what_the_node_reads() -> None:
    for arguments, published, read in (
        ({}, {}, None),
        ({'image_topic': '/front'}, {'camera/image_raw': '/front'}, '/front'),
        ({'transport': 'compressed'},
         {'camera/image_raw/compressed': 'camera/image_raw/compressed'},
         'camera/image_raw/compressed'),
        ({'transport': 'compressed', 'image_topic': 'eye/jpeg'},
         {'camera/image_raw/compressed': 'eye/jpeg'}, 'eye/jpeg'),
    ):
        vlm, camera = launched('demo', rate='5', **arguments)
        assert camera.name == '/scene_camera' and camera.parameters['rate'] == 5.0
        assert camera.remappings == published
        assert vlm.parameters.get('camera.topic') == read
        assert vlm.parameters['camera.depth'] == 'camera/depth'
        assert vlm.parameters['camera.camera_info'] == 'camera/camera_info'
        assert camera.parameters.get('compressed', False) is ('transport' in arguments)


def test_wrong_arguments_start_nothing() -> None:
    for file, wrong in (
        ('vlm', {'encode_rate': 'fast'}), ('vlm', {'params_file': '/nowhere.yaml'}),
        ('vlm', {'name': 'a/b'}), ('vlm', {'namespace': 'a b'}), ('vlm', {'backends': 'abacus'}),
        ('demo', {'rate': 'fast'}), ('demo', {'rate': '0'}), ('demo', {'max_age': '-1'}),
        ('nav2', {'encode_rate': 'fast'}), ('fleet', {'robots': 'two'}),
        ('fleet', {'robots': '0'}),
    ):
        name, = wrong
        with pytest.raises(ValueError, match=f'{name}:=|cannot be the name'):
            launched(file, **wrong)
    for wrong in ({'backend': 'abacus'}, {'autostart': 'maybe'}, {'log_level': 'loud'},
                  {'respawn': 'perhaps'}, {'transport': 'radio'}):
        for file in 'vlm', 'demo', 'nav2':
            with pytest.raises(RuntimeError, match=f'"{next(iter(wrong))}"'):
                launched(file, **wrong)


def test_nav2_gets_the_node_and_a_manager_of_its_own() -> None:
    manager, vlm = launched('nav2', name='eye', namespace='robot1')
    assert manager.package == 'nav2_lifecycle_manager'  # the first: it may be missing
    assert manager.name == '/robot1/lifecycle_manager_vlm'
    assert manager.parameters['node_names'] == ['eye'] and manager.parameters['autostart'] is True
    assert (vlm.name, vlm.parameters['autostart'], vlm.respawn) == ('/robot1/eye', False, True)
    config = yaml.safe_load((ROOT / 'config' / 'nav2.yaml').read_text())
    assert vlm.parameters.items() >= flat(config['/**']['ros__parameters']).items()
    manager, _ = launched('nav2', autostart='false')
    assert manager.parameters['autostart'] is False


def test_fleet_starts_a_node_for_each_robot() -> None:
    nodes = launched('fleet', robots='3', first='7', server_model='eyes')
    assert [node.name for node in nodes] == ['/robot7/vlm', '/robot8/vlm', '/robot9/vlm']
    assert nodes[0].parameters == {
        'backends': ['openai'], 'openai.base_url': 'http://127.0.0.1:8000/v1',
        'openai.model': 'eyes',
    }
    node, = launched('fleet', robots='1', server='http://server:1/v1', backends='openai,onnx')
    assert node.parameters['openai.base_url'] == 'http://server:1/v1'
    assert node.parameters['backends'] == ['openai', 'onnx']


def test_parameters_for_nav2_exist_and_are_accepted(context: rclpy.Context) -> None:
    config = yaml.safe_load((ROOT / 'config' / 'nav2.yaml').read_text())
    values = flat(config['/**']['ros__parameters'])
    node = VlmNode(
        context=context, parameter_overrides=[Parameter(n, value=v) for n, v in values.items()]
    )
    cameras, questions = node.parameters.cameras(), node.parameters.standing()
    assert {name: node.get_parameter(name).value for name in values} == values
    assert cameras and questions
    node.destroy_node()
