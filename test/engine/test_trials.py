# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Notes about trials: left by processes that die, and by no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
import resource
import signal
import subprocess
import sys

import pytest
from vlm_npu_ros.engine.trials import call_off, has_failed, trial

TRYING = (
    'import pathlib, sys; from vlm_npu_ros.engine.trials import trial\n'
    'with trial(pathlib.Path(sys.argv[1])):\n'
    '    print("trying", flush=True); input()'
)

Try = Callable[[], 'subprocess.Popen[str]']


@pytest.fixture
def note(tmp_path: Path) -> Path:
    return tmp_path / 'new' / 'note'


@pytest.fixture
def other(note: Path) -> Iterator[Try]:
    """Return a function that starts a process that tries the same, until it gets a line."""
    started = []

    def start() -> subprocess.Popen[str]:
        started.append(subprocess.Popen(
            [sys.executable, '-c', TRYING, str(note)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ))
        assert started[-1].stdout and started[-1].stdout.readline() == 'trying\n'
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_note_stays_when_the_process_dies(note: Path, other: Try) -> None:
    with trial(note, durable=True):
        assert note.exists() and not has_failed(note)
    assert not note.exists()
    with trial(note):
        call_off()
        assert not note.exists()
    process = other()
    assert not has_failed(note)  # it may still succeed
    process.kill()
    process.wait()
    assert has_failed(note)


def test_processes_that_try_at_once_do_not_wait_for_each_other(note: Path, other: Try) -> None:
    with trial(note):
        second = other()
    second.kill()
    second.wait()
    assert has_failed(note)  # though the first one has succeeded
    with trial(note):
        other().communicate('\n')
        assert note.exists()
    assert not note.exists()


def test_note_that_cannot_be_kept_is_no_failure(tmp_path: Path, note: Path) -> None:
    (tmp_path / 'file').touch()
    nowhere = tmp_path / 'file' / 'note'
    assert not has_failed(nowhere)
    with pytest.raises(OSError), trial(nowhere):
        raise AssertionError
    # As on a disk that is full.
    before, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.RLIMIT_FSIZE
    soft, hard = resource.getrlimit(limits)
    resource.setrlimit(limits, (0, hard))
    try:
        with pytest.raises(OSError), trial(note):
            raise AssertionError
    finally:
        resource.setrlimit(limits, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert not has_failed(note)
    call_off()
