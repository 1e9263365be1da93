# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from io import StringIO
import re

import pytest
from rich.console import Console
from vlm_npu_ros.cli.screen import live_markdown


def shown(*pieces: str, height: int = 30) -> str:
    console = Console(
        file=StringIO(), force_terminal=True, color_system=None, width=40, height=height
    )
    with live_markdown(console) as push:
        for piece in pieces:
            push(piece)
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def last_lines(output: str) -> list[str]:
    """Return the lines that stay: after the last movement of the cursor."""
    kept = re.sub(r'\x1b\[\?25[lh]|\r', '', output.rpartition('\x1b[2K')[2])
    return [line.strip(' •') for line in kept.splitlines() if line.strip()]


@pytest.mark.parametrize('text, line', [
    ('a **bold** word', 'a bold word'),
    ('a <b> tag', 'a <b> tag'),
    ('x < y', 'x < y'),
    ('code `<b>`', 'code <b>'),
    ('[bold]no markup[/bold]', '[bold]no markup[/bold]'),
])
def test_text(text: str, line: str) -> None:
    assert line in shown(text)


def test_code_is_as_it_is() -> None:
    assert '<div> \\' in shown('```\n<div> \\\n```')


def test_pieces_become_one_text() -> None:
    assert last_lines(shown('a **bo', 'ld** ', 'word')) == ['a bold word']


def test_long_answer_is_there_in_full_in_the_end() -> None:
    items = [f'- item {number}\n' for number in range(30)]
    lines = last_lines(shown(*items, height=5))
    assert lines == [item[2:-1] for item in items]


def test_answer_that_fails_midway_is_shown() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=40)
    with pytest.raises(RuntimeError), live_markdown(console) as push:
        push('as far as this')
        raise RuntimeError
    file = console.file
    assert isinstance(file, StringIO)
    assert 'as far as this' in file.getvalue() and file.getvalue().endswith('\x1b[?25h')
