# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Programs of another Python: their lines, results, errors, and what they leave behind."""

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
import re
import sys

import pytest
from vlm_npu_ros.convert.errors import (
    CheckFailedError,
    ConversionError,
    ToolkitMissingError,
    UsageError,
)
from vlm_npu_ros.convert.stages import run_stage

Stage = Callable[[str], list[str]]


def ignore(line: str) -> None:
    pass


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], str]:
    """Give a function that makes a Python which runs given lines, whatever it is told to run."""
    def make(code: str) -> str:
        path = tmp_path / 'python'
        path.write_text(f'#!{sys.executable}\nimport os, sys\n{code}\n')
        path.chmod(0o755)
        return str(path)
    return make


def test_result_is_the_last_object_and_other_lines_are_progress(python: Callable) -> None:
    lines: list[str] = []
    program = python("""
print('loading'); print('[1]'); print(); print('{"size": 3}', flush=True)
os.write(2, b'chatter')""")
    result = run_stage('rknn', ['a'], program, lines.append)
    assert result['size'] == 3
    assert result['peak_bytes'] > 1e6
    # Of a program that has ended already, the memory is not known until it is waited for.
    line = re.compile(r'\[rknn +\d+ s(?: +\d+\.\d GB)?\] (.*)')
    assert [line.fullmatch(text)[1] for text in lines] == ['loading', '[1]', 'done']
    assert ' GB] done' in lines[-1]


def test_long_silence_is_filled(python: Callable, monkeypatch: pytest.MonkeyPatch,
                                tmp_path: Path) -> None:
    monkeypatch.setattr('vlm_npu_ros.convert.stages._HEARTBEAT', 0.01)
    fifo = tmp_path / 'fifo'
    os.mkfifo(fifo)

    def progress(line: str) -> None:
        if line.endswith('...') and fifo.exists():
            fifo.write_text('go on')  # the program has waited for this
            fifo.unlink()

    run_stage('rknn', [], python(f"open({str(fifo)!r}).read(); print('{{}}')"), progress)
    assert not fifo.exists()


def test_it_runs_the_module_with_the_arguments() -> None:
    # rknn.py asks for more arguments than these.
    with pytest.raises(UsageError, match='(?s)rknn cannot do this.*required: --recipe') as caught:
        run_stage('rknn', ['graph.onnx'], sys.executable, ignore)
    assert 'rknn.py' in str(caught.value)


def test_another_python_sees_this_package_and_nothing_beside_it(python: Callable) -> None:
    program = python(
        "import json\nfirst = os.environ['PYTHONPATH'].split(os.pathsep)[0]\n"
        "print(json.dumps({'seen': os.listdir(first), 'argv': sys.argv[1:]}))")
    result = run_stage('rknn', ['--x', 'y'], program, ignore)
    assert result['seen'] == ['vlm_npu_ros']
    assert result['argv'] == ['-m', 'vlm_npu_ros.convert.rknn', '--x', 'y']


@pytest.mark.parametrize('end', ["print('{}')", 'sys.exit(1)', 'os.abort()'])
def test_what_it_leaves_behind_vanishes(end: str, python: Callable, tmp_path: Path) -> None:
    told = tmp_path / 'told'
    program = python(
        "import tempfile\nopen('weights.bin', 'w').close(); tempfile.mkstemp()\n"
        f"open({str(told)!r}, 'w').write(os.getcwd() + '\\n' + tempfile.gettempdir())\n{end}")
    before = set(os.listdir())
    try:
        run_stage('rknn', [], program, ignore)
    except ConversionError:
        pass
    here, temporary = told.read_text().splitlines()
    assert not Path(here).exists() and not Path(temporary).exists()
    assert set(os.listdir()) == before


@pytest.mark.parametrize(('status', 'kind'), [
    (1, ConversionError), (2, UsageError), (3, ToolkitMissingError), (4, CheckFailedError),
    (77, ConversionError),
])
def test_exit_codes_are_errors_with_the_last_words(
    status: int, kind: type[ConversionError], python: Callable
) -> None:
    with pytest.raises(ConversionError) as caught:
        run_stage('rknn', [], python(
            f"print('much', file=sys.stderr); print('error: the cat', file=sys.stderr)\n"
            f'sys.exit({status})'), ignore)
    assert type(caught.value) is kind
    assert caught.value.what.endswith('\n  the cat')


def test_missing_library_names_extra_and_pins(python: Callable) -> None:
    words = r'\[convert\] \(rknn-toolkit2 2\.5.*setuptools < 81'
    with pytest.raises(ToolkitMissingError, match=words):
        run_stage('rknn', [], python('sys.exit(3)'), ignore)
    with pytest.raises(ToolkitMissingError, match=r'\[convert-export\].*transformers'):
        run_stage('export', [], python('sys.exit(3)'), ignore)
    with pytest.raises(ToolkitMissingError, match='/nowhere/python cannot be run'):
        run_stage('rknn', [], '/nowhere/python', ignore)


def test_death_by_a_signal_is_told(python: Callable) -> None:
    with pytest.raises(ConversionError, match='died of SIGABRT:?\n  Not Support Dtype'):
        run_stage('rknn', [], python("os.write(2, b'E Not Support Dtype\\n'); os.abort()"), ignore)
    with pytest.raises(ConversionError, match='died of SIGKILL(?s:.*)Is there enough memory'):
        run_stage('rknn', [], python('os.kill(os.getpid(), 9)'), ignore)


def test_success_without_a_result_is_an_error(python: Callable) -> None:
    with pytest.raises(ConversionError, match='ended without a result'):
        run_stage('rknn', [], python("print('done')"), ignore)


def test_harmless_messages_are_not_shown_as_the_reason(python: Callable) -> None:
    program = python("""
for line in ('E RKNN: [02:45:04.231] Unkown op target: 0', '\\033[1;31mE\\033[0m build: odd graph',
             '\\033[1;31mE\\033[0m rknn-toolkit2 version: 2.5.0', 'I Loading : 100%|=====| 2/2'):
    print(line, file=sys.stderr)
sys.exit(1)""")
    with pytest.raises(ConversionError) as caught:
        run_stage('rknn', [], program, ignore)
    assert str(caught.value) == 'The stage rknn failed with exit code 1:\n  build: odd graph'


def test_interrupt_ends_the_program(python: Callable, tmp_path: Path) -> None:
    def progress(line: str) -> None:
        raise KeyboardInterrupt

    told = tmp_path / 'pid'
    program = python(
        f"open({str(told)!r}, 'w').write(str(os.getpid()))\nprint('working', flush=True)\n"
        'import signal; signal.pause()')
    with pytest.raises(KeyboardInterrupt):
        run_stage('rknn', [], program, progress)
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)
