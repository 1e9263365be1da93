# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The unit of install-service runs the launch file that was asked for, as systemd reads it."""

from __future__ import annotations

import configparser
from pathlib import Path
import shlex
import subprocess

import pytest
from vlm_npu_ros.cli.main import main


def unit(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    assert main(['install-service', *arguments]) == 0
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(capsys.readouterr().out)
    assert set(parser) == {'DEFAULT', 'Unit', 'Service', 'Install'}
    return dict(parser['Service'])


def read_back(text: str) -> list[str]:
    """Split as systemd.service(5) does, specifiers and variables expanded."""
    return [word.replace('%%', '%').replace('$$', '$') for word in shlex.split(text)]


def test_arguments_arrive_whatever_is_in_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = tmp_path / "a robot's $HOME, 100% new"
    package = workspace / 'vlm_npu_ros'
    package.mkdir(parents=True)
    (workspace / 'setup.bash').write_text(f'export PATH={shlex.quote(str(tmp_path))}:$PATH\n')
    (tmp_path / 'ros2').write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / 'ros2').chmod(0o755)
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{package}:/opt/ros/none')
    given = ['model:=$(reboot) "x" %h \\n', 'encoder_path:=/a b/`c`.rknn', "name:=it's"]
    service = unit(capsys, *given, '--user', 'robot')
    assert service['User'] == 'robot'
    shell = read_back(service['ExecStart'])
    assert shell[:2] == ['/bin/bash', '-c']
    said = subprocess.run(shell, capture_output=True, text=True, check=True, timeout=30).stdout
    assert said.splitlines() == ['launch', 'vlm_npu_ros', 'vlm.launch.py', *given]


def test_environment_of_ros_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup = tmp_path / 'setup.bash'
    setup.touch()
    for name in 'ROS_AUTOMATIC_DISCOVERY_RANGE', 'RMW_IMPLEMENTATION':
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('ROS_DOMAIN_ID', '7')
    service = unit(capsys, '--setup', str(setup))
    assert read_back(service['Environment']) == ['ROS_DOMAIN_ID=7']
    assert str(setup) in service['ExecStart']


def test_mistakes_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    for arguments, told in (
        (['image_topic=/camera'], 'write NAME:=VALUE'),
        (['image_topik:=/camera'], 'image_topik is not one of name, namespace'),
        (['max_age:=old'], 'max_age:=old: write a number'),
        (['--setup', str(tmp_path / 'none.bash')], 'there is no such file'),
    ):
        with pytest.raises(SystemExit) as ended:
            main(['install-service', *arguments])
        assert ended.value.code == 2
        assert told in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'setup.bash').touch()  # here, but not sourced
    for prefixes in '/opt/ros/none', '':
        monkeypatch.setenv('AMENT_PREFIX_PATH', prefixes)
        assert main(['install-service']) == 1
        assert 'No ROS workspace is sourced. Name one: --setup FILE.' in capsys.readouterr().err


def test_user_without_a_name_has_to_name_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in 'LOGNAME', 'USER', 'LNAME', 'USERNAME':  # as in a container
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('pwd.getpwuid', {}.__getitem__)
    assert main(['models', '--pulled']) == 0, 'other commands need none'
    (tmp_path / 'setup.bash').touch()
    setup = ('--setup', str(tmp_path / 'setup.bash'))
    assert main(['install-service', *setup]) == 1
    assert 'Name one: --user NAME' in capsys.readouterr().err
    assert unit(capsys, *setup, '--user', 'robot')['User'] == 'robot'
