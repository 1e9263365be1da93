# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Questions that are asked again and again, without ROS in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
import math
import queue
import threading
import time
from types import SimpleNamespace
from typing import Any

from ahead import reading
from bars import timing, within
from clocks import SteadyClock
import numpy as np
import pytest
from std_msgs.msg import Header
from vlm_npu_ros.engine.backends.scripted import ScriptedEncoder, ScriptedLanguageModel
from vlm_npu_ros.engine.errors import (
    AnswerTimeoutError,
    BackendCrashedError,
    ContextError,
    InactiveError,
    NoFrameError,
    VlmError,
)
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import Chunk, GenerationRequest, ImageEmbedding, Sampling
from vlm_npu_ros.node.ask import Ask
from vlm_npu_ros.node.ask_options import AskOptions
from vlm_npu_ros.node.ask_queue import AskQueue
from vlm_npu_ros.node.evaluations import Evaluations
from vlm_npu_ros.node.frames import CachedFrame, Freshness, NANOSECONDS, View
from vlm_npu_ros.node.views import Views

PATIENCE = 30.0
QUESTION = AskOptions(
    GenerationRequest('is it?', (), 64, choices=('yes', 'no')),
    ('front',),
    Freshness(3600 * NANOSECONDS),
    60.0,
)
EMBEDDING = ImageEmbedding(np.zeros((4, 1, 3), np.float32), 0.0)


def asking(**fields: Any) -> AskOptions:
    return replace(QUESTION, request=replace(QUESTION.request, **fields))


class Model(ScriptedLanguageModel):
    """Says yes; counts, fails and waits as it is told."""

    def __init__(self) -> None:
        super().__init__(['yes'])
        self.asked = 0
        self.fault: Exception | None = None
        self.go, self.begun = threading.Event(), threading.Event()
        self.go.set()

    def generate(self, request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        self.asked += 1
        self.begun.set()
        self.go.wait()
        if self.fault:
            raise self.fault
        yield from super().generate(request, cancelled)


class Frames(Views):
    """The frames that a test puts there."""

    def __init__(self, *cameras: str) -> None:
        self.feeds: dict[str, Any] = {camera: SimpleNamespace(frame=None) for camera in cameras}
        for feed in self.feeds.values():
            feed.of = lambda region, feed=feed: feed
        self.missed: list[float] = []  # when there was no frame for a question, time.monotonic()

    def view_for(self, ask: Ask) -> View | None:
        frames = [self.feeds[camera].frame for camera in ask.options.cameras]
        if all(ask.options.freshness.admits(f, f.stamp if f else 0) for f in frames):
            return View(tuple(frames))
        self.missed.append(time.monotonic())
        return None

    def forget_before(self, ask: Ask) -> int:
        return 0

    def remember(self, ask: Ask, view: View, end: str) -> None:
        pass

    def is_encoding(self, ask: Ask) -> bool:
        return False

    def obstacle(self, ask: Ask) -> VlmError | None:
        return None

    def complaint(self, ask: Ask) -> VlmError:
        return NoFrameError('no frame')


class Listener:
    """Hears the answers."""

    def __init__(self, period: float = 0.0, seconds: float = math.inf) -> None:
        self.period = period
        self.deadline = time.monotonic() + seconds
        self.looks: queue.Queue[Ask] = queue.Queue()
        self.ends: queue.Queue[VlmError] = queue.Queue()

    def looked(self, ask: Ask) -> None:
        self.looks.put(ask)

    def ended(self, error: VlmError) -> None:
        self.ends.put(error)

    def look(self) -> Ask:
        return self.looks.get(timeout=PATIENCE)

    def end(self) -> VlmError:
        return self.ends.get(timeout=PATIENCE)


class Bench:
    """Evaluations with the world around them."""

    def __init__(self) -> None:
        self.rate = 1000.0
        self.model = Model()
        self.frames = Frames('front', 'rear')
        engine = LocalEngine(ScriptedEncoder(), self.model)
        self.queue = AskQueue(
            engine, self.frames, reading(engine), lambda: 8, Sampling, lambda: 0
        )
        self.evaluations = Evaluations(
            self.queue, self.frames.feeds, SteadyClock(), lambda: self.rate
        )

    def encode(self, stamp: int, camera: str = 'front') -> None:
        self.frames.feeds[camera].frame = CachedFrame(camera, Header(), stamp, EMBEDDING)
        self.queue.frames_changed()
        self.evaluations.frames_changed()

    def join(self, options: AskOptions = QUESTION, **fields: float) -> Listener:
        listener = Listener(**fields)
        self.evaluations.join(options, listener)
        return listener


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Give a bench that is closed afterwards."""
    bench = Bench()
    yield bench
    bench.model.go.set()
    bench.evaluations.close()
    bench.queue.close()


def stamp_of(ask: Ask) -> int:
    assert ask.frame and not ask.error
    return ask.frame.stamp


@pytest.mark.parametrize('rate', [0.0, 1000.0])
def test_each_new_embedding_is_looked_at_once(bench: Bench, rate: float) -> None:
    bench.rate = rate
    listener = bench.join()
    for stamp in range(1, 51):
        bench.encode(stamp)
        bench.evaluations.frames_changed()  # nothing new
        assert stamp_of(listener.look()) == stamp
    assert bench.model.asked == 50 and listener.looks.empty()


def test_subscribers_share_the_answers(bench: Bench) -> None:
    listeners = [bench.join(period=period) for period in (0.0, 1000.0, 0.0, 5.0, 0.0, 0.0)]
    for stamp in range(1, 21):
        bench.encode(stamp)
        assert {stamp_of(listener.look()) for listener in listeners} == {stamp}
    assert bench.model.asked == 20 and bench.evaluations.count == 1


@pytest.mark.parametrize(
    'other',
    [
        asking(question='is it not?'),
        replace(QUESTION, cameras=('rear',)),
        asking(choices=('no', 'yes')),
        asking(min_probability=0.9),
        asking(max_new_tokens=1),
    ],
)
def test_other_questions_are_asked_for_themselves(bench: Bench, other: AskOptions) -> None:
    bench.encode(1, 'front')
    bench.encode(1, 'rear')
    one, another = bench.join(), bench.join(other)
    one.look()
    another.look()
    assert (bench.model.asked, bench.evaluations.count) == (2, 2)


@timing
def test_two_looks_are_a_period_apart(bench: Bench) -> None:
    listener = bench.join(period=0.1)
    stop = threading.Event()

    def camera() -> None:
        for stamp in range(1, 100_000):
            bench.encode(stamp)
            if stop.wait(0.005):
                return

    thread = threading.Thread(target=camera)
    thread.start()
    begun = [listener.look().times.begun or 0.0 for _ in range(6)]
    stop.set()
    thread.join()
    gaps = np.diff(begun)
    assert gaps.min() >= 0.1 and gaps.mean() < within(0.2)


def test_the_shortest_period_counts_and_who_joins_need_not_wait(bench: Bench) -> None:
    bench.encode(1)
    patient = bench.join(period=1000.0)
    patient.look()
    bench.encode(2)
    quick = bench.join()
    assert stamp_of(patient.look()) == stamp_of(quick.look()) == 2
    bench.encode(3)
    assert stamp_of(patient.look()) == stamp_of(quick.look()) == 3


def test_frames_are_not_wanted_faster_than_they_are_encoded_anyway(bench: Bench) -> None:
    bench.rate, wanted = 5.0, threading.Event()
    bench.frames.missed = missed = Telling(wanted)
    bench.encode(1)
    begun = bench.join().look().times.begun
    assert wanted.wait(PATIENCE)
    assert begun and missed[0] - begun >= 1 / 5.0


class Telling(list):  # type: ignore[type-arg]
    """A list that tells when something is added."""

    def __init__(self, told: threading.Event) -> None:
        super().__init__()
        self._told = told

    def append(self, value: Any) -> None:
        super().append(value)
        self._told.set()


def test_all_cameras_must_have_something_new(bench: Bench) -> None:
    bench.rate = 0.0
    listener = bench.join(replace(QUESTION, cameras=('front', 'rear')))
    bench.encode(10, 'front')
    bench.encode(9, 'rear')
    assert stamp_of(listener.look()) == 10
    bench.encode(20, 'front')
    bench.encode(30, 'rear')
    assert stamp_of(listener.look()) == 30
    assert bench.model.asked == 2


def test_question_that_nobody_wants_is_ended(bench: Bench) -> None:
    bench.model.go.clear()
    bench.encode(1)
    first, last = bench.join(), bench.join()
    assert bench.model.begun.wait(PATIENCE)
    bench.evaluations.leave(first)
    assert bench.evaluations.count == 1
    bench.evaluations.leave(last)
    bench.evaluations.leave(last)  # once more does not matter
    assert bench.evaluations.count == 0
    bench.model.go.set()
    bench.encode(2)
    again = bench.join()
    assert stamp_of(again.look()) == 2
    assert first.looks.empty() and last.looks.empty() and bench.model.asked == 2


def test_error_that_may_pass_is_told_and_tried_again(bench: Bench) -> None:
    bench.model.fault = BackendCrashedError('out of cheese')
    bench.encode(1)
    listener = bench.join()
    first, second = listener.look(), listener.look()
    assert isinstance(first.error, BackendCrashedError)
    assert second.times.asked - first.times.asked >= 1.0
    bench.model.fault = None
    while (look := listener.look()).error:
        pass
    assert stamp_of(look) == 1  # which nobody has answered yet


def test_camera_that_delivers_nothing_is_told(bench: Bench) -> None:
    listener = bench.join(replace(QUESTION, timeout=0.05))
    assert isinstance(listener.look().error, NoFrameError)
    bench.encode(1)
    while (look := listener.look()).error:
        pass
    assert stamp_of(look) == 1


def test_error_that_would_come_again_ends_all(bench: Bench) -> None:
    bench.model.fault = ContextError('too long')
    bench.encode(1)
    listeners = [bench.join(), bench.join()]
    assert all(isinstance(listener.end(), ContextError) for listener in listeners)
    assert bench.evaluations.count == 0


@pytest.mark.parametrize('rate', [0.0, 0.001, 1000.0])
def test_clock_that_was_set_back(bench: Bench, rate: float) -> None:
    bench.rate = rate
    bench.encode(1000 * NANOSECONDS)
    listener = bench.join()
    listener.look()
    for stamp in (5, 6):
        bench.encode(stamp * NANOSECONDS)
        assert stamp_of(listener.look()) == stamp * NANOSECONDS
        bench.rate = 1000.0


@timing
def test_deadline_ends_its_subscriber_only(bench: Bench) -> None:
    late, other = bench.join(seconds=0.1), bench.join()
    assert isinstance(late.end(), AnswerTimeoutError)
    assert 0 <= time.monotonic() - late.deadline < within(2.0)
    bench.encode(1)
    other.look()
    assert late.looks.empty() and late.ends.empty()


@timing
def test_close_ends_all_at_once() -> None:
    bench = Bench()
    bench.model.go.clear()
    bench.encode(1)
    listeners = [bench.join(asking(question=str(i % 3))) for i in range(9)]
    assert bench.model.begun.wait(PATIENCE)
    started = time.monotonic()
    bench.evaluations.close()
    assert time.monotonic() - started < within(2.0)  # the model would go on forever
    assert all(isinstance(listener.end(), InactiveError) for listener in listeners)
    assert isinstance(bench.join().end(), InactiveError)
    assert not any(listener.looks.qsize() for listener in listeners)
    assert not any(thread.name == 'evaluations' for thread in threading.enumerate())
    bench.model.go.set()
    bench.queue.close()


@pytest.mark.parametrize('frame', [False, True])
def test_subscribers_that_come_and_go_leave_nothing(bench: Bench, frame: bool) -> None:
    if frame:
        bench.encode(1)

    def come_and_go(question: Callable[[int], str]) -> None:
        for i in range(200):
            listener = bench.join(asking(question=question(i)))
            bench.evaluations.leave(listener)

    threads = [
        threading.Thread(target=come_and_go, args=(question,))
        for question in (str, lambda i: 'the same', lambda i: 'the same')
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert bench.evaluations.count == 0
    bench.encode(2)
    assert stamp_of(bench.join().look()) == 2
    last = bench.join(asking(question='the last'))
    bench.encode(3)
    last.look()
    waiting = {ask.options.request.question for ask in bench.queue._waiting}
    assert waiting <= {'is it?', 'the last'}
