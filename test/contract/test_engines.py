# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What every engine does: in this process, in a process of its own, and a chain of either."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
import threading

from answers import text
import numpy as np
import pytest
from vlm_npu_ros.engine.backends.scripted import ScriptedSettings
from vlm_npu_ros.engine.breaker import Breaker
from vlm_npu_ros.engine.errors import ContextError, ImageError, InactiveError, RequestError
from vlm_npu_ros.engine.fallback import FallbackEngine
from vlm_npu_ros.engine.generation import Cancellation, Generation
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.isolated import IsolatedEngine
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.member import Member
from vlm_npu_ros.engine.process import StageLimits
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import (
    Chunk,
    DecidedBy,
    FinishReason,
    GenerationRequest,
    NOTHING_READ,
    Turn,
    Verdict,
)

PATIENCE = 30.0  # seconds; only a broken test waits this long
PICTURE = np.full((48, 64, 3), 90, np.uint8)
CANCELLED = FinishReason.CANCELLED
# The first word comes at once; waiting for the second one takes longer than a test may.
SETTINGS = EngineSettings('scripted', read_ahead=True, options=ScriptedSettings(
    decode_rate=1 / (4 * PATIENCE), context=300, answers=('Yes, it is',)
))
SLOW = replace(SETTINGS, options=replace(SETTINGS.options, prefill_rate=1 / PATIENCE))


def isolated(settings: EngineSettings) -> Engine:
    return IsolatedEngine(settings, limits=StageLimits(100.0))


def chain_of(make: Callable[[EngineSettings], Engine], settings: EngineSettings) -> Engine:
    members = [Member(name, partial(make, settings), Breaker()) for name in 'ab']
    return FallbackEngine(members, PATIENCE)


MAKERS: dict[str, Callable[[EngineSettings], Engine]] = {
    'local': load_engine,
    'isolated': isolated,
    'chain of local': partial(chain_of, load_engine),
    'chain of isolated': partial(chain_of, isolated),
}


@pytest.fixture(scope='module', params=MAKERS)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = MAKERS[request.param](SETTINGS)
    engine.load()
    yield engine
    engine.close()
    engine.close()


def asking(engine: Engine, limit: int = 100) -> GenerationRequest:
    """Make a request; with a limit of 1 it is answered at once, else never in time."""
    return GenerationRequest('is it free?', (engine.encode(PICTURE),), limit)


def begin(engine: Engine) -> Generation:
    generation = engine.generate(asking(engine))
    assert generation.next(PATIENCE).text == 'Yes,'
    return generation


def check_next(engine: Engine) -> None:
    """Assert that the engine answers the next question as if nothing had been."""
    assert engine.answer(asking(engine, 1)) == 'Yes,'


class Reader:
    """Reads a generation in a thread of its own."""

    def __init__(self, pool: ThreadPoolExecutor, generation: Generation) -> None:
        self.first = threading.Event()
        self._generation = generation
        self._chunks: Future[list[Chunk]] = pool.submit(self._read)

    def _read(self) -> list[Chunk]:
        chunks = []
        for chunk in self._generation:
            chunks.append(chunk)
            self.first.set()
        return chunks

    def chunks(self) -> list[Chunk]:
        """Wait for the end and return all chunks, or raise its error."""
        return self._chunks.result(PATIENCE)


def test_engine_tells_about_itself(engine: Engine) -> None:
    assert engine.model_name == 'scripted' and engine.context == 300
    assert engine.is_ready and not engine.failure and engine.restarts == 0
    assert engine.memory >= 0
    assert [member.name for member in engine.members] in ([], ['a', 'b'])


def test_last_chunk_alone_has_a_reason_and_figures(engine: Engine) -> None:
    for _ in range(3):
        first, last = engine.generate(asking(engine, 1))
        assert (first.text, first.finish_reason, first.figures) == ('Yes,', None, None)
        assert (last.text, last.finish_reason) == ('', FinishReason.LENGTH)
        assert last.figures and (last.figures.image_tokens, last.figures.new_tokens) == (64, 1)


def test_answer_to_a_choice_says_what_decided(engine: Engine) -> None:
    request = GenerationRequest('is it free?', (), 1, choices=('yes', 'no'))
    *pieces, last = engine.generate(request)
    assert ''.join(piece.text for piece in pieces).startswith('Yes,')
    assert last.verdict == Verdict(0, decided_by=DecidedBy.WORDS)


def test_reader_that_does_not_want_to_wait(engine: Engine) -> None:
    with begin(engine) as generation:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                generation.next(timeout=0.01)
        generation.cancel()
        last = generation.next(timeout=PATIENCE)
        assert (last.text, last.finish_reason) == ('', CANCELLED)
        with pytest.raises(StopIteration):
            generation.next(timeout=PATIENCE)


def test_cancel_before_the_beginning_is_not_lost(engine: Engine) -> None:
    generation = engine.generate(asking(engine))
    generation.cancel()
    assert list(generation) == [Chunk('', CANCELLED)]
    assert generation.join(PATIENCE)
    check_next(engine)


def test_cancel_from_another_thread_ends_the_answer_at_once(
    engine: Engine, pool: ThreadPoolExecutor
) -> None:
    generation = engine.generate(asking(engine))
    reader = Reader(pool, generation)
    assert reader.first.wait(PATIENCE)
    generation.cancel()
    generation.cancel()
    first, last = reader.chunks()
    assert (first.text, last.text, last.finish_reason) == ('Yes,', '', CANCELLED)
    assert generation.join(PATIENCE)
    check_next(engine)


def test_cancel_while_another_answer_is_written(engine: Engine, pool: ThreadPoolExecutor) -> None:
    request = asking(engine)
    first = begin(engine)
    waiting = [engine.generate(request) for _ in range(3)]
    readers = [Reader(pool, generation) for generation in waiting]
    for generation in waiting:
        generation.cancel()
    for reader in readers:
        assert [chunk.finish_reason for chunk in reader.chunks()] == [CANCELLED]
    with pytest.raises(TimeoutError):
        first.next(timeout=0.01)  # it goes on
    first.cancel()
    assert first.next(PATIENCE).finish_reason is CANCELLED
    check_next(engine)


def test_cancel_after_the_end_meets_nothing(engine: Engine) -> None:
    generation = engine.generate(asking(engine, 1))
    assert text(generation) == 'Yes,'
    following = begin(engine)
    generation.cancel()
    with pytest.raises(TimeoutError):
        following.next(timeout=0.01)
    following.close()
    assert list(generation) == list(following) == []


def test_one_thread_writes_an_answer_here_and_none_for_a_child(engine: Engine) -> None:
    asked = engine.members[0].engine if engine.members else engine
    with begin(engine):
        names = [thread.name for thread in threading.enumerate()]
    writers = [name for name in names if name == 'answer' or name.startswith('ask ')]
    assert writers == ['answer'] * isinstance(asked, LocalEngine)


def test_close_may_come_at_any_time_and_twice(engine: Engine) -> None:
    for generation in (engine.generate(asking(engine)), begin(engine)):
        with generation:
            pass
        generation.close()
        assert list(generation) == []
        assert generation.join(PATIENCE)
    check_next(engine)


def test_errors_are_typed_and_leave_the_engine_usable(engine: Engine) -> None:
    request = asking(engine)
    for bad, error in (
        (GenerationRequest(' ', request.images), RequestError),
        (GenerationRequest('what?', request.images, 0), RequestError),
        (GenerationRequest('what?', request.images, 300), ContextError),
        (GenerationRequest('word ' * 300, request.images), ContextError),
    ):
        generation = engine.generate(bad)
        with pytest.raises(error):
            generation.next(PATIENCE)
        assert list(generation) == []
    for picture in (
        np.zeros((0, 3, 3), np.uint8), np.zeros((3, 3), np.uint8), np.ones((3, 3, 3), np.float32)
    ):
        with pytest.raises(ImageError):
            engine.encode(picture)
    check_next(engine)


def test_what_is_prepared_is_not_read_again(engine: Engine) -> None:
    assert engine.read_ahead.possible and engine.read_ahead.unasked
    request = asking(engine, 1)
    assert engine.prepare(request.images, Cancellation()).prompt_tokens == 64
    assert engine.prepare(request.images, Cancellation()).prompt_tokens == 0
    for turns, prompt, ahead in (((), 3, 64), ((Turn('what?', 'that'),), 5, 0)):
        *_, last = engine.generate(replace(request, turns=turns))
        figures = last.figures
        assert figures and (figures.prompt_tokens, figures.read_ahead_tokens) == (prompt, ahead)
        assert figures.image_tokens == 0
    *_, last = engine.generate(asking(engine, 1))
    assert last.figures and (last.figures.prompt_tokens, last.figures.read_ahead_tokens) == (67, 0)


def test_cancel_ends_reading_ahead_at_once(engine: Engine, pool: ThreadPoolExecutor) -> None:
    image, cancelled = engine.encode(PICTURE), Cancellation()
    with begin(engine):  # what it may wait behind
        reading = pool.submit(engine.prepare, (image,), cancelled)
        cancelled.set()
        assert reading.result(PATIENCE).prompt_tokens in (0, 64)  # it may have been quicker
    assert engine.prepare((image,), cancelled) == NOTHING_READ
    check_next(engine)


@pytest.mark.parametrize('name', MAKERS)
def test_reading_ahead_gives_way(name: str, pool: ThreadPoolExecutor) -> None:
    engine = MAKERS[name](SLOW)
    engine.load()
    image, cancelled = engine.encode(PICTURE), Cancellation()
    reading = pool.submit(engine.prepare, (image,), cancelled)
    question = engine.generate(GenerationRequest('is it free?', (image,), 1))
    with pytest.raises(TimeoutError):
        question.next(0.1)  # it goes on where the reading ends
    assert not reading.done()
    cancelled.set()
    assert reading.result(PATIENCE).prompt_tokens < 64
    question.close()
    engine.close()


def test_several_threads_get_whole_answers(engine: Engine, pool: ThreadPoolExecutor) -> None:
    start = threading.Barrier(4)

    def ask() -> list[str]:
        start.wait(PATIENCE)
        return [engine.answer(asking(engine, 1)) for _ in range(10)]

    askers = [pool.submit(ask) for _ in range(4)]
    assert [asker.result(PATIENCE) for asker in askers] == [['Yes,'] * 10] * 4


def test_request_is_made_to_fit(engine: Engine) -> None:
    images = tuple(engine.encode(PICTURE) for _ in range(4))  # 64 tokens each
    turns = (Turn('one ' * 30, 'two'), Turn('three', 'four'))
    request = GenerationRequest('is it free?', images, 50, turns=turns)
    assert engine.tokens(request) == 4 * 64 + 31 + 2 + 3
    fitted = engine.fit(request)
    assert (fitted.images, fitted.dropped_turns) == ((0, 2, 3), 2)
    assert fitted.request.images == tuple(images[i] for i in fitted.images)
    assert fitted.request.turns == ()
    one = GenerationRequest('is it free?', images[:1], 50, turns=turns)
    assert engine.fit(one).request == one
    assert engine.fit(one, limit=80).request.turns == turns[1:]


def test_pause_ends_the_running_answer(engine: Engine, pool: ThreadPoolExecutor) -> None:
    reader = Reader(pool, engine.generate(asking(engine)))
    assert reader.first.wait(PATIENCE)
    engine.pause()
    assert [chunk.finish_reason for chunk in reader.chunks()] == [None, CANCELLED]
    engine.resume()
    check_next(engine)


def test_restored_embedding_answers(engine: Engine) -> None:
    request = asking(engine, 1)
    engine.restore(request.images[0])
    assert engine.answer(request) == 'Yes,'


@pytest.mark.parametrize('name', MAKERS)
def test_close_ends_what_is_under_way(name: str, pool: ThreadPoolExecutor) -> None:
    engine = MAKERS[name](SETTINGS)
    engine.load()
    request = asking(engine)
    readers = [Reader(pool, engine.generate(request)) for _ in range(3)]
    while not any(reader.first.wait(0.01) for reader in readers):
        pass
    engine.close()
    for reader in readers:
        with pytest.raises(InactiveError):
            reader.chunks()
    engine.close()
    for call in (lambda: engine.generate(request).next(PATIENCE), lambda: engine.encode(PICTURE)):
        with pytest.raises(InactiveError):
            call()
