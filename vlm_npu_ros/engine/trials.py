# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
What may crash or hang a process, noted on disk while it is tried.

    if not has_failed(note):
        with trial(note):
            ...

A note that is left says that a process died of it. Only a process of the engine's own may try.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import fcntl
import os
from pathlib import Path

_under_way: set[Path] = set()


def has_failed(note: Path) -> bool:
    """Return whether a process died while this was tried; another may be trying it just now."""
    try:
        with open(note, encoding='utf-8') as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):
        return False
    return True


@contextmanager
def trial(note: Path, *, durable: bool = False) -> Iterator[None]:
    """
    Keep a note while something is tried; raise OSError if it cannot be written.

    durable: it must outlive a crash of the whole machine, too.
    """
    note.parent.mkdir(parents=True, exist_ok=True)
    _under_way.add(note)
    with open(note, 'w', encoding='utf-8') as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until this process ends
        file.write('Left by a process that died. Delete this file to try again.\n')
        file.flush()
        if durable:
            os.fsync(file.fileno())
        try:
            yield
        finally:
            note.unlink(missing_ok=True)
            _under_way.discard(note)


def call_off() -> None:
    """Remove the notes, because this process ends in order, whatever it is doing."""
    for note in tuple(_under_way):
        note.unlink(missing_ok=True)
