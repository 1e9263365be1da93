"""What is printed: answers to standard output, all else to standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
import os
import sys
from typing import Any, ContextManager

from vlm_npu_ros.engine.errors import VlmError

Push = Callable[[str], None]


class Screen:
    """
    The terminal, or what stands in for it.

    Where it is a terminal and rich is installed, answers are rendered as Markdown while they
    come, and waiting is shown; else there is plain text only.
    """

    def __init__(self, quiet: bool = False, hide_answers: bool = False) -> None:
        self._quiet = quiet
        self._hide_answers = hide_answers
        self._out, self._err = _console(sys.stdout), _console(sys.stderr)

    def note(self, text: str) -> None:
        """Print a line that nobody has to read."""
        if self._quiet:
            return
        if self._err:
            self._err.print(text, style='dim', soft_wrap=True)
        else:
            print(text, file=sys.stderr)

    def error(self, error: VlmError) -> None:
        """Print what went wrong."""
        print(f'vlm-npu: {error}', file=sys.stderr)

    def busy(self, doing: str) -> ContextManager[object]:
        """Show what is being done until it is done."""
        if self._quiet or not self._err:
            return nullcontext()
        status: ContextManager[object] = self._err.status(f'{doing} ...')
        return status

    @contextmanager
    def counted(self, doing: str, count: int) -> Iterator[Callable[[], object]]:
        """Show how much of something is done; yield what to call after each of count parts."""
        if self._quiet or not self._err or count < 2:
            yield lambda: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = ('{task.description}', BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._err, transient=True) as progress:
            task = progress.add_task(doing, total=count)
            yield lambda: progress.advance(task)

    def answer(self) -> ContextManager[Push]:
        """Yield what to call with each piece of an answer."""
        if self._hide_answers:
            return nullcontext(lambda piece: None)
        if not self._out:
            return _plain()
        from vlm_npu_ros.cli.markdown import live_markdown

        return live_markdown(self._out)


def _console(stream: Any) -> Any:
    """Return a console of rich for a terminal that can move its cursor, else None."""
    if not stream.isatty() or os.environ.get('TERM', 'dumb') == 'dumb':
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, highlight=False, markup=False, emoji=False)


@contextmanager
def _plain() -> Iterator[Push]:
    try:
        yield lambda piece: print(piece, end='', flush=True)
    finally:
        print()
