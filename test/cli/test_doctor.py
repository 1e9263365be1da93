# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path
import platform
import re
import shutil

import pytest
import simulated
from simulated.board import board_tree, write
from vlm_npu_ros.cli.main import main

TEST = Path(simulated.__path__[0]).parent
FILES = [
    '--model', str(TEST / 'simulated/demo_rknpu.yaml'),
    '--encoder', '/models/demo.rknn', '--language-model', '/models/demo.rkllm',
]


def prepare(folder: Path, **facts: object) -> list[str]:
    """Prepare a board with the demo model; return the arguments to look at it."""
    board_tree(folder, **facts)  # type: ignore[arg-type]
    (folder / 'models').mkdir()
    shutil.copy(TEST / 'data/demo_encoder.rknn', folder / 'models/demo.rknn')
    write(folder / 'models/demo.rkllm', b'SIMRKLLM'.ljust(5_000_000, b'\1'))
    return ['doctor', '--sysroot', str(folder), *FILES]


def test_healthy_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(prepare(tmp_path)) == 0
    table, report = capsys.readouterr().out.split('\n\n')
    assert all(line.startswith('ok ') for line in table.splitlines())
    assert re.search('NPU driver +0.9.8', table)
    title, fence, machine, *facts, end = report.splitlines()
    assert (title, fence, end) == ('For a bug report:', '```', '```')
    assert platform.python_version() in machine and platform.machine() in machine
    assert 'ok   NPU driver: 0.9.8 (kernel 6.1.84-vendor)' in facts
    assert len(facts) == len(table.splitlines())


def test_report_does_not_tell_who_uses_the_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    assert main(prepare(tmp_path)) == 0
    report = capsys.readouterr().out.split('For a bug report')[1]
    assert str(tmp_path) not in report and '~/models/demo.rknn' in report


@pytest.mark.parametrize('facts, name, remedy', [
    ({'driver': '0.8.2'}, 'NPU driver', 'Install a kernel with RKNPU driver 0.9.8'),
    ({'runtime': '1.4.0'}, 'librkllmrt.so', 'rknpu.runtime_version'),
    ({'free_gb': 0.001}, 'memory', 'Take a smaller model'),
])
def test_board_that_is_not_ready(
    facts: dict[str, object], name: str, remedy: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = prepare(tmp_path, **facts)
    assert main(arguments) == 1
    table = capsys.readouterr().out
    assert f'fail  {name}' in table
    assert remedy in ' '.join(table.split())
    assert main([*arguments, '--json']) == 1
    checks = json.loads(capsys.readouterr().out)
    (failed,) = (check for check in checks if check['level'] == 'fail')
    assert failed['name'] == name
    assert remedy in failed['remedy']


def test_machine_that_is_no_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['doctor', '--sysroot', str(tmp_path)]) == 1
    assert 'no Rockchip board' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='2'):
        main(['doctor', '--sysroot', str(tmp_path / 'typo')])
    assert 'typo is not a folder' in capsys.readouterr().err


def test_named_library_is_below_the_tree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = prepare(tmp_path)
    (tmp_path / 'opt').mkdir()
    (tmp_path / 'usr/lib/librkllmrt.so').rename(tmp_path / 'opt/librkllmrt.so')
    assert main(arguments) == 1
    assert main([*arguments, '--library', '/opt/librkllmrt.so']) == 0
    capsys.readouterr()
