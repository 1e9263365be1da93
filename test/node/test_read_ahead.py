# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Which frames are read ahead, when, and that no question waits for them in vain."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
import random
import threading

from ahead import EAGER, reading
import numpy as np
import pytest
from shown_frames import ShownFrames
from std_msgs.msg import Header
from vlm_npu_ros.engine.backends.scripted import ScriptedEncoder, ScriptedLanguageModel
from vlm_npu_ros.engine.errors import BackendCrashedError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import (
    FinishReason,
    GenerationFigures,
    GenerationRequest,
    ImageEmbedding,
    NOTHING_READ,
    ReadAhead,
    Sampling,
)
from vlm_npu_ros.node.ask import Ask, Piece
from vlm_npu_ros.node.ask_options import AskOptions
from vlm_npu_ros.node.ask_queue import AskQueue
from vlm_npu_ros.node.frames import CachedFrame, Freshness
from vlm_npu_ros.node.read_ahead import ReadAheadSettings

PATIENCE = 30.0  # seconds; only a broken test waits this long
IMAGE, QUESTION = 20, 3  # tokens


def frame(stamp: int, camera: str = 'camera') -> CachedFrame:
    embedding = ImageEmbedding(np.zeros((IMAGE, 1, 3), np.float32), 0.0)
    return CachedFrame(camera, Header(), stamp, embedding)


class Reader(ScriptedLanguageModel):
    """
    Reads token by token, and counts them.

    halt: the number of tokens at which it waits for `go`. stops: it can stop while it reads.
    """

    def __init__(self, stops: bool = True) -> None:
        super().__init__(['yes it is'], reads_ahead=True)
        self.stops = stops
        self.count, self.halt = 0, -1
        self.halted, self.go = threading.Event(), threading.Event()
        self.fails = False
        self.reading = Cancellation()

    def prepare(
        self, images: tuple[ImageEmbedding, ...], cancelled: Cancellation
    ) -> GenerationFigures:
        if self.fails:
            raise BackendCrashedError('it broke')
        self.reading = cancelled
        return super().prepare(images, cancelled)

    def _read(self, tokens: int, cancelled: Cancellation) -> int:
        for read in range(tokens):
            if self.count == self.halt:
                self.halted.set()
                assert self.go.wait(PATIENCE)
            if cancelled.is_set() and self.stops:
                return read
            self.count += 1
        return tokens


class Asked(Ask):
    """A question; `before` is what the model had read when it was asked."""

    def __init__(
        self, model: Reader, camera: str = 'camera', dialogue: str = '', role: str = ''
    ) -> None:
        request = GenerationRequest(
            'is it free?', (), 1, keep=bool(dialogue), system_prompt=role)
        options = AskOptions(
            request, (camera,), Freshness(0), PATIENCE, conversation_id=dialogue
        )
        self.ended = threading.Event()
        self.first, self._model = 0, model
        super().__init__(options, self._note, lambda ask: None, lambda ask: self.ended.set())
        self.before = model.count

    def _note(self, ask: Ask, piece: Piece) -> None:
        if piece.delta:
            self.first = self._model.count - self.before

    def tokens(self) -> int:
        """Return how many tokens the model has read from the question to its first word."""
        assert self.ended.wait(PATIENCE) and self.finish_reason is FinishReason.LENGTH
        return self.first


@dataclass
class Bench:
    """A queue and reading ahead, in place of the encode thread."""

    pool: ThreadPoolExecutor
    model: Reader = field(default_factory=Reader)
    settings: ReadAheadSettings = EAGER

    def __post_init__(self) -> None:
        self.engine, self.views = LocalEngine(ScriptedEncoder(), self.model), ShownFrames()
        self.ahead = reading(
            self.engine, self.views.frames.get, lambda: self.queue.is_idle, self.settings
        )
        self.rested = threading.Semaphore(0)
        self.queue = AskQueue(
            self.engine, self.views, self.ahead, lambda: 8, Sampling, lambda: 0
        )
        self.ahead.start(self.rested.release)

    def show(self, shown: CachedFrame) -> CachedFrame:
        self.views.frames[shown.camera] = shown
        return shown

    def read(self) -> Future[None]:
        """Read what is due, as the encode thread does."""
        due, _ = self.ahead.due()
        assert due
        return self.pool.submit(self.ahead.read, due)

    def ask(self, camera: str = 'camera', dialogue: str = '', role: str = '') -> Asked:
        asked = Asked(self.model, camera, dialogue, role)
        self.queue.submit(asked)
        return asked

    def answer(self, camera: str = 'camera', dialogue: str = '') -> Asked:
        """Ask, and wait until all is at rest."""
        asked = self.ask(camera, dialogue)
        asked.tokens()
        self.rest()
        return asked

    def rest(self) -> None:
        """Wait until all is at rest, which is a moment after the last answer."""
        while not self.queue.is_idle:
            assert self.rested.acquire(timeout=PATIENCE)

    @property
    def due(self) -> CachedFrame | None:
        return self.ahead.due()[0]


@pytest.fixture
def bench(pool: ThreadPoolExecutor) -> Iterator[Bench]:
    bench = Bench(pool)
    yield bench
    bench.model.go.set()
    bench.queue.close()


@pytest.mark.parametrize('stops', [True, False])
def test_no_question_waits_for_more_than_it_would_read_itself(
    stops: bool, pool: ThreadPoolExecutor
) -> None:
    draw = random.Random(0)
    bench = Bench(pool, Reader(stops))
    model = bench.model
    try:
        for stamp in range(0, 200, 2):
            bench.show(frame(stamp))
            is_newer, done = draw.random() < 0.5, draw.randrange(IMAGE)
            model.halt = model.count + done
            model.halted.clear()
            model.go.clear()
            future = bench.read()
            assert model.halted.wait(PATIENCE)
            if is_newer:
                bench.show(frame(stamp + 1))
            asked = bench.ask()
            if is_newer:  # the queue has noticed
                assert model.reading.wait(PATIENCE)
            model.go.set()
            rest, own = IMAGE - done, IMAGE + QUESTION
            expected = (own if stops else rest + own) if is_newer else rest + QUESTION
            assert asked.tokens() == expected
            future.result(PATIENCE)
            bench.rest()
    finally:
        model.go.set()
        bench.queue.close()


def test_a_frame_is_read_once_and_a_question_about_it_reads_only_itself(bench: Bench) -> None:
    assert bench.due is None
    bench.show(frame(1))
    bench.read().result(PATIENCE)
    assert bench.due is None
    for _ in range(2):
        asked = bench.answer()
        assert asked.first == QUESTION and asked.figures
        assert (asked.figures.prompt_tokens, asked.figures.read_ahead_tokens) == (QUESTION, IMAGE)
        assert bench.due is None
    newer = bench.show(frame(2))
    assert bench.due is newer
    assert bench.answer().first == IMAGE + QUESTION
    assert bench.due is None  # it has been read with the question
    assert (bench.ahead.counts.questions, bench.ahead.counts.found) == (3, 2)


def test_what_no_question_made_use_of_is_wasted(bench: Bench) -> None:
    counts, spent = bench.ahead.counts, [0.0]
    for used, stamp in enumerate([1, 2, 3]):
        bench.show(frame(stamp))
        bench.read().result(PATIENCE)
        spent.append(counts.spent)
        if used == 1:
            bench.answer()
    assert counts.wasted == pytest.approx(spent[1])
    bench.answer()
    bench.show(frame(4))
    bench.read().result(PATIENCE)
    bench.ahead.forget()
    assert counts.wasted == pytest.approx(spent[1] + counts.spent - spent[3])


def test_the_camera_asked_about_last_is_read(bench: Bench) -> None:
    front, rear = bench.show(frame(1)), bench.show(frame(1, 'rear'))
    assert bench.due is front
    bench.answer('rear')
    newer = bench.show(frame(2, 'rear'))
    assert bench.due is newer is not rear


def test_nothing_is_read_while_a_question_is_open(bench: Bench) -> None:
    bench.show(frame(1))
    bench.ask('missing')  # it waits for a frame
    assert bench.due is None
    bench.ahead.read(frame(1))  # as it may come in between
    assert bench.model.count == 0


def test_a_question_with_a_role_ends_the_reading_of_its_own_frame(bench: Bench) -> None:
    bench.show(frame(1))
    bench.model.halt = 5
    future = bench.read()
    assert bench.model.halted.wait(PATIENCE)
    asked = bench.ask(role='guard')
    assert bench.model.reading.wait(PATIENCE)
    bench.model.go.set()
    future.result(PATIENCE)
    asked.tokens()
    bench.rest()
    bench.show(frame(2))
    bench.read().result(PATIENCE)
    assert 0 < bench.ahead.counts.wasted < bench.ahead.counts.spent


def test_a_live_dialogue_stays(bench: Bench) -> None:
    bench.show(frame(1))
    bench.answer(dialogue='tour')
    bench.show(frame(2))
    due, seconds = bench.ahead.due()
    assert due is None and 0 < seconds <= EAGER.keep
    bench.show(frame(1, 'rear'))
    bench.answer('rear')  # it has displaced the dialogue
    bench.show(frame(2, 'rear'))
    assert bench.due


def test_rate_is_kept(pool: ThreadPoolExecutor) -> None:
    bench = Bench(pool, settings=ReadAheadSettings(False, 0.001, 0.0, 0.0))
    bench.show(frame(1))
    bench.read().result(PATIENCE)
    bench.show(frame(2))
    due, seconds = bench.ahead.due()
    assert due is None and 0 < seconds <= 1000
    bench.queue.close()


def test_a_newer_frame_that_is_wanted_ends_the_reading(bench: Bench) -> None:
    bench.show(frame(1))
    bench.model.halt = 5
    future = bench.read()
    assert bench.model.halted.wait(PATIENCE)
    bench.ahead.stop_reading()
    bench.model.go.set()
    future.result(PATIENCE)
    assert bench.model.count == 5
    bench.ahead.close()
    bench.show(frame(2))
    assert bench.due is None


def test_it_is_given_up_after_failures_in_a_row(bench: Bench) -> None:
    bench.model.fails = True
    for stamp in range(3):
        bench.show(frame(stamp))
        assert not bench.ahead.obstacle
        bench.read().result(PATIENCE)
    assert bench.ahead.obstacle == 'it has failed 3 times in a row'
    assert bench.show(frame(4)) and bench.due is None
    assert bench.answer().first == IMAGE + QUESTION


def test_a_backend_that_cannot_or_that_costs_is_not_made_to() -> None:
    for able, is_asked, reads in (
        (ReadAhead(), True, False),
        (ReadAhead(True, False, 'it costs money'), False, False),
        (ReadAhead(True, False, 'it costs money'), True, True),
    ):
        model = Reader()
        model.read_ahead = able
        engine = LocalEngine(ScriptedEncoder(), model)
        ahead = reading(
            engine, lambda camera: frame(1),
            settings=ReadAheadSettings(is_asked, 1e9, 0.0, 0.0),
        )
        assert bool(ahead.due()[0]) is reads
        assert ahead.obstacle == ('' if reads else able.why)
    assert LocalEngine(ScriptedEncoder(), ScriptedLanguageModel(['a'])).prepare(
        (frame(1).embedding,), Cancellation()) == NOTHING_READ
