# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from vlm_npu_ros.cli.dialogue import ChatAnswer, rates
from vlm_npu_ros.engine.types import FinishReason, GenerationFigures

FIGURES = GenerationFigures(64, 80, 21, 0.5, 2.0)


def test_rates() -> None:
    assert rates(FIGURES) == (160.0, 10.0)
    assert rates(GenerationFigures(0, 8, 0, 0.0, 0.0)) == (8.0, 0.0)


def test_line_of_figures() -> None:
    line = ChatAnswer('q', 'a', FinishReason.EOS, 0.1234, FIGURES, 12.0).describe()
    assert line.startswith('first token 123 ms, 80 tokens read at 160/s, 21 written at 10/s, mem')
    nothing = ChatAnswer('q', '', FinishReason.CANCELLED, None, None).describe()
    assert nothing == ''
    looped = ChatAnswer('q', 'a a a', FinishReason.REPETITION, None, None).describe()
    assert looped == 'cut, because it repeated itself'


def test_only_an_answer_that_ended_by_itself_is_whole() -> None:
    answers = [ChatAnswer('q', 'a', reason, None, None) for reason in FinishReason]
    whole = {answer.finish_reason for answer in answers if answer.is_whole}
    assert whole == {
        FinishReason.EOS, FinishReason.LENGTH, FinishReason.STOP, FinishReason.REPETITION
    }
