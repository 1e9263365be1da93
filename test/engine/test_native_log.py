# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest
from vlm_npu_ros.engine.native_log import native_log

SCRIPT = """
import ctypes, os, sys
from vlm_npu_ros.engine.native_log import native_log
libc = ctypes.CDLL(None)
libc.puts(b'before')
with native_log() as lines:
    libc.puts(b'from C, buffered')
    os.write(2, b'from C, at once\\n')
libc.puts(b'after')
assert sorted(lines) == ['from C, at once', 'from C, buffered'], lines
"""


def test_lines_are_kept_and_go_on_to_standard_error() -> None:
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT], capture_output=True, text=True, check=False,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stderr.split('\n')) == ['', 'from C, at once', 'from C, buffered']
    assert done.stdout == 'before\nafter\n'


def test_block_that_fails_gives_the_output_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), native_log() as lines:
        os.write(1, b'half a line')
        raise ZeroDivisionError
    assert lines == ['half a line']
    os.write(1, b'free again')
    assert capfd.readouterr().out == 'free again'


def test_code_that_stops_python_may_print_much(capfd: pytest.CaptureFixture[str]) -> None:
    with native_log() as lines:
        ctypes.PyDLL(None).puts(b'x' * 900_000)
    assert [len(line) for line in lines] == [900_000]
    capfd.readouterr()


def test_nothing_stays_open() -> None:
    ctypes.CDLL(None)
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(20):
        with native_log():
            pass
    assert len(os.listdir('/proc/self/fd')) == before
