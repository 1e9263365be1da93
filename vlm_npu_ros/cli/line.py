"""A line that somebody typed: a question with commands in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import re

from vlm_npu_ros.cli.views import is_viewable
from vlm_npu_ros.engine.conversation import commands

_IMAGE = re.compile(r'<image>\s*(?:"([^"]+)"|\'([^\']+)\'|(\S+))')
_BARE_WORDS = ('clear', 'exit')


@dataclass(frozen=True)
class Line:
    """
    What it asks for.

    question: without commands; '' = none.
    found: commands, of image, clear and exit.
    path: that <image> names; None = what is looked at already.
    """

    question: str
    found: frozenset[str] = frozenset()
    path: Path | None = None


def read_line(text: str) -> Line:
    """
    Take a line apart.

    What follows <image> is a path if it is quoted, ends as pictures and videos do or is a file.
    """
    if text.strip() in _BARE_WORDS:
        return Line('', frozenset([text.strip()]))
    path = None
    match = _IMAGE.search(text)
    if match:
        named = Path(match[1] or match[2] or match[3]).expanduser()
        if match[3] is None or is_viewable(named):
            path = named
            text = f'{text[:match.start()]}<image>{text[match.end():]}'
    question, found = commands(text)
    return Line(question.strip(), found, path)
