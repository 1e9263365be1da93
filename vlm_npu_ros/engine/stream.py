"""From one thread to another, item by item."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import queue
import threading
from typing import Generic, TypeVar

Item = TypeVar('Item')


class Stream(Iterator[Item], Generic[Item]):
    """
    What one thread makes and another one uses.

        tokens: Stream[str] = Stream()
        tokens.run(lambda: model.write(prompt), 'writer')
        first = tokens.next(timeout=10.0)
        rest = list(tokens)

    The maker calls `put` for each item and then `end`; the user iterates, or calls `next`.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Item | _End] = queue.SimpleQueue()
        self._ended = threading.Event()

    def put(self, item: Item) -> None:
        """Hand an item over; may be called from native code and from a signal handler."""
        self._queue.put(item)

    def end(self, error: BaseException | None = None) -> None:
        """Hand over that there is nothing more, or the error that is the reason."""
        self.cut(error)
        self._ended.set()

    def cut(self, error: BaseException | None = None) -> None:
        """End it for the user alone: what the maker still puts is lost."""
        self._queue.put(_End(error))

    def run(self, make: Callable[[], Iterable[Item]], name: str) -> None:
        """Put what `make` yields, in a thread of this name, and end with it."""
        def work() -> None:
            error = None
            try:
                for item in make():
                    self.put(item)
            except BaseException as raised:  # noqa: B902
                error = raised
            self.end(error)

        threading.Thread(target=work, name=name, daemon=True).start()

    def next(self, timeout: float | None = None) -> Item:
        """
        Wait for the next item.

        timeout: seconds. Raises TimeoutError after them, StopIteration at the end, and the
        maker's error in its place.
        """
        try:
            item = self._queue.get(timeout=None if timeout is None else max(timeout, 0.0))
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(item, _End):
            self._queue.put(_End(None))  # for whoever asks again
            raise item.error or StopIteration
        return item

    def __next__(self) -> Item:
        return self.next()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the maker has ended; return whether it has."""
        return self._ended.wait(timeout)


class _End:
    """The last thing in a queue."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
