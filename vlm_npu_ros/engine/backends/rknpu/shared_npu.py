# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""An NPU that several programs share: they take turns by a lock in the file system."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import fcntl
import os
import time

from vlm_npu_ros.engine.errors import BackendUnavailableError

_TICK = 0.005  # seconds


class SharedNpu:
    """
    Holds the NPU against all programs that lock the same file.

        npu = SharedNpu('/run/lock/rknpu')
        with npu.held():
            rknn.inference(...)

    The locks (flock) are advisory, and end with the process that holds them. Whoever waits holds
    a second file, PATH.turn: a program that wants the NPU again at once waits behind it.

    path: '' = nobody else uses the NPU. Raises BackendUnavailableError if a file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._files: list[int] = []
        try:
            for name in (f'{path}.turn', path) if path else ():
                self._files.append(_opened(name))
        except BackendUnavailableError:
            self.close()
            raise

    @contextmanager
    def held(self, is_cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """
        Wait for the NPU and hold it; for one thread at a time.

        is_cancelled: ends the waiting; the NPU is not held then.
        """
        if not self._files:
            yield
            return
        turn, npu = self._files
        try:
            if _locked(turn, is_cancelled):
                try:
                    _locked(npu, is_cancelled)
                finally:
                    fcntl.flock(turn, fcntl.LOCK_UN)
            yield
        finally:
            fcntl.flock(npu, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the files; may be called twice."""
        while self._files:
            os.close(self._files.pop())


def _locked(file: int, is_cancelled: Callable[[], bool]) -> bool:
    while not is_cancelled():
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(_TICK)  # flock itself cannot be told to end
    return False


def _opened(path: str) -> int:
    try:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            # Not at once: in folders that all may write, the kernel lets no one open the file of
            # another user in this way.
            return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise BackendUnavailableError(
            f'The lock of the NPU, {path}, cannot be opened: {error.strerror}',
            'Set the parameter rknpu.lock to a file that all programs which use the NPU can read',
        ) from error
