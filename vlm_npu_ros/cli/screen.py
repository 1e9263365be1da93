# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What is printed: answers to standard output, everything else to standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
import os
import re
import sys
from typing import Any, ContextManager, TYPE_CHECKING

from vlm_npu_ros.engine.errors import VlmError

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

Push = Callable[[str], None]
# Code, which shows everything as it is, or a '<', with which HTML that would vanish begins.
_CODE_OR_TAG = re.compile(r'(```.*?(?:```|\Z)|`[^`\n]*`)|<', re.DOTALL)
_REFRESHES = 12  # a second


class ChatScreen:
    """
    The terminal, or what stands in for it.

    On a terminal and with rich installed, answers are rendered as Markdown while they come, and
    waiting is shown; otherwise there is only plain text.
    """

    def __init__(self, quiet: bool = False, hide_answers: bool = False) -> None:
        self._quiet = quiet
        self._hide_answers = hide_answers
        self._out, self._err = _console(sys.stdout), _console(sys.stderr)

    def note(self, text: str) -> None:
        """Print a line that is not part of an answer."""
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
        """Show how much is done; yields what to call after each of `count` parts."""
        if self._quiet or not self._err or count < 2:
            yield lambda: None
            return
        from rich.progress import BarColumn, Progress, TimeRemainingColumn

        counts = '{task.completed:.0f}/{task.total:.0f}'
        columns = ('{task.description}', BarColumn(), counts, TimeRemainingColumn())
        with Progress(*columns, console=self._err, transient=True) as progress:
            task = progress.add_task(doing, total=count)
            yield lambda: progress.advance(task)

    @contextmanager
    def transferred(self, name: str, have: int, total: int) -> Iterator[Callable[[int], object]]:
        """Show how much of a file has come, in bytes; yields what to call with each further."""
        if self._quiet or not self._err:
            yield lambda count: None
            return
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = ('{task.description}', BarColumn(), DownloadColumn(), TransferSpeedColumn(),
                   TimeRemainingColumn())
        with Progress(*columns, console=self._err) as progress:
            task = progress.add_task(name, total=total, completed=have)
            yield lambda count: progress.advance(task, count)

    def answer(self) -> ContextManager[Push]:
        """Begin an answer; yields what to call with each piece."""
        if self._hide_answers:
            return nullcontext(lambda piece: None)
        return live_markdown(self._out) if self._out else _plain()


def _console(stream: Any) -> Any:
    """Return a rich console for a terminal that can move its cursor, otherwise None."""
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


@contextmanager
def live_markdown(console: Console) -> Iterator[Push]:
    """Render an answer as Markdown while it comes; yields what to call with each piece."""
    from rich.live import Live

    text = ''
    # The stream of figures and errors does not belong to this console.
    with Live(
        console=console, refresh_per_second=_REFRESHES, redirect_stderr=False
    ) as live:
        def push(piece: str) -> None:
            nonlocal text
            text += piece
            # What has scrolled off cannot change any more.
            live.update(_Rendered(text, console.size.height - 1))

        try:
            yield push
        finally:
            live.update(_Rendered(text))


class _Rendered:
    """Text as Markdown; `last` limits it to so many of its last lines, 0 = all."""

    def __init__(self, text: str, last: int = 0) -> None:
        from rich.markdown import Markdown

        shown = _CODE_OR_TAG.sub(lambda match: match[1] or r'\<', text)
        self._markdown, self._last = Markdown(shown), last

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        lines = console.render_lines(self._markdown, options, pad=False)[-self._last:]
        for line in lines:
            yield from line
            yield Segment.line()
