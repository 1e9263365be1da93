# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Items passed from one thread to another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import queue
import threading
from typing import Generic, TypeVar

Item = TypeVar('Item')


class Stream(Iterator[Item], Generic[Item]):
    """
    Passes items from a producer thread to a consumer thread.

        tokens: Stream[str] = Stream()
        tokens.run(lambda: model.write(prompt), 'writer')
        first = tokens.next(timeout=10.0)
        rest = list(tokens)

    The producer calls `put` for each item and then `end`; the consumer iterates or calls `next`.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Item | _End] = queue.SimpleQueue()
        self._ended = threading.Event()

    def put(self, item: Item) -> None:
        """Add an item; may be called from native code and from a signal handler."""
        self._queue.put(item)

    def end(self, error: BaseException | None = None) -> None:
        """End the stream, with an error for the consumer if there is one."""
        self.cut(error)
        self._ended.set()

    def cut(self, error: BaseException | None = None) -> None:
        """End it for the user alone: what the maker still puts is lost."""
        self._queue.put(_End(error))

    def run(self, make: Callable[[], Iterable[Item]], name: str) -> None:
        """Produce the items of `make` in a new thread of this name."""
        def work() -> None:
            error = None
            try:
                for item in make():
                    self.put(item)
            except BaseException as raised:  # noqa: B902
                error = raised
            self.end(error)

        threading.Thread(target=work, name=name, daemon=True).start()

    def next(self, timeout: float | None = None) -> Item:  # noqa: A003
        """
        Wait for the next item.

        timeout: seconds. Raises TimeoutError when they are over, StopIteration at the end, or the
        producer's error.
        """
        try:
            item = self._queue.get(timeout=None if timeout is None else max(timeout, 0.0))
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(item, _End):
            self._queue.put(_End(None))  # for the next call
            raise item.error or StopIteration
        return item

    def __next__(self) -> Item:
        return self.next()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the producer has ended; return False after `timeout`."""
        return self._ended.wait(timeout)


class _End:
    """Last item of a queue."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
