# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What native code prints: kept, because it says more than a return code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import ctypes
import fcntl
import os
import threading

_PIPE = 1 << 20  # bytes; what a user may have at most, by default


@contextmanager
def native_log() -> Iterator[list[str]]:
    """
    Collect the lines that this process writes to its standard output and error.

    They still appear on the standard error. The list is complete when the block has ended. Code
    that does not let other threads of Python run may print 1 MiB.
    """
    lines: list[str] = []
    flush = ctypes.CDLL(None).fflush
    flush(None)
    reading, writing = os.pipe()
    with suppress(OSError):  # where the user has many pipes already, it stays small
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE)
    saved = os.dup(1), os.dup(2)
    reader = threading.Thread(target=_copy, args=(reading, saved[1], lines), name='native log')
    for number in (1, 2):
        os.dup2(writing, number)
    os.close(writing)
    reader.start()
    try:
        yield lines
    finally:
        flush(None)  # C buffers what it prints to a pipe
        for number, original in zip((1, 2), saved, strict=True):
            os.dup2(original, number)
        reader.join()
        for number in saved:
            os.close(number)


def _copy(source: int, target: int, lines: list[str]) -> None:
    with os.fdopen(source, 'rb') as stream:
        for line in stream:
            lines.append(line.decode('utf-8', 'replace').rstrip())
            os.write(target, line)
