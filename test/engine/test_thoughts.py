# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Thoughts are told from answers, and tags that end an answer are cut off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from vlm_npu_ros.engine.errors import EmptyAnswerError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.thoughts import answer_of, answer_start, Habits
from vlm_npu_ros.engine.types import (
    Chunk,
    FinishReason,
    GenerationFigures,
    GenerationRequest,
)

FREE = GenerationRequest('what is it?', ())
TYPED = GenerationRequest('is it wet?', (), choices=('yes', 'no'))
EOS, LENGTH = FinishReason.EOS, FinishReason.LENGTH


def written(pieces: list[str | Chunk], reason: FinishReason = EOS) -> Iterator[Chunk]:
    for piece in pieces:
        yield piece if isinstance(piece, Chunk) else Chunk(piece)
    yield Chunk('', reason, GenerationFigures(0, 9, len(pieces), 0.1, 0.1))


def read(
    pieces: list[str | Chunk], request: GenerationRequest = FREE, unopened: bool | None = None,
    reason: FinishReason = EOS,
) -> tuple[str, str]:
    """Return text and thought as a reader has them at the end."""
    text = thought = ''
    for chunk in answer_of(written(pieces, reason), request, Habits(unopened), Cancellation()):
        thought += text * chunk.retracts + chunk.thought
        text = chunk.text if chunk.retracts else text + chunk.text
    return text, thought


@pytest.mark.parametrize(
    ('said', 'text', 'thought'),
    [
        ('a cup', 'a cup', ''),
        ('<think>\nblue?\n</think>\n\na cup', 'a cup', '\nblue?\n'),
        ('<THINKING>blue?</THINKING> a cup', 'a cup', 'blue?'),
        ('[THINK]blue?[/THINK]a cup', 'a cup', 'blue?'),
        ('◁think▷blue?◁/think▷a cup', 'a cup', 'blue?'),
        ('<|begin_of_thought|>blue?<|end_of_thought|>a cup', 'a cup', 'blue?'),
        ('<seed:think>blue?</seed:think>a cup', 'a cup', 'blue?'),
        ('<|channel>thought\nblue?<channel|>a cup', 'a cup', '\nblue?'),
        ('<|channel>thought\n<channel|>a cup', 'a cup', '\n'),
        ('<think></think>a cup', 'a cup', ''),
        ('blue?\n</think>\n\na cup', 'a cup', 'blue?\n'),  # the prompt has opened it
        ('</think>a cup', 'a cup', ''),
        ('<think>one</think>a <think>two</think>cup', 'a cup', 'onetwo'),
        ('a cup<|im_end|>', 'a cup', ''),
        ('a cup<end_of_turn>\n', 'a cup', ''),
        ('a cup<|eot_id|><|start_header_id|>user', 'a cup', ''),
        ('a cup<｜end▁of▁sentence｜>', 'a cup', ''),
        ('a cup</s></think>more', 'a cup', ''),
        ('<think>blue?</think>a cup<turn|>and <think>', 'a cup', 'blue?'),
        (' <b>a</b> <table> [1, 2] x<y [TH] 3 < 4 <', ' <b>a</b> <table> [1, 2] x<y [TH] 3 < 4 <',
         ''),
        ('I think </b> it is [THINKING]', 'I think </b> it is [THINKING]', ''),
    ],
)
def test_what_is_a_thought(said: str, text: str, thought: str) -> None:
    for size in (1, 2, 3, 7, len(said)):
        pieces: list[str | Chunk] = [said[i:i + size] for i in range(0, len(said), size)]
        for unopened in (None, False, True):
            for request in (FREE, TYPED):
                found = read(pieces, request, unopened)
                if found[1] != thought:
                    # It was held back as what may be a thought, but nothing ended one.
                    assert not thought and (unopened or request is TYPED) and text in found[1]
                assert found[0] == text, (size, unopened)


def test_thoughts_that_the_backend_tells_apart() -> None:
    for unopened in (None, True):
        pieces = [Chunk('', thought='Blue'), Chunk('', thought='?'), '\n a cup', ' of tea']
        assert read(pieces, TYPED, unopened) == ('a cup of tea', 'Blue?')
    assert read([Chunk('a', thought='b'), Chunk('c')]) == ('ac', 'b')


def test_first_choice_waits_for_the_end_and_free_text_does_not() -> None:
    habits = Habits(None)
    first, *_ = answer_of(written(['no', ', it']), FREE, habits, Cancellation())
    assert first.text == 'no' and habits.unopened is False
    habits = Habits(None)
    chunks = list(answer_of(written(['no', '</think>', 'yes']), TYPED, habits, Cancellation()))
    assert [chunk.text for chunk in chunks if chunk.text] == ['yes'] and habits.unopened
    # It is known now: nothing of a thought is text, and nothing is retracted.
    chunks = list(answer_of(written(['no', '</think>', 'yes']), FREE, habits, Cancellation()))
    assert not any(chunk.retracts for chunk in chunks)
    assert [chunk.text for chunk in chunks if chunk.text] == ['yes']


def test_long_answers_without_an_end_of_thoughts_are_not_waited_for_again_and_again() -> None:
    habits = Habits(None)
    held = []
    for _ in range(4):
        first, *_ = answer_of(written(['no', ', it'], LENGTH), TYPED, habits, Cancellation())
        held.append(not first.text)
    assert held == [True, True, True, False]


def test_late_end_of_a_thought_retracts_what_was_text() -> None:
    chunks = list(answer_of(written(['Hm.', '</think>', 'a cup']), FREE, Habits(None),
                            Cancellation()))
    assert [(chunk.text, chunk.retracts) for chunk in chunks] == [
        ('Hm.', False), ('', True), ('a cup', False), ('', False),
    ]
    assert chunks[-1].figures and chunks[-1].figures.thought_tokens == 1


@pytest.mark.parametrize(
    ('pieces', 'reason', 'says'),
    [
        ([], EOS, 'ended without an answer'),
        ([' ', '\n'], EOS, 'ended without an answer'),
        (['<|im_end|>'], EOS, 'ended without an answer'),
        (['<think>', 'so', ' so'], LENGTH, 'up to max_new_tokens: about 2 .*openai.thinking'),
        (['<think>', 'so', '</think>', '\n'], EOS, 'only thought and then ended'),
        ([Chunk('', thought='so')] * 5, LENGTH, 'about 5 tokens of thoughts'),
    ],
)
def test_nothing_is_an_error(
    pieces: list[str | Chunk], reason: FinishReason, says: str
) -> None:
    for request in (FREE, TYPED):
        with pytest.raises(EmptyAnswerError, match=says):
            read(pieces, request, reason=reason)


def test_known_thinker_that_reaches_no_end_has_no_answer() -> None:
    with pytest.raises(EmptyAnswerError, match='only thought'):
        read(['so', ' so'], TYPED, True, LENGTH)


def test_cancelled_answer_may_be_empty() -> None:
    *_, last = answer_of(written([], FinishReason.CANCELLED), FREE, Habits(None), Cancellation())
    assert last.finish_reason is FinishReason.CANCELLED


def test_model_that_writes_on_behind_its_end_is_stopped() -> None:
    stop = Cancellation()

    def endless() -> Iterator[Chunk]:
        yield Chunk('a cup<|im_')
        yield Chunk('end|>')
        assert not stop.is_set()  # the figures may be on their way
        while not stop.is_set():
            yield Chunk('user')
        yield Chunk('', FinishReason.CANCELLED)

    chunks = list(answer_of(endless(), FREE, Habits(False), stop))
    assert ''.join(chunk.text for chunk in chunks) == 'a cup'
    assert chunks[-1].finish_reason is FinishReason.STOP


def test_start_of_the_answer_in_a_whole_text() -> None:
    assert answer_start('a cup') == 0
    assert answer_start('<think>a</think> b </think>cup') == len('<think>a</think> b </think>')
