"""Order, waiting and ends of questions, without ROS in between."""

from __future__ import annotations

from collections.abc import Iterator
import threading

import numpy as np
import pytest
from std_msgs.msg import Header
from vlm_npu_ros.engine.backends.scripted import ScriptedEncoder, ScriptedLanguageModel
from vlm_npu_ros.engine.conversation import Conversations
from vlm_npu_ros.engine.engine import Engine
from vlm_npu_ros.engine.errors import (
    BackendCrashedError,
    CancelledError,
    StaleFrameError,
    VlmError,
)
from vlm_npu_ros.engine.types import Chunk, GenerationRequest, ImageEmbedding, Sampling
from vlm_npu_ros.node.ask import Ask, AskOptions, Piece, Stage
from vlm_npu_ros.node.ask_queue import AskQueue
from vlm_npu_ros.node.frames import CachedFrame, Freshness, View
from vlm_npu_ros.node.views import Views

EMBEDDING = ImageEmbedding(np.zeros((4, 1, 3), np.float32), 0.0)
FRAME = CachedFrame('camera', Header(), 0, EMBEDDING)


class Echo(ScriptedLanguageModel):
    """Answers with the question; 'hold' waits for `go`, 'crash' raises."""

    def __init__(self) -> None:
        super().__init__(())
        self.go = threading.Event()
        self.held = threading.Event()
        self.order: list[str] = []

    def generate(self, request: GenerationRequest) -> Iterator[Chunk]:
        """Note the question and answer it."""
        self.order.append(request.question)
        if request.question == 'hold':
            self.held.set()
            self.go.wait()
        if request.question == 'crash':
            raise RuntimeError('out of cheese')
        yield from super().generate(request)

    def _answer(self, question: str) -> str:
        return question


class FramesByHand(Views):
    """The frames that a test puts there."""

    def __init__(self) -> None:
        self.frames: dict[str, CachedFrame] = {'camera': FRAME}
        self._conversations = Conversations(lambda: 8, lambda: 600.0)

    def view_for(self, ask: Ask) -> View | None:
        frame = self.frames.get(ask.options.cameras[0])
        return View((frame,)) if frame else None

    def is_encoding(self, ask: Ask) -> bool:
        return False

    def complaint(self, ask: Ask) -> VlmError:
        return StaleFrameError('stale')


class Bench:
    """A queue with the world around it."""

    def __init__(self, size: int = 8) -> None:
        self.model = Echo()
        views = FramesByHand()
        self.frames = views.frames
        self.queue = AskQueue(
            Engine(ScriptedEncoder(), self.model),
            views,
            size=lambda: size,
            sampling=Sampling,
            dialogue_tokens=lambda: 0,
        )

    def ask(self, question: str, camera: str = 'camera', timeout: float = 60.0) -> Asked:
        """Submit a question."""
        return Asked(self.queue, AskOptions(question, (camera,), Freshness(0), timeout, 64))


class Asked:
    """A question and everything that was said about it."""

    def __init__(self, queue: AskQueue, options: AskOptions) -> None:
        self.pieces: list[Piece] = []
        self.stages: list[Stage | None] = []
        self._done = threading.Event()
        self.ask = Ask(
            options,
            on_piece=lambda ask, piece: self.pieces.append(piece),
            on_stage=lambda ask: self.stages.append(ask.stage),
            on_done=lambda ask: self._done.set(),
        )
        queue.submit(self.ask)

    def wait(self) -> Ask:
        """Return the question when it has ended."""
        assert self._done.wait(30)
        return self.ask


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Give a queue that is closed afterwards."""
    bench = Bench()
    yield bench
    bench.model.go.set()
    bench.queue.close()


def test_first_come_first_served(bench: Bench) -> None:
    asked = [bench.ask('hold'), *(bench.ask(q) for q in 'abcde')]
    bench.model.go.set()
    assert [a.wait().answer for a in asked] == ['hold', *'abcde']
    assert bench.model.order == ['hold', *'abcde']


def test_question_without_frame_lets_others_pass(bench: Bench) -> None:
    waiting = bench.ask('rear view', camera='rear')
    assert bench.ask('front view').wait().answer == 'front view'
    assert waiting.stages == [Stage.WAITING_FOR_FRAME]
    bench.frames['rear'] = FRAME
    bench.queue.frames_changed()
    assert waiting.wait().answer == 'rear view'
    assert Stage.QUEUED in waiting.stages
    assert waiting.ask.times.frame_ready is not None


def test_timeout_without_frame_is_the_frames_fault(bench: Bench) -> None:
    ask = bench.ask('rear view', camera='rear', timeout=0.05).wait()
    assert isinstance(ask.error, StaleFrameError)
    assert bench.queue.depth == 0


def test_end_of_a_running_question_is_immediate_and_the_next_one_is_clean(bench: Bench) -> None:
    held = bench.ask('hold')
    assert bench.model.held.wait(30)
    following = bench.ask('next')
    bench.queue.end(held.ask, CancelledError('enough'))
    assert held.wait().answer == ''
    assert isinstance(held.ask.error, CancelledError)
    bench.model.go.set()
    assert following.wait().answer == 'next'
    assert [p.finish_reason for p in held.pieces] == ['cancelled']


def test_ended_question_leaves_the_queue(bench: Bench) -> None:
    bench.ask('hold')
    assert bench.model.held.wait(30)
    waiting = bench.ask('never')
    bench.queue.end(waiting.ask, CancelledError('enough'))
    last = bench.ask('last')
    bench.model.go.set()
    assert last.wait().answer == 'last'
    assert 'never' not in bench.model.order


def test_crash_ends_its_question_only(bench: Bench) -> None:
    crashed = bench.ask('crash')
    following = bench.ask('next')
    assert isinstance(crashed.wait().error, BackendCrashedError)
    assert 'out of cheese' in str(crashed.ask.error)
    assert following.wait().answer == 'next'


def test_question_ends_once(bench: Bench) -> None:
    asked = bench.ask('a b')
    asked.wait()
    bench.queue.end(asked.ask, CancelledError('too late'))
    assert asked.ask.error is None
    assert [p.finish_reason for p in asked.pieces if p.finish_reason] == ['eos']
