"""Whether a file was in memory before it was read: that tells a warm start from a cold one."""

from __future__ import annotations

import os
from pathlib import Path

_SAMPLES = 64
_WARM = 0.9


def is_warm(path: Path) -> bool | None:
    """Return whether the page cache holds the file; None where the system does not tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        size = os.fstat(descriptor).st_size
        places = [i * max(size - 1, 0) // (_SAMPLES - 1) for i in range(_SAMPLES)]
        return sum(_is_held(descriptor, place) for place in places) >= _WARM * _SAMPLES
    except OSError:  # a file system that cannot tell
        return None
    finally:
        os.close(descriptor)


def _is_held(descriptor: int, place: int) -> bool:
    try:
        os.preadv(descriptor, [bytearray(1)], place, os.RWF_NOWAIT)
    except BlockingIOError:  # it would have to be read from storage
        return False
    return True
