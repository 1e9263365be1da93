# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Arguments that have no effect."""

from __future__ import annotations

from pathlib import Path

from vlm_npu_ros.node.arguments import without_effect


def test_files_for_other_nodes_are_told(tmp_path: Path) -> None:
    file = tmp_path / 'robot.yaml'
    arguments = ['vlm_node', '--ros-args', '-r', '__ns:=/left', '--params-file', str(file)]
    for names, is_for_us in (
        ('/**', True), ('/left/vlm', True), ('/*/vlm', True), ('/**/vlm', True),
        ('left/vlm', True),
        ('vlm', False), ('/vlm', False), ('vlm_node', False), ('/*', False), ('/right/vlm', False),
    ):
        file.write_text(f'{names}:\n  ros__parameters:\n    max_age: 1.0\n')
        told = list(without_effect(arguments, '/left/vlm'))
        assert bool(told) is not is_for_us, names
    assert told == [f'{file} has parameters of /right/vlm, none of /left/vlm']


def test_namespaces_may_be_blocks(tmp_path: Path) -> None:
    file = tmp_path / 'robot.yaml'
    block = 'ros__parameters: {max_age: 1.0}'
    file.write_text(f'left:\n  vlm:\n    {block}\n  eye:\n    {block}\n')
    arguments = ['vlm_node', '--ros-args', '--params-file', str(file)]
    assert not list(without_effect(arguments, '/left/vlm'))
    (told,) = without_effect(arguments, '/vlm')
    assert told.endswith('has parameters of /left/vlm, /left/eye, none of /vlm')


def test_files_that_cannot_be_read_are_left_to_rcl(tmp_path: Path) -> None:
    for number, content in enumerate((b'/other:\n  x: 2024-13-01\n', b'a: [', b'\xff\xfe\x80')):
        file = tmp_path / f'{number}.yaml'
        file.write_bytes(content)
        assert not list(without_effect(['vlm_node', '--params-file', str(file)], '/vlm'))[1:]
    for path in (tmp_path, tmp_path / 'none.yaml'):
        assert len(list(without_effect(['vlm_node', '--params-file', str(path)], '/vlm'))) == 1


def test_arguments_outside_of_those_of_ros_are_told() -> None:
    (told,) = without_effect(['vlm_node', 'max_age:=2.0', '--ros-args', '-p', 'a:=1'], '/vlm')
    assert told.startswith('max_age:=2.0 has no effect: ') and '--ros-args -p' in told
    assert not list(without_effect(['vlm_node', '--ros-args', '-p', 'a:=1', '--'], '/vlm'))
