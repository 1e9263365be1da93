"""The launch files: what they name exists, and they can be generated where launch is installed."""

from __future__ import annotations

import ast
from collections.abc import Mapping
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import rclpy
from rclpy.parameter import Parameter
from vlm_npu_ros.demo.scene_camera import SceneCamera
from vlm_npu_ros.engine import registry
from vlm_npu_ros.node.vlm_node import VlmNode
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / 'launch'
FILES = ('vlm.launch.py', 'demo.launch.py', 'nav2.launch.py', 'fleet.launch.py')


def parameters_in(file: str) -> dict[str, tuple[Any, ...]]:
    """Evaluate PARAMETERS of a launch file, without importing what only ROS has."""
    tree = ast.parse((LAUNCH / file).read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'PARAMETERS':
            known = {'names': registry.names}
            table: dict[str, tuple[Any, ...]] = eval(ast.unparse(node.value), known)
            return table
    raise AssertionError(f'{file} has no PARAMETERS')


def flat(values: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    names: dict[str, Any] = {}
    for key, value in values.items():
        nested = flat(value, f'{prefix}{key}.') if isinstance(value, Mapping) else None
        names.update(nested or {f'{prefix}{key}': value})
    return names


def load(file: str) -> ModuleType:
    """Import a launch file as `ros2 launch` does; skip the test where launch is missing."""
    pytest.importorskip('launch_ros')
    spec = importlib.util.spec_from_file_location('launch_file', LAUNCH / file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('file', FILES)
def test_it_compiles(file: str) -> None:
    tree = ast.parse((LAUNCH / file).read_text(), file)
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert 'generate_launch_description' in functions


def test_all_are_tested() -> None:
    assert {path.name for path in LAUNCH.glob('*')} - {'__pycache__'} == set(FILES)


@pytest.mark.parametrize('argument', parameters_in('vlm.launch.py'))
def test_parameters_of_the_vlm_node_exist(argument: str) -> None:
    name, kind, description = parameters_in('vlm.launch.py')[argument]
    config = yaml.safe_load((ROOT / 'config' / 'vlm.yaml').read_text())
    values = {'use_sim_time': False, **flat(config['/**']['ros__parameters'])}
    assert type(values[name]) is kind
    assert description
    assert argument != 'backend' or all(known in description for known in registry.names())


def test_parameters_of_the_camera_exist(context: rclpy.Context) -> None:
    camera = SceneCamera(context=context)
    for name, (kind, default, description) in parameters_in('demo.launch.py').items():
        value = camera.get_parameter(name).value
        assert (type(value), str(value)) == (kind, default)
        assert description
    camera.destroy_node()


def test_arguments_of_the_vlm_launch_file() -> None:
    description = load('vlm.launch.py').generate_launch_description()
    names = {argument.name for argument in description.get_launch_arguments()}
    assert names == {
        'name', 'namespace', 'params_file', 'log_level', 'respawn',
        *parameters_in('vlm.launch.py'),
    }


def test_empty_arguments_leave_the_parameters_to_the_file() -> None:
    module = load('vlm.launch.py')
    from launch import LaunchContext

    context = LaunchContext()
    context.launch_configurations.update(dict.fromkeys(module.PARAMETERS, ''))
    assert module._given(context) == {}
    given = {'image_topic': 'front/image', 'encode_rate': '3', 'autostart': 'false'}
    context.launch_configurations.update(given)
    values = {name: value.evaluate(context) for name, value in module._given(context).items()}
    assert values == {'camera.topic': 'front/image', 'encode_rate': 3.0, 'autostart': False}


def test_a_missing_params_file_is_an_error() -> None:
    module = load('vlm.launch.py')
    from launch import LaunchContext

    context = LaunchContext()
    context.launch_configurations['params_file'] = '/nowhere.yaml'
    with pytest.raises(FileNotFoundError, match='/nowhere.yaml'):
        module._start(context)


def test_the_demo_starts_the_node_and_the_camera() -> None:
    description = load('demo.launch.py').generate_launch_description()
    kinds = [type(entity).__name__ for entity in description.entities]
    assert kinds.count('IncludeLaunchDescription') == kinds.count('Node') == 1


def test_nav2_gets_the_node_and_a_manager_of_its_own() -> None:
    module = load('nav2.launch.py')
    description = module.generate_launch_description()
    arguments = {argument.name for argument in description.get_launch_arguments()}
    assert arguments >= {'name', 'namespace', 'params_file', 'autostart', 'respawn'}
    *_, manager, vlm = (type(entity).__name__ for entity in description.entities)
    assert (manager, vlm) == ('OpaqueFunction', 'IncludeLaunchDescription')
    assert dict(description.entities[-1].launch_arguments) == {'autostart': 'false'}


def test_the_manager_looks_for_the_bare_name_in_its_namespace() -> None:
    module = load('nav2.launch.py')
    from launch import LaunchContext
    from launch_ros.utilities import evaluate_parameters

    context = LaunchContext()
    context.launch_configurations.update(
        name='eye', namespace='robot1', autostart='true', use_sim_time=''
    )
    (manager,) = module._manager(context)
    manager._perform_substitutions(context)
    assert manager.node_name == '/robot1/lifecycle_manager_vlm'
    (values,) = evaluate_parameters(context, manager._Node__parameters)
    assert dict(values) == {**module.MANAGER, 'node_names': ('eye',), 'autostart': True}


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
