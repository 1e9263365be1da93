# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Crashes, hangs and leaks of the simulated runtimes, and the file that switches them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import psutil
import pytest
from simulated.board import rknn_tree, use
from simulated.runtime import build, build_driver
from simulated.weights import write_model

RKNN = Path(__file__).parent / 'data' / 'tiny_float.rknn'
RUN_RKNN = f"""
import numpy
from rknnlite.api import RKNNLite
rknn = RKNNLite()
assert rknn.load_rknn({str(RKNN)!r}) == rknn.init_runtime() == 0
for _ in range(2):
    rknn.inference([numpy.zeros((1, 32, 32, 3), numpy.float32)])
    print('done', flush=True)
"""

Start = Callable[..., 'subprocess.Popen[str]']


@pytest.fixture(scope='module')
def driver(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp('runtime')
    program = build_driver('1.2.3', build('1.2.3', folder))
    return program, write_model(folder / 'demo.rkllm')


@pytest.fixture
def faults(tmp_path: Path) -> Path:
    return tmp_path / 'faults'


@pytest.fixture
def start(driver: tuple[Path, Path], faults: Path) -> Start:
    """Return a function that starts to ask; environment variables are keyword arguments."""
    program, model = driver

    def start(*prompts: str, limit: int = 9, **environment: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [program, model, '', '64', str(limit), '', '', '<image>', *prompts],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={'SIMNPU_FAULTS': faults, **{k: str(v) for k, v in environment.items()}},
        )
    return start


@pytest.fixture
def states(start: Start) -> Callable[..., tuple[list[str], int]]:
    """Return a function that asks; it returns the first word of each line, and the status."""
    def states(*prompts: str, **environment: Any) -> tuple[list[str], int]:
        with start(*prompts, **environment) as asking:
            out, _ = asking.communicate(timeout=30)
        return [line.split()[0] for line in out.splitlines()], asking.returncode
    return states


States = Callable[..., tuple[list[str], int]]


# --- the file ---


def test_missing_file_asks_for_nothing(states: States) -> None:
    assert states('a', SIMRKLLM_ANSWER='b') == (['init', 'NORMAL', 'FINISH', 'run'], 0)


def test_file_goes_before_the_environment(states: States, faults: Path) -> None:
    faults.write_text('# a comment\nSIMRKLLM_INIT_FAIL=\nSIMRKLLM_ERROR_AT=2\n')
    ended = states('a', SIMRKLLM_ANSWER='bcd', SIMRKLLM_ERROR_AT=1, SIMRKLLM_INIT_FAIL=1)
    assert ended == (['init', 'NORMAL', 'ERROR', 'run'], 0)


def test_names_are_whole_words(states: States, faults: Path) -> None:
    faults.write_text('SIMRKLLM_ERROR_AT2=1\nXSIMRKLLM_ERROR_AT=1\nSIMRKLLM_ERROR_AT@twice=1\n')
    assert states('a', SIMRKLLM_ANSWER='b') == (['init', 'NORMAL', 'FINISH', 'run'], 0)


def test_line_for_one_time_holds_for_one_run(states: States, faults: Path) -> None:
    faults.write_text('SIMRKLLM_ANSWER=bc\nSIMRKLLM_ERROR_AT@once=2\n')
    first, second = ['NORMAL', 'ERROR', 'run'], ['NORMAL', 'NORMAL', 'FINISH', 'run']
    assert states('a', 'a') == (['init', *first, *second], 0)
    assert faults.read_text() == 'SIMRKLLM_ANSWER=bc\n#IMRKLLM_ERROR_AT@once=2\n'


def test_crash_for_one_time_does_not_come_again(states: States, faults: Path) -> None:
    faults.write_text('SIMRKLLM_SEGV_AT@once=2\nSIMRKLLM_SEGV_AT@once=1\n')
    assert states('a', SIMRKLLM_ANSWER='b')[1] == 0  # the first line counts, at no token
    assert states('a', SIMRKLLM_ANSWER='bc') == (['init', 'NORMAL'], -signal.SIGSEGV)
    assert states('a', SIMRKLLM_ANSWER='bc') == (['init'], -signal.SIGSEGV)
    assert states('a', SIMRKLLM_ANSWER='bc')[1] == 0


def test_file_may_change_while_it_runs(start: Start, faults: Path) -> None:
    faults.write_text('SIMRKLLM_DECODE_RATE=1\n')
    with start('a', limit=400, SIMRKLLM_ANSWER='b', SIMRKLLM_ENDLESS=1) as asking:
        assert asking.stdout and asking.stdout.readline().startswith('init')
        assert asking.stdout.readline().startswith('NORMAL')
        faults.unlink()
        asking.communicate(timeout=60)  # 400 s at that rate
    assert asking.returncode == 0


# --- librkllmrt.so ---


@pytest.mark.parametrize(('where', 'lines'), [('INIT', []), ('PREFILL', ['init'])])
def test_crash(states: States, where: str, lines: list[str]) -> None:
    assert states('a', **{f'SIMRKLLM_{where}_SEGV': 1}) == (lines, -signal.SIGSEGV)


def test_crash_at_load_comes_after_the_log(start: Start) -> None:
    with start('a', SIMRKLLM_INIT_SEGV=1) as asking:
        assert 'I rkllm: rkllm-runtime version: 1.2.3' in asking.communicate(timeout=30)[1]


@pytest.mark.parametrize(('where', 'lines'), [('INIT', []), ('PREFILL', ['init'])])
def test_hang(start: Start, where: str, lines: list[str]) -> None:
    with start('a', DRIVER_ABORT_AT=0, **{f'SIMRKLLM_{where}_HANG': 1}) as asking:
        assert asking.stdout and asking.stderr
        assert 'rkllm-runtime version' in ''.join(asking.stderr.readline() for _ in range(2))
        came = [asking.stdout.readline().split()[0] for _ in lines]
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(0.3)
        asking.kill()
        assert [*came, *asking.communicate()[0].split()] == lines


def test_slow_load(states: States) -> None:
    started = time.monotonic()
    assert states('a', SIMRKLLM_INIT_SECONDS=0.4)[1] == 0
    assert time.monotonic() - started > 0.4


def test_each_run_loses_memory(start: Start, faults: Path) -> None:
    def resident(megabytes: int) -> float:
        faults.write_text(
            'SIMRKLLM_ANSWER@once=!\nSIMRKLLM_ANSWER@once=!\nSIMRKLLM_ANSWER=!!!\n'
            f'SIMRKLLM_HANG_AT=3\nSIMRKLLM_LEAK_MB={megabytes}\n'
        )
        with start('a', 'a', 'a') as asking:
            assert asking.stdout
            lines = [asking.stdout.readline().split()[0] for _ in range(9)]
            memory = psutil.Process(asking.pid).memory_info().rss
            asking.kill()
        assert lines == ['init', *['NORMAL', 'FINISH', 'run'] * 2, 'NORMAL', 'NORMAL']
        return memory / 2**20
    assert 59 < resident(20) - resident(0) < 65


# --- rknnlite ---


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Path) -> None:
    use(monkeypatch, rknn_tree(tmp_path / 'board'))
    monkeypatch.setenv('SIMNPU_FAULTS', str(faults))


def start_rknn() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, '-c', RUN_RKNN], stdout=subprocess.PIPE, text=True)


@pytest.mark.usefixtures('board')
def test_encoder_crashes_once(faults: Path) -> None:
    faults.write_text('SIMRKNN_SEGV@once=1\n')
    for ended in (('', -signal.SIGSEGV), ('done\ndone\n', 0)):
        with start_rknn() as running:
            assert (running.communicate(timeout=30)[0], running.returncode) == ended
    assert faults.read_text() == '#IMRKNN_SEGV@once=1\n'


@pytest.mark.usefixtures('board')
def test_encoder_hangs(faults: Path) -> None:
    faults.write_text('SIMRKNN_NAN=1\nSIMRKNN_SECONDS=0.05\n')
    with start_rknn() as running:
        assert running.stdout and running.stdout.readline() == 'done\n'
    faults.write_text('SIMRKNN_HANG@once=1\n')
    with start_rknn() as running:
        while faults.read_text().startswith('S'):  # it has come there
            assert running.poll() is None
            time.sleep(0.01)
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(0.3)
        running.kill()
        assert running.communicate()[0] == ''


@pytest.mark.usefixtures('board')
def test_slow_encoder(faults: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rknnlite.api import RKNNLite

    picture = np.zeros((1, 32, 32, 3), np.float32)
    rknn = RKNNLite()
    faults.write_text('SIMRKNN_INIT_SECONDS=0.3\nSIMRKNN_SECONDS=0.2\n')
    monkeypatch.setenv('SIMRKNN_SECONDS', '90')
    started = time.monotonic()
    assert rknn.load_rknn(str(RKNN)) == rknn.init_runtime() == 0
    loaded = time.monotonic()
    (slow,) = rknn.inference([picture])
    ran = time.monotonic()
    assert loaded - started >= 0.3
    assert 0.2 <= ran - loaded < 60
    faults.write_text('SIMRKNN_SECONDS=\nSIMRKNN_ZERO@once=1\n')
    (zeros,), (again,) = (rknn.inference([picture]) for _ in range(2))
    assert not zeros.any()
    np.testing.assert_array_equal(again, slow)
