# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""ros2 vlm: what ros2cli finds, and what it does where ros2cli is installed."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
import subprocess

from ament_index_python import get_package_prefix
from asked_node import asked_node
import pytest

COMMAND = 'vlm_npu_ros.ros2cli.vlm:VlmCommand'


def test_entry_point_is_installed() -> None:
    assert entry_points(group='ros2cli.command')['vlm'].value == COMMAND


def test_vlm_npu_is_a_program_of_the_workspace() -> None:
    prefix = Path(get_package_prefix('vlm_npu_ros'))
    for place in 'lib/vlm_npu_ros', 'bin':
        told = subprocess.run(
            [prefix / place / 'vlm-npu', '--help'], capture_output=True, text=True, check=True
        )
        assert 'doctor' in told.stdout and not told.stderr


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    cli = pytest.importorskip('ros2cli.cli', reason='ros2cli is not installed')
    assert cli.main(argv=['vlm']) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ('ask', 'status', 'doctor', 'inspect', 'chat'))
    assert cli.main(argv=['vlm', 'models']) == 0
    assert 'demo' in capsys.readouterr().out
    assert cli.main(argv=['vlm', 'inspect', '/nowhere.rknn']) == 1
    assert '/nowhere.rknn' in capsys.readouterr().err
    assert cli.main(argv=['vlm', 'status', '--wait', '0.2']) == 3
    assert capsys.readouterr().out == '/vlm: not there\n'
    for command in ['status'], ['ask', 'what?']:
        assert cli.main(argv=['vlm', *command, '--node', 'a b']) == 2
        said = capsys.readouterr().err
        assert said.startswith(f'ros2 vlm {command[0]}: ') and said.count('\n') == 1
    with asked_node(scripted__answers=['a red ball']) as (_, robot):
        robot.publish()
        assert cli.main(argv=['vlm', 'status', '--node', '/vlm']) == 0
        assert capsys.readouterr().out == '/vlm: active\n'
        assert cli.main(argv=['vlm', 'ask', 'what?', '--quiet']) == 0
        assert capsys.readouterr().out == 'a red ball\n'
        assert cli.main(argv=['vlm', 'ask', ' ']) == 5
