# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Answers under way: reading and cancelling them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
import functools
import threading
import time

from vlm_npu_ros.engine.errors import BackendCrashedError, CancelledError
from vlm_npu_ros.engine.stream import Stream
from vlm_npu_ros.engine.types import Chunk, FinishReason


class Cancellation:
    """
    Tells the writer of an answer that it is no longer read; safe to use from any thread.

        cancelled.add_callback(connection.close)
        for token in model:
            if cancelled.is_set():
                break

    cause: another one that sets this one, too.
    """

    def __init__(self, cause: Cancellation | None = None) -> None:
        self._changed = threading.Condition()  # its lock is reentrant, for signal handlers
        self._is_set = False
        self._callbacks: list[Callable[[], object]] = []
        if cause:
            cause.add_callback(self.set)

    def set(self) -> None:  # noqa: A003
        """Cancel and call the callbacks; does nothing the second time."""
        with self._changed:
            self._is_set = True
            callbacks, self._callbacks = self._callbacks, []
            self._changed.notify_all()
        for callback in callbacks:
            callback()

    def is_set(self) -> bool:
        """Whether it was cancelled."""
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Wait; return True as soon as it is cancelled, False after `seconds`."""
        with self._changed:
            return self._changed.wait_for(self.is_set, seconds)

    def add_callback(self, callback: Callable[[], object]) -> None:
        """Call a quick function once when it is cancelled, at once if it already was."""
        with self._changed:
            if not self._is_set:
                self._callbacks.append(callback)
                return
        callback()


class Generation(Iterator[Chunk], ABC):
    """
    An answer under way; it begins when its first chunk is requested.

        with engine.generate(request) as generation:
            for chunk in generation:
                print(chunk.text, end='')

    The last chunk has a finish reason. Read it to the end or close it, because others may be
    waiting. One thread reads; `cancel` and `join` may be called from any thread at any time.
    """

    def __init__(self) -> None:
        self.cancelled = Cancellation()
        self._is_over = False

    @abstractmethod
    def next(self, timeout: float | None = None) -> Chunk:  # noqa: A003
        """
        Wait for the next chunk.

        timeout: seconds. Raises TimeoutError when they are over (the answer continues),
        StopIteration after the last chunk, and the VlmError that ends the answer.
        """

    def __next__(self) -> Chunk:
        return self.next()

    def cancel(self) -> None:
        """
        End the answer at once for its reader; the finish reason is CANCELLED.

        Chunks written before can still be read. The engine may take longer: see `join`.
        """
        self.cancelled.set()

    def close(self) -> None:
        """Cancel the answer and stop reading; may be called twice, and after the end."""
        self._is_over = True
        self.cancel()

    @abstractmethod
    def join(self, timeout: float | None = None) -> bool:
        """Wait until the engine has stopped working on it; return False after `timeout`."""

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_Begin = Callable[[Stream[Chunk], Cancellation, 'float | None'], None]


class StreamedGeneration(Generation):
    """
    An answer that another thread writes.

    begin: makes that thread put chunks into the stream and end it; called in the reader's thread.
        It may wait for the given seconds and then raise TimeoutError; it is called again then. If
        it is cancelled while it waits, it raises CancelledError.
    """

    def __init__(self, begin: _Begin) -> None:
        super().__init__()
        self._begin: _Begin | None = begin  # None afterwards, because it may hold much memory
        self._chunks: Stream[Chunk] = Stream()
        last = Chunk('', FinishReason.CANCELLED)
        self.cancelled.add_callback(functools.partial(self._chunks.put, last))

    def next(self, timeout: float | None = None) -> Chunk:  # noqa: A003
        """Wait for the next chunk."""
        if self._is_over:
            raise StopIteration
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            if self._begin and not self.cancelled.is_set():
                with suppress(CancelledError):  # the last chunk says so
                    self._begin(self._chunks, self.cancelled, timeout)
                    self._begin = None
            chunk = self._chunks.next(deadline and deadline - time.monotonic())
        except TimeoutError:
            raise
        except StopIteration:
            self._is_over = True
            raise BackendCrashedError('The answer ended without saying why') from None
        except Exception:
            self._is_over = True
            raise
        self._is_over = chunk.finish_reason is not None
        return chunk

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the engine has stopped working on it; return False after `timeout`."""
        return self._begin is not None or self._chunks.join(timeout)
