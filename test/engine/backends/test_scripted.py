# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable

from answers import chunks_of, text, text_of
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from vlm_npu_ros.engine.backends import scripted
from vlm_npu_ros.engine.backends.scripted import (
    ScriptedEncoder,
    ScriptedLanguageModel,
    ScriptedTimings,
)
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.types import FinishReason, GenerationRequest, ImageEmbedding

PICTURE = np.full((6, 8, 3), (10, 20, 30), np.uint8)


def request(
    question: str = 'what is there?', images: int = 0, max_new_tokens: int = 256,
) -> GenerationRequest:
    embedding = ImageEmbedding(np.zeros((64, 1, 3), np.float32), 0.0)
    return GenerationRequest(question, (embedding,) * images, max_new_tokens)


class Clock:
    """Time that passes only while something waits; may call back after a wait."""

    def __init__(self) -> None:
        self.now = 0.0
        self.after_wait: Callable[[], None] = lambda: None

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.after_wait()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(scripted, 'time', clock)
    return clock


class TimedCancellation(Cancellation):
    """One whose waits are the clock's."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, seconds: float) -> bool:
        self._clock.sleep(seconds)
        return self.is_set()


def test_encodes_the_mean_colour() -> None:
    picture = PICTURE.copy()
    picture[:, :4] += 100
    embedding = ScriptedEncoder(ScriptedTimings(image_tokens=5)).encode(picture)
    assert embedding.shape == (5, 1, 3)
    assert embedding.dtype == np.float32
    assert embedding.flags.c_contiguous
    np.testing.assert_allclose(embedding[:, 0], [[60, 70, 80]] * 5)


@pytest.mark.parametrize('picture', [
    PICTURE[:0],
    PICTURE[:, :, 0],
    PICTURE[:, :, :2],
    PICTURE.astype(np.float32),
], ids=lambda picture: f'{picture.shape} {picture.dtype}')
def test_bad_picture_is_an_error(picture: np.ndarray) -> None:
    with pytest.raises(ImageError, match='An image must be height x width x 3'):
        ScriptedEncoder().encode(picture)


def test_encoding_takes_its_time(clock: Clock) -> None:
    ScriptedEncoder(ScriptedTimings(encode_seconds=1.5)).encode(PICTURE)
    assert clock.now == 1.5


def test_prefill_and_decode_take_their_time(clock: Clock) -> None:
    timings = ScriptedTimings(prefill_rate=100, decode_rate=4)
    model = ScriptedLanguageModel(['one two three'], timings)
    chunks = []
    times = []
    for chunk in model.generate(request(images=2), TimedCancellation(clock)):
        chunks.append(chunk)
        times.append(clock.now)
    assert text(chunks) == 'one two three'
    # 2 x 64 image tokens and 3 words; the first word comes out of the prefill.
    assert times == pytest.approx([1.31, 1.56, 1.81, 1.81])
    figures = chunks[-1].figures
    assert (figures.image_tokens, figures.prompt_tokens, figures.new_tokens) == (128, 131, 3)
    assert figures.prefill_seconds == pytest.approx(1.31)
    assert figures.decode_seconds == pytest.approx(0.5)


def test_takes_no_time_unless_told(clock: Clock) -> None:
    ScriptedEncoder().encode(PICTURE)
    assert text_of(ScriptedLanguageModel(['one two']), request(images=1)) == 'one two'
    assert clock.now == 0


def test_answers_in_turn() -> None:
    model = ScriptedLanguageModel(['one', 'two'])
    assert [text_of(model, request()) for _ in range(3)] == ['one', 'two', 'one']


def test_answers_by_question() -> None:
    model = ScriptedLanguageModel({'is it red?': 'Yes.', 'is it blue?': 'No.'})
    questions = ['is it blue?', 'is it red?', 'is it late?']
    assert [text_of(model, request(q)) for q in questions] == ['No.', 'Yes.', '']


def test_no_answers_at_all_make_empty_ones() -> None:
    chunks = chunks_of(ScriptedLanguageModel([]), request())
    assert text(chunks) == ''
    assert [chunk.finish_reason for chunk in chunks] == [FinishReason.EOS]


@given(st.text(st.sampled_from('ab é\n\t')))
def test_words_make_up_the_answer(answer: str) -> None:
    chunks = chunks_of(ScriptedLanguageModel([answer]), request())
    assert text(chunks) == (answer if answer.strip() else '')
    assert len(chunks) == len(answer.split()) + 1
    assert [bool(chunk.finish_reason) for chunk in chunks] == [False] * len(chunks[1:]) + [True]
    assert [chunk.figures is None for chunk in chunks] == [True] * len(chunks[1:]) + [False]


@pytest.mark.parametrize('waits, answer', [(1, ''), (2, 'one'), (3, 'one two')])
def test_cancel_ends_the_wait_it_falls_into(waits: int, answer: str, clock: Clock) -> None:
    model = ScriptedLanguageModel(
        ['one two three', 'four'], ScriptedTimings(prefill_rate=1, decode_rate=1),
    )
    count, cancelled = 0, TimedCancellation(clock)

    def cancel() -> None:
        nonlocal count
        count += 1
        if count == waits:
            cancelled.set()

    clock.after_wait = cancel
    chunks = list(model.generate(request(), cancelled))
    assert text(chunks) == answer
    assert chunks[-1].finish_reason is FinishReason.CANCELLED
    assert chunks[-1].figures.new_tokens == len(answer.split())
    assert text_of(model, request()) == 'four'
