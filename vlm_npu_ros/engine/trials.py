# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
What may crash or hang a process, noted on disk while it is tried.

    if not has_failed(note):
        with trial(note):
            ...

A note that is left says that a process died of it. Only a process of the engine's own may try.
Several may try the same at once: the note stays until the last of them has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import fcntl
import os
from pathlib import Path
from typing import TextIO

_WORDS = 'Left by a process that died. Delete this file to try again.\n'
_under_way: dict[Path, TextIO] = {}


def has_failed(note: Path) -> bool:
    """
    Return whether a process died while this was tried; another may be trying it just now.

    False where no note can be read: it cannot be tried there either.
    """
    try:
        with open(note, encoding='utf-8') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # there is none, or a process holds it
        return False
    return True


@contextmanager
def trial(note: Path, *, durable: bool = False) -> Iterator[None]:
    """
    Keep a note while something is tried; raise OSError if it cannot be written.

    durable: it must outlive a crash of the whole machine, too.
    """
    note.parent.mkdir(parents=True, exist_ok=True)
    with _held(note) as file:
        _under_way[note] = file
        try:
            file.write(_WORDS)
            file.flush()
            if durable:
                os.fsync(file.fileno())
            yield
        finally:
            _remove(note)


def call_off() -> None:
    """Remove the notes, because this process ends in order, whatever it is doing."""
    for note in tuple(_under_way):
        _remove(note)


def _held(note: Path) -> TextIO:
    """Open a note and hold it until this process ends; others may hold it, too."""
    while True:
        file = open(note, 'w', encoding='utf-8')
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
        except OSError:
            file.close()
            raise
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # another process has just removed it


def _remove(note: Path) -> None:
    """Remove a note, unless another process holds it."""
    file = _under_way.pop(note, None)
    if file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            note.unlink()
