# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The demo as a person runs it: a program that starts two others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import signal
import socket
import subprocess
import sys

import camera_demo
import cv2
import numpy as np
from program import in_own_domain
import psutil
import pytest
from vlm_npu_ros.demo import children
from vlm_npu_ros.demo.questions import KINDS
from vlm_npu_ros.demo.scenes import random_scene

PROGRAM = Path(__file__).resolve().parents[2] / 'tools' / 'demo' / 'camera_demo.py'
PATIENCE = 100.0  # seconds; only a broken test waits this long


class Program:
    """The demo, running in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, *arguments],
            cwd=folder, env=in_own_domain(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        assert self.process.stdout
        self.output = self.process.stdout

    def read_until(self, words: str) -> str:
        told = ''
        for line in self.output:
            if words in line:
                return line
            told += line
        raise AssertionError(f'the demo ended without {words!r}: {told}')

    def started(self) -> dict[str, psutil.Process]:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return {child.cmdline()[2].rpartition('.')[2]: child for child in children}

    def end(self) -> tuple[int, str]:
        output = self.process.communicate(timeout=PATIENCE)[0]
        return self.process.returncode, output


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path, '--scenes', '1', '--keep')
    program.read_until('The nodes keep running')
    assert set(program.started()) == {'vlm_node', 'scene_camera'}
    yield program
    program.process.kill()
    program.end()


def test_a_run(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.read_until('The vlm node is active')
    started = list(program.started().values())
    status, output = program.end()
    assert status == 0, output
    assert '6 came by service, 6 by action.' in output
    picture = tmp_path / 'demo_output' / 'demo.png'
    assert str(picture) in output.replace('\n', '')
    assert cv2.imread(str(picture)).shape[1] > 1000
    assert len(started) == 2
    assert psutil.wait_procs(started, 0)[1] == []


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_all(keeping: Program, number: signal.Signals) -> None:
    started = list(keeping.started().values())
    keeping.process.send_signal(number)
    _, output = keeping.end()
    assert 'Traceback' not in output
    assert psutil.wait_procs(started, 0)[1] == []


def test_a_signal_before_the_first_answer(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.read_until('Starting')
    program.process.send_signal(signal.SIGINT)
    status, output = program.end()
    assert (status, 'Stopped.' in output, 'Traceback' in output) == (130, True, False)


@pytest.mark.parametrize('name', ['vlm_node', 'scene_camera'])
def test_a_child_that_dies_is_named(keeping: Program, name: str) -> None:
    started = keeping.started()
    started[name].kill()
    status, output = keeping.end()
    assert status == 1
    assert f'The demo failed: {name} was killed by SIGKILL.' in output
    assert psutil.wait_procs(list(started.values()), 0)[1] == []


def test_a_picture_that_can_not_be_saved(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    status, output = Program(tmp_path, '--output', 'file/demo.png').end()
    assert status == 1
    assert 'The demo failed: the picture cannot be saved' in output
    assert 'Starting' not in output


@pytest.mark.parametrize('arguments', [
    ['--scenes', '0'], ['--scenes', 'many'], ['--seed', '-1'], ['--what'],
])
def test_wrong_arguments(tmp_path: Path, arguments: list[str]) -> None:
    status, output = Program(tmp_path, *arguments).end()
    assert status == 2
    assert 'usage: demo' in output


def test_questions_about_a_scene() -> None:
    rng = np.random.default_rng(8)
    asked = set()
    for _ in range(40):
        questions = camera_demo._questions(random_scene(rng), rng)
        kinds = [question.kind for question in questions]
        assert kinds[0] == 'describe'
        assert len(set(kinds)) == len(kinds) == 4
        asked |= set(kinds)
    assert asked == set(KINDS)


def test_a_domain_that_others_use_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(('', 7400 + 250 * 100))
        monkeypatch.setattr(children, '_DOMAINS', (100, 101))
        assert {children.free_domain() for _ in range(20)} == {101}
