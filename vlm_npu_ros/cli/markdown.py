"""An answer as Markdown, rendered while it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import re

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment

# Code, which shows everything as it is, or a '<', with which HTML that would vanish begins.
_CODE_OR_TAG = re.compile(r'(```.*?(?:```|\Z)|`[^`\n]*`)|<', re.DOTALL)
_REFRESHES = 12  # a second


@contextmanager
def live_markdown(console: Console) -> Iterator[Callable[[str], None]]:
    """Yield what to call with each piece; at the end the whole answer is there."""
    text = ''
    # Not the stream of figures and errors: it is none of this console's.
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
    """Text as Markdown; last: how many of its lines, 0 = all."""

    def __init__(self, text: str, last: int = 0) -> None:
        shown = _CODE_OR_TAG.sub(lambda match: match[1] or r'\<', text)
        self._markdown, self._last = Markdown(shown), last

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._markdown, options, pad=False)[-self._last:]
        for line in lines:
            yield from line
            yield Segment.line()
