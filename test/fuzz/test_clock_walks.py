# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Random walks of simulated time: no answer is about a frame of another run, or too old a one."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
import math
import random
import re
import threading
import time
from typing import Any

from ahead import reading
from builtin_interfaces.msg import Time
from clocks import Simulation, simulation
from fuzz.fuzzing import FULL, Outcomes
import rclpy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vlm_npu_ros.engine.backends.scripted import (
    ScriptedEncoder,
    ScriptedLanguageModel,
    ScriptedTimings,
)
from vlm_npu_ros.engine.conversation import Conversations
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import GenerationRequest, Sampling
from vlm_npu_ros.node.ask import Ask
from vlm_npu_ros.node.ask_options import AskOptions
from vlm_npu_ros.node.ask_queue import AskQueue
from vlm_npu_ros.node.cameras import CameraFeed
from vlm_npu_ros.node.frame_encoder import FrameEncoder
from vlm_npu_ros.node.frames import Freshness, HistoryLimits, NANOSECONDS, View
from vlm_npu_ros.node.io_node import IoNode
from vlm_npu_ros.node.parameter_specs import CameraSettings
from vlm_npu_ros.node.views import Views

WALKS, AT_ONCE = (1000, 20) if FULL else (20, 20)
LENGTH = 4.0  # seconds of a walk
TICK = 0.02  # seconds between two messages on /clock
START = 5000.0  # simulated seconds; a walk goes back by an hour at most
RATE = 10.0  # frames in a simulated second
LIMITS = HistoryLimits(NANOSECONDS // 2, 10 * NANOSECONDS, 1 << 20)
SLOW = 0.5  # seconds that this machine may be late, beside what it is seen to be


def between(draw: random.Random, low: float, high: float) -> float:
    """Draw a number whose logarithm is evenly spread."""
    return math.exp(draw.uniform(math.log(low), math.log(high)))


class Watched(Views):
    """Views that record what was true when a view was asked for."""

    def __init__(self, walk: Walk, *arguments: Any) -> None:
        super().__init__(walk.simulation.clock, *arguments)
        self._walk = walk

    def view_for(self, ask: Ask) -> View | None:
        run, now = self._walk.run, self._walk.simulation.clock.now()
        view = super().view_for(ask)
        if view:
            assert isinstance(ask, Question)
            ask.views.append((run, now, view))
        return view


class Question(Ask):
    """A question that knows what it was given, and which run it was asked in."""

    def __init__(self, walk: Walk, options: AskOptions) -> None:
        self.asked_in = walk.run
        self.views: list[tuple[int, int, View]] = []  # run and time before, and the view
        self.ended = threading.Event()
        self.truth: Truth | None = None
        super().__init__(options, lambda *_: None, lambda _: None, lambda _: self._note(walk))

    def _note(self, walk: Walk) -> None:
        self.truth = walk.truth()
        self.ended.set()


@dataclass(frozen=True)
class Truth:
    """What was the case when a question ended; ages in seconds of real time."""

    now: float
    fastest: float
    stood_still: float
    silent: float  # since the last frame
    since_first: float  # frame of this run
    frames: int  # since the clock was set back


@dataclass
class Walk:
    """Time and a camera that walk at random, and somebody who asks."""

    simulation: Simulation
    draw: random.Random
    now: float = START
    shown: float = START  # before `now`: the node may know it already
    run: int = 0  # counted when the clock has been set back
    speed: float = 1.0
    frames: int = 0
    stride: float = 1.0  # the longest between two ticks
    late: float = SLOW  # seconds that this machine may be late
    ticked: float = field(default_factory=time.monotonic)
    first: float = field(default_factory=time.monotonic)
    seen: float = field(default_factory=time.monotonic)
    speeds: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=500))

    def __post_init__(self) -> None:
        draw = self.draw
        self.encode_seconds = between(draw, 0.05, 2.0)
        self.latency = draw.choice([0.0, 0.0, 0.05, 0.2])  # simulated
        self.image_first = draw.random() < 0.5
        self.loop = draw.choice([math.inf, math.inf, draw.uniform(3.0, 30.0)])
        self.next_frame = self.now
        self.waiting: deque[tuple[float, bytes]] = deque()  # when a frame comes, and the frame

    def truth(self) -> Truth:
        now = time.monotonic()
        recent = [speed for at, speed in tuple(self.speeds) if now - at < 2 * LENGTH]
        return Truth(
            min(self.now, self.shown), max(recent, default=1.0), now - self.ticked,
            now - self.seen, now - self.first, self.frames,
        )

    def step(self, seconds: float, feed: CameraFeed) -> None:
        """Go on by so many seconds of real time."""
        self.late = max(self.late, SLOW + 3 * (seconds - TICK))
        if self.draw.random() < 0.02:
            self.speed = self.draw.choice([0.0, between(self.draw, 0.1, 20.0)])
        if self.now - START >= self.loop:
            self.go_back(self.now - START, feed)
        elif self.draw.random() < 0.01:
            self.go_back(min(between(self.draw, 0.1, 3600.0), self.now - 1.0), feed)
        elif self.speed:
            self.speeds.append((time.monotonic(), self.speed))
            self.show(self.now + seconds * self.speed, feed)

    def go_back(self, seconds: float, feed: CameraFeed) -> None:
        """Set the clock back."""
        now = self.now - seconds
        self.next_frame = now
        early = self.image_first and not self.latency and not self.waiting
        if early:  # a recording publishes it before the time
            feed.receive(self.frame(now, self.run + 1))
        self.frames = 0
        self.tick(now)
        self.run, self.first = self.run + 1, time.monotonic()
        if early:
            self.next_frame += 1 / RATE
        late = [frame for _, frame in self.waiting]
        self.waiting.clear()
        # On its way when the clock was set back, further than it goes on from tick to tick.
        for frame in late if seconds > 2 * self.stride else ():
            feed.receive(frame)

    def show(self, now: float, feed: CameraFeed) -> None:
        """Go on to this time."""
        if not self.image_first:
            self.tick(now)
        while self.next_frame <= now:
            self.waiting.append((self.next_frame + self.latency,
                                 self.frame(self.next_frame, self.run)))
            self.next_frame = max(self.next_frame + 1 / RATE, now - 2 / RATE)
        while self.waiting and self.waiting[0][0] <= now:
            feed.receive(self.waiting.popleft()[1])
            self.frames, self.seen = self.frames + 1, time.monotonic()
            self.first = self.first if self.frames > 1 else self.seen
        if self.image_first:
            self.tick(now)

    def tick(self, now: float) -> None:
        self.stride = max(self.stride, now - self.now)
        self.shown = now
        self.simulation.show(now)
        self.now, self.ticked = now, time.monotonic()

    def frame(self, stamp: float, run: int) -> bytes:
        sec, nanosec = divmod(round(stamp * NANOSECONDS), NANOSECONDS)
        header = Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=str(run))
        image = Image(header=header, encoding='rgb8', height=2, width=2, step=6, data=bytes(12))
        message: bytes = serialize_message(image)
        return message

    def question(self) -> Question:
        draw = self.draw
        kind = draw.choice(['max_age', 'not_before', 'window'])
        max_age = between(draw, 0.5, 10.0) if kind == 'max_age' else 5.0
        not_before = self.now + draw.choice([0.0, 0.0, -1.0, 0.5, 2.0])
        return Question(self, AskOptions(
            GenerationRequest('what?', (), 8),
            ('front',),
            Freshness(
                round(max_age * NANOSECONDS),
                round(not_before * NANOSECONDS) if kind == 'not_before' else 0,
            ),
            timeout=draw.uniform(0.3, 3.0),
            num_frames=draw.randint(2, 4) if kind == 'window' else 1,
            window=round(draw.uniform(1.0, 8.0) * NANOSECONDS),
        ))


@contextmanager
def asked(walk: Walk) -> Iterator[tuple[CameraFeed, AskQueue]]:
    """Run what stands between camera and answer."""
    timings = ScriptedTimings(encode_seconds=walk.encode_seconds)
    model = ScriptedLanguageModel(['a door'], reads_ahead=True)
    engine = LocalEngine(ScriptedEncoder(timings), model)
    io, clock = IoNode(walk.simulation.node), walk.simulation.clock
    feed = CameraFeed(walk.simulation.node, io, CameraSettings('front', 'image', 'raw'), clock)
    feeds = {'front': feed}
    ahead = reading(engine, lambda camera: feed.frame, lambda: queue.is_idle)
    encoder = FrameEncoder(
        walk.simulation.node, feeds, engine, clock, lambda: 2.0, lambda: LIMITS, ahead
    )
    views = Watched(walk, feeds, encoder, Conversations(lambda: 1, lambda: 1.0))
    queue = AskQueue(engine, views, ahead, lambda: 100, Sampling, lambda: 0)
    encoder.start(queue.frames_changed)
    try:
        yield feed, queue
    finally:
        queue.close()
        encoder.stop()
        engine.close()
        io.destroy_node()


def run_walk(context: rclpy.Context, seed: int) -> Counter[str]:
    """Go a walk; return how many questions ended how."""
    draw, counts = random.Random(seed), Counter[str]()
    with simulation(context) as simulated:
        simulated.show(START)
        walk = Walk(simulated, draw)
        with asked(walk) as (feed, queue):
            questions: list[Question] = []
            begun = last = ask_at = time.monotonic()
            tick = threading.Event()
            while last < begun + LENGTH:
                tick.wait(TICK)
                now = time.monotonic()
                walk.step(now - last, feed)
                last = now
                if now > ask_at:
                    ask_at = now + draw.uniform(0.05, 0.4)
                    questions.append(walk.question())
                    queue.submit(questions[-1])
        for question in questions:
            assert question.ended.is_set()
            try:
                counts[check(walk, question)] += 1
            except AssertionError as error:
                raise AssertionError(f'walk {seed}: {error}') from error
    return counts


def check(walk: Walk, question: Question) -> str:
    """Check how a question has ended; return that in a word."""
    options = question.options
    for run, now, view in question.views:
        runs = {int(frame.header.frame_id) for frame in view.frames}
        assert len(runs) == 1 and runs.pop() >= max(run, question.asked_in)
        newest = view.newest
        if int(newest.header.frame_id) == run:
            assert now - newest.stamp <= options.freshness.max_age
        assert newest.stamp >= options.freshness.not_before
        stamps = [frame.stamp for frame in view.frames]
        assert stamps == sorted(set(stamps))
        assert newest.stamp - stamps[0] <= options.window + LIMITS.period // 2
        assert len(stamps) <= options.num_frames
    if question.error is None:
        assert question.views and question.frame is question.views[-1][2].newest
        return 'answered'
    return cause(walk, question, str(question.error))


def cause(walk: Walk, question: Question, text: str) -> str:
    """Check that the cause in an error is the true one; return it in a word."""
    truth, freshness = question.truth, question.options.freshness
    assert truth
    slow = walk.encode_seconds + walk.late
    # How old a frame may get from the camera until it is encoded, with one in the encoder before.
    oldest = walk.latency + (2 * slow + 2 / RATE) * max(truth.fastest, 1.0)
    still = re.search(r'stood still for ([\d.]+) (m?s)', text)
    if still:
        seconds = float(still[1]) / (1000 if still[2] == 'ms' else 1)
        assert abs(seconds - truth.stood_still) < walk.late, text
    if 'The node was deactivated' in text:
        return 'at the end'
    if 'was not complete after' in text:
        return 'the encoder was at work' if walk.encode_seconds > 0.1 else 'the machine is slow'
    if 'since the clock was set back' in text or 'no usable frame yet' in text:
        # For a second, frames that seem to be of the former run are left out.
        assert truth.frames == 0 or truth.since_first < 1 + walk.late, text
        return 'no frame in this run'
    if 'was encoded too late' in text:
        return 'encoded just too late'
    if 'has been encoded yet' in text:
        assert truth.since_first < 2 * slow + walk.late, text
        return 'none encoded yet'
    if 'ahead of the clock' in text:
        assert freshness.not_before > (truth.now - walk.late * truth.fastest) * NANOSECONDS, text
        return 'not_before is to come'
    if 'before the time asked for' in text:
        assert freshness.not_before > (truth.now - oldest) * NANOSECONDS, text
        return 'none since not_before'
    if 'nobody publishes' in text:
        assert truth.silent > 1.0, text
        return 'camera silent'
    assert 'are allowed' in text, text
    assert 'when they come' not in text and 'have stamps' not in text, text
    assert oldest > freshness.max_age / NANOSECONDS, text
    return 'encoder too slow for this speed'


def test_walks_of_simulated_time(context: rclpy.Context, outcomes: Outcomes) -> None:
    counts = outcomes['questions while the time walks at random']
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for walked in pool.map(lambda seed: run_walk(context, seed), range(WALKS)):
            counts.update(walked)
    assert counts['answered'] > counts.total() / 3
