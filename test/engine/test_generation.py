# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading

import pytest
from vlm_npu_ros.engine.errors import BackendCrashedError, CancelledError, RequestError
from vlm_npu_ros.engine.generation import Cancellation, StreamedGeneration
from vlm_npu_ros.engine.stream import Stream
from vlm_npu_ros.engine.types import Chunk, FinishReason

PATIENCE = 30.0  # seconds; only a broken test waits this long
LAST = Chunk('', FinishReason.EOS)
CANCELLED = Chunk('', FinishReason.CANCELLED)


def test_cancellation_calls_back_once_and_at_once_if_it_is_late() -> None:
    cancelled, calls = Cancellation(), list[str]()
    cancelled.add_callback(lambda: calls.append('early'))
    assert not cancelled.is_set() and not cancelled.wait(0.0) and calls == []
    cancelled.set()
    cancelled.set()
    cancelled.add_callback(lambda: calls.append('late'))
    assert cancelled.is_set() and cancelled.wait(PATIENCE) and calls == ['early', 'late']


def test_cancellation_is_set_by_its_cause_and_not_the_other_way_round() -> None:
    cause = Cancellation()
    first, second = Cancellation(cause), Cancellation(cause)
    first.set()
    assert not cause.is_set() and not second.is_set()
    cause.set()
    assert second.is_set() and Cancellation(cause).is_set()


def test_cancellation_may_be_set_while_it_calls_back() -> None:
    """As a signal handler does that interrupts another call."""
    cancelled, calls = Cancellation(), list[int]()
    cancelled.add_callback(cancelled.set)
    cancelled.add_callback(lambda: calls.append(1))
    cancelled.set()
    assert calls == [1]


def test_cancellation_ends_a_wait() -> None:
    cancelled = Cancellation()
    waiting = threading.Thread(target=cancelled.wait, args=(PATIENCE,))
    waiting.start()
    cancelled.set()
    waiting.join(PATIENCE / 2)
    assert not waiting.is_alive()


class Writer:
    """Begins answers, and fails as it is told to."""

    def __init__(self, *chunks: Chunk, error: Exception | None = None) -> None:
        self.chunks, self.error, self.begun = chunks, error, 0

    def __call__(
        self, chunks: Stream[Chunk], cancelled: Cancellation, timeout: float | None
    ) -> None:
        """Put all chunks, or fail."""
        self.begun += 1
        error, self.error = self.error, None
        if error:
            raise error
        for chunk in self.chunks:
            chunks.put(chunk)
        chunks.end()


def test_generation_ends_with_the_chunk_that_has_a_reason() -> None:
    generation = StreamedGeneration(Writer(Chunk('a'), LAST, Chunk('garbage')))
    assert list(generation) == [Chunk('a'), LAST]
    assert list(generation) == []
    assert generation.join(PATIENCE)


def test_generation_without_a_last_chunk_is_a_crash() -> None:
    generation = StreamedGeneration(Writer(Chunk('a')))
    assert next(generation) == Chunk('a')
    with pytest.raises(BackendCrashedError, match='without saying why'):
        next(generation)
    assert list(generation) == []


def test_generation_that_could_not_begin_in_time_is_begun_again() -> None:
    writer = Writer(LAST, error=TimeoutError())
    generation = StreamedGeneration(writer)
    with pytest.raises(TimeoutError):
        generation.next(0.1)
    assert generation.next(0.1) == LAST and writer.begun == 2


def test_generation_that_cannot_begin_ends_with_the_error() -> None:
    generation = StreamedGeneration(Writer(error=RequestError('no')))
    with pytest.raises(RequestError):
        next(generation)
    assert list(generation) == [] and generation.join(0)


def test_cancel_while_it_waits_to_begin() -> None:
    def begin(chunks: Stream[Chunk], cancelled: Cancellation, timeout: float | None) -> None:
        generation.cancel()
        raise CancelledError('the engine does not answer any more')

    generation = StreamedGeneration(begin)
    assert list(generation) == [CANCELLED]
    assert generation.join(0)


def test_what_was_written_before_a_cancel_is_still_read() -> None:
    writer = Writer(Chunk('a'), Chunk('b'), Chunk('c'))
    generation = StreamedGeneration(writer)
    assert next(generation) == Chunk('a')
    generation.cancel()
    assert generation.next(PATIENCE) == Chunk('b')
