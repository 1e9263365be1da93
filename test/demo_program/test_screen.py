# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What the demo shows in the terminal."""

from __future__ import annotations

import re

import pytest
from screen import DemoScreen


def test_an_answer_is_shown_as_it_grows(capsys: pytest.CaptureFixture[str]) -> None:
    screen = DemoScreen()
    screen.question('service', 'what is [bold]there?')
    shown = []
    for answer in ('', 'It', 'It', 'It is :red_circle:', 'It', 'It is :red_circle: red.'):
        screen.stream(answer)
        shown.append(capsys.readouterr().out)
    assert shown[0].startswith('  service what is [bold]there?\n')
    assert shown[0].endswith(' ')
    assert shown[1:] == ['It', '', ' is :red_circle:', '', ' red.']


def test_a_step_shows_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    with DemoScreen().step('Loading', 'Loaded'):
        pass
    assert re.search(r'✓ Loaded  \d+\.\d s\n', capsys.readouterr().out)


def test_a_step_that_fails_is_not_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), DemoScreen().step('Loading', 'Loaded'):
        raise RuntimeError
    assert 'Loaded' not in capsys.readouterr().out
