# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Programs that cannot start say why, in a sentence."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

SCRIPTS = Path(__file__).parents[2] / 'scripts'


def start(script: str, *arguments: str, **environment: str | None) -> str:
    """Run a program that does not start; return the last line that it prints."""
    changed = {**os.environ, **environment}
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *arguments], capture_output=True, text=True,
        env={name: value for name, value in changed.items() if value is not None}, timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert 'Traceback' not in done.stderr
    # rcl logs some of it, too
    lines = [line for line in done.stderr.splitlines() if '[rcl]' not in line]
    return lines[-1]


def test_a_machine_on_which_ros_cannot_start(tmp_path: Path) -> None:
    file = tmp_path / 'file'
    file.write_text('')
    remedy = 'Set ROS_LOG_DIR to a folder that this user may write'
    nowhere = dict.fromkeys(('HOME', 'ROS_HOME', 'ROS_LOG_DIR'))
    for script, *arguments in (('vlm_node',), ('scene_camera',), ('ask', 'what?')):
        told = start(script, *arguments, **nowhere)
        assert 'ROS cannot write its log files: HOME is not set' in told and remedy in told
    told = start('vlm_node', ROS_LOG_DIR=str(file))
    assert f'{file}: File exists' in told and remedy in told
    told = start('vlm_node', **{**nowhere, 'HOME': str(file)})
    assert f'{file}/.ros/log: Not a directory' in told
    assert 'ROS_DOMAIN_ID is not an integral number' in start('vlm_node', ROS_DOMAIN_ID='abc')


def test_arguments_that_ros_does_not_understand(tmp_path: Path) -> None:
    file = tmp_path / 'robot.yaml'
    file.write_text('max_age: 3.0\n')
    for arguments, words in (
        (['--params-file', str(file)], f"{file}'. Error: Cannot have a value before"),
        (['--params-file', '/nowhere.yaml'], '/nowhere.yaml'),
        (['--log-level', 'loud'], 'loud'),
        (['-r', '__node:=a b'], 'a b'),
        (['--sim-time'], "UnknownROSArgsError: ['--sim-time']"),
    ):
        told = start('vlm_node', '--ros-args', *arguments)
        assert 'ROS does not start: ' in told and words in told and '.c:' not in told


def test_a_wrong_parameter() -> None:
    told = start('vlm_node', '--ros-args', '-p', 'max_age:=3', '-p', 'busy:=sometimes')
    assert told.endswith(
        "busy must be queue, reject or interrupt, not 'sometimes'; "
        'max_age must be a number with a point, not 3: write 3.0'
    )
