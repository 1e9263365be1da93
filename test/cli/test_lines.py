# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from vlm_npu_ros.cli.lines import Line, read_line


@pytest.mark.parametrize('text, question, found, path', [
    ('what is it?', 'what is it?', '', None),
    ('clear', '', 'clear', None),
    (' exit ', '', 'exit', None),
    ('is the path clear', 'is the path clear', '', None),
    ('<clear> what?', 'what?', 'clear', None),
    ('bye <exit>', 'bye', 'exit', None),
    ('<image>', '', 'image', None),
    ('<image> what is it?', 'what is it?', 'image', None),
    ('<image> b.png what is it?', 'what is it?', 'image', 'b.png'),
    ('what is on <image>b.JPG now?', 'what is on now?', 'image', 'b.JPG'),
    ('<clear> <image> c.mp4', '', 'clear image', 'c.mp4'),
    ('<image> "two words" what?', 'what?', 'image', 'two words'),
    ("<image> 'b 1.png'", '', 'image', 'b 1.png'),
    ('<IMAGE> what?', '<IMAGE> what?', '', None),
])
def test_lines(text: str, question: str, found: str, path: str | None) -> None:
    line = Line(question, frozenset(found.split()), Path(path) if path else None)
    assert read_line(text) == line


def test_addresses() -> None:
    line = read_line('<image> http://camera/snapshot?channel=1 what is there?')
    assert line.source == 'http://camera/snapshot?channel=1'
    assert line.question == 'what is there?'


def test_a_file_needs_no_known_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_line('<image> snapshot what?').source is None
    (tmp_path / 'snapshot').touch()
    assert read_line('<image> snapshot what?').source == Path('snapshot')


def test_home_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    assert read_line('<image> ~/b.png').source == tmp_path / 'b.png'
