"""Questions as they are typed, with the line editing and history of readline."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
import os
from pathlib import Path
import sys

_LENGTH = 1000


def is_typed() -> bool:
    """Return whether somebody types, and sees it."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def lines() -> Generator[str, None, None]:
    """Yield the lines of standard input that are not blank, with a prompt where one is typed."""
    typed = is_typed()
    with _history() if typed else nullcontext():
        while True:
            try:
                line = input('> ' if typed else '').strip()
            except EOFError:
                if typed:
                    print()
                return
            if line:
                yield line


@contextmanager
def _history() -> Iterator[None]:
    try:
        import readline
    except ImportError:  # a Python built without it
        yield
        return
    state = os.environ.get('XDG_STATE_HOME') or '~/.local/state'
    path = Path(state, 'vlm-npu', 'history').expanduser()
    readline.set_history_length(_LENGTH)
    with suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        # A history that cannot be kept is no reason to fail.
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)
