from __future__ import annotations

import pytest
from vlm_npu_ros.cli.answer import Answer, rates
from vlm_npu_ros.engine.types import FinishReason, GenerationFigures

FIGURES = GenerationFigures(64, 80, 21, 0.5, 2.0)


def test_rates() -> None:
    assert rates(FIGURES) == (160.0, 10.0)
    assert rates(GenerationFigures(0, 8, 0, 0.0, 0.0)) == (8.0, 0.0)


def test_line_of_figures() -> None:
    line = Answer('q', 'a', FinishReason.EOS, 0.1234, FIGURES).describe()
    assert line.startswith('first token 123 ms, 80 tokens read at 160/s, 21 written at 10/s, mem')
    nothing = Answer('q', '', FinishReason.CANCELLED, None, None).describe()
    assert nothing.startswith('memory ')


@pytest.mark.parametrize('reason, whole', [
    (FinishReason.EOS, True), (FinishReason.LENGTH, True), (FinishReason.STOP, True),
    (FinishReason.CANCELLED, False), (FinishReason.TIMEOUT, False), (FinishReason.ERROR, False),
])
def test_only_an_answer_that_ended_by_itself_is_whole(reason: FinishReason, whole: bool) -> None:
    assert Answer('q', 'a', reason, None, None).is_whole is whole
