# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Processes that end with the one that started them."""

from __future__ import annotations

import os
from pathlib import Path
import textwrap
import threading

import psutil
import pytest
from vlm_npu_ros.demo import children as module
from vlm_npu_ros.demo.children import ChildDiedError, Children

PATIENCE = 60.0  # seconds; only a broken test waits this long

OBEDIENT = """
    import signal
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ready()
    signal.pause()
"""
STUBBORN = """
    import signal
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ready()
    while True:
        signal.pause()
"""
PARENT = """
    import signal, subprocess, sys
    child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])
    ready(str(child.pid))
    sys.exit(0)
"""
FAILING = """
    import sys
    print('first words')
    print('last words', file=sys.stderr)
    sys.exit(3)
"""
ARGUMENTS = """
    import sys
    ready(repr(sys.argv[1:]))
"""


@pytest.fixture
def children(tmp_path: Path) -> Children:
    return Children({**os.environ, 'PYTHONPATH': str(tmp_path)})


def write(folder: Path, code: str) -> str:
    """Write a module that opens a pipe when it is ready; return its name."""
    os.mkfifo(folder / 'pipe')
    ready = f"def ready(text=''):\n    open({str(folder / 'pipe')!r}, 'w').write(text)\n"
    (folder / 'child.py').write_text(ready + textwrap.dedent(code))
    return 'child'


def wait_until_ready(folder: Path) -> str:
    return (folder / 'pipe').read_text()


def wait_until_died(children: Children) -> ChildDiedError:
    tick = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        try:
            children.check()
        except ChildDiedError as error:
            return error
        tick.wait(0.01)
    raise AssertionError('no child died')


def started() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_children_are_interrupted(children: Children, tmp_path: Path) -> None:
    with children:
        children.start('one', write(tmp_path, OBEDIENT), {})
        wait_until_ready(tmp_path)
        children.check()
        assert len(started()) == 1
    assert started() == []


def test_children_are_killed_if_they_linger(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, '_GRACE', 0.2)
    with pytest.raises(RuntimeError), children:
        children.start('one', write(tmp_path, STUBBORN), {})
        wait_until_ready(tmp_path)
        raise RuntimeError
    assert started() == []


def test_what_children_start_ends_with_them(children: Children, tmp_path: Path) -> None:
    with children:
        children.start('one', write(tmp_path, PARENT), {})
        grandchild = psutil.Process(int(wait_until_ready(tmp_path)))
        assert grandchild.is_running()
    assert psutil.wait_procs([grandchild], PATIENCE)[1] == []


def test_a_death_is_told_with_the_last_words(children: Children, tmp_path: Path) -> None:
    with children:
        children.start('one', write(tmp_path, FAILING), {})
        words = str(wait_until_died(children))
    assert words.startswith('one ended with 3. Its last lines:')
    assert 'first words' in words and 'last words' in words


def test_a_killing_is_told_with_its_signal(children: Children, tmp_path: Path) -> None:
    with children:
        children.start('one', write(tmp_path, OBEDIENT), {})
        wait_until_ready(tmp_path)
        started()[0].kill()
        words = str(wait_until_died(children))
    assert words == 'one was killed by SIGKILL. It has written nothing.'


def test_parameters_become_ros_arguments(children: Children, tmp_path: Path) -> None:
    with children:
        children.start('one', write(tmp_path, ARGUMENTS), {
            'rate': 2.0, 'names': ['a b'], 'model': 'demo', 'keep': True,
        })
        words = wait_until_ready(tmp_path)
    assert words == repr([
        '--ros-args', '-p', 'rate:=2.0', '-p', 'names:=["a b"]', '-p', 'model:="demo"',
        '-p', 'keep:=true',
    ])
