# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Lines that somebody types: questions with commands in them, and their history."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
import os
from pathlib import Path
import re
import sys

from vlm_npu_ros.cli.views import is_viewable
from vlm_npu_ros.engine.conversation import commands
from vlm_npu_ros.engine.share import home_dir
from vlm_npu_ros.engine.sources import Source, source_of

_IMAGE = re.compile(r'<image>\s*(?:"([^"]+)"|\'([^\']+)\'|(\S+))')
_BARE_WORDS = ('clear', 'exit')
_LENGTH = 1000  # lines of the history


@dataclass(frozen=True)
class Line:
    """
    What a line asks for.

    question: without commands; may be ''.
    found: commands: image, clear, exit.
    source: named by <image>; None = what is looked at already.
    """

    question: str
    found: frozenset[str] = frozenset()
    source: Source | None = None


def read_line(text: str) -> Line:
    """
    Take a line apart.

    What follows <image> is meant by it if it is quoted, an address or a file, or ends as pictures
    and videos do.
    """
    if text.strip() in _BARE_WORDS:
        return Line('', frozenset([text.strip()]))
    source = None
    match = _IMAGE.search(text)
    if match:
        named = source_of(os.path.expanduser(match[1] or match[2] or match[3]))
        if match[3] is None or is_viewable(named):
            source = named
            text = f'{text[:match.start()]}<image>{text[match.end():]}'
    question, found = commands(text)
    return Line(question.strip(), found, source)


def is_typed() -> bool:
    """Return whether a person types and sees what is printed."""
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
    state = os.environ.get('XDG_STATE_HOME') or home_dir() / '.local/state'
    path = Path(os.path.expanduser(state), 'vlm-npu', 'history')
    readline.set_history_length(_LENGTH)
    with suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        # A history that cannot be kept must not fail the program.
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)
