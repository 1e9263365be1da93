# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Order, waiting and ends of questions, without ROS in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
import threading

from ahead import reading
from bars import timing, within
import numpy as np
import pytest
from shown_frames import ShownFrames
from std_msgs.msg import Header
from vlm_npu_ros.engine.backends.scripted import (
    ScriptedEncoder,
    ScriptedLanguageModel,
    ScriptedTimings,
)
from vlm_npu_ros.engine.errors import (
    AnswerTimeoutError,
    BackendCrashedError,
    BusyError,
    CancelledError,
    InactiveError,
    StaleFrameError,
)
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import Chunk, GenerationRequest, ImageEmbedding, Sampling
from vlm_npu_ros.node.ask import Ask, Piece, Stage
from vlm_npu_ros.node.ask_options import AskOptions
from vlm_npu_ros.node.ask_queue import AskQueue
from vlm_npu_ros.node.frames import CachedFrame, Freshness

EMBEDDING = ImageEmbedding(np.zeros((4, 1, 3), np.float32), 0.0)
FRAME = CachedFrame('camera', Header(), 0, EMBEDDING)


class Echo(ScriptedLanguageModel):
    """Answers with the question; 'hold' waits for `go`, 'crash' raises."""

    def __init__(self) -> None:
        super().__init__((), ScriptedTimings(decode_rate=200.0))
        self.go = threading.Event()
        self.held = threading.Event()
        self.order: list[str] = []

    def generate(self, request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        self.order.append(request.question)
        if request.question == 'hold':
            self.held.set()
            self.go.wait()
        if request.question == 'crash':
            raise RuntimeError('out of cheese')
        yield from super().generate(request, cancelled)

    def _answer(self, question: str) -> str:
        return question


class Bench:
    """A queue with the world around it."""

    def __init__(self, busy: str, size: int = 8) -> None:
        self.model = Echo()
        self.engine = LocalEngine(ScriptedEncoder(), self.model)
        views = ShownFrames(camera=FRAME)
        self.frames = views.frames
        self.rested = threading.Semaphore(0)
        ahead = reading(self.engine)
        ahead.start(self.rested.release)
        self.queue = AskQueue(
            self.engine,
            views,
            ahead,
            size=lambda: size,
            sampling=Sampling,
            dialogue_tokens=lambda: 0,
            busy=lambda: busy,
        )

    def ask(
        self,
        question: str,
        camera: str = 'camera',
        timeout: float = 60.0,
        background: bool = False,
    ) -> Asked:
        options = AskOptions(
            GenerationRequest(question, (), 64), (camera,), Freshness(0), timeout
        )
        return Asked(self.queue, options, background)

    def hold(self, background: bool = False) -> Asked:
        """Submit a question that is being answered until `model.go`."""
        self.model.held.clear()
        asked = self.ask('hold', background=background)
        assert self.model.held.wait(30)
        return asked

    def rest(self) -> None:
        """Wait until nothing is being answered, which is a moment after the last answer."""
        while self.queue._running:
            assert self.rested.acquire(timeout=30)


class Asked:
    """A question and everything that was said about it."""

    def __init__(self, queue: AskQueue, options: AskOptions, background: bool = False) -> None:
        self.pieces: list[Piece] = []
        self.stages: list[Stage | None] = []
        self.positions: list[int] = []
        self._done = threading.Event()
        self.ask = Ask(
            options,
            on_piece=lambda ask, piece: self.pieces.append(piece),
            on_stage=self._on_stage,
            on_done=lambda ask: self._done.set(),
        )
        queue.submit(self.ask, background)

    def _on_stage(self, ask: Ask) -> None:
        self.stages.append(ask.stage)
        self.positions.append(ask.position)

    def wait(self) -> Ask:
        assert self._done.wait(30)
        return self.ask


@pytest.fixture
def busy() -> str:
    """Give the busy policy; tests override it with a parameter of this name."""
    return 'queue'


@pytest.fixture
def bench(busy: str) -> Iterator[Bench]:
    """Give a queue that is closed afterwards."""
    bench = Bench(busy)
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
    bench.rest()
    assert waiting.stages == [Stage.WAITING_FOR_FRAME]
    bench.frames['rear'] = FRAME
    bench.queue.frames_changed()
    assert waiting.wait().answer == 'rear view'
    assert waiting.stages[1] == Stage.PREFILL
    assert waiting.ask.times.frame_ready is not None


def test_idle_engine_takes_a_question_without_a_queue(bench: Bench) -> None:
    assert bench.ask('first').wait().answer == 'first'
    bench.rest()
    taken = bench.ask('second')
    assert taken.wait().answer == 'second'
    assert taken.stages[:2] == [Stage.PREFILL, Stage.GENERATING]
    held = bench.hold()
    waiting = bench.ask('third')
    assert waiting.stages == [Stage.QUEUED]
    bench.model.go.set()
    held.wait()
    assert waiting.wait().stage is Stage.GENERATING
    assert waiting.stages[:3] == [Stage.QUEUED, Stage.PREFILL, Stage.GENERATING]


def test_timeout_before_anybody_has_looked_is_not_the_frames_fault(bench: Bench) -> None:
    with bench.queue._lock:  # nobody can look
        late = bench.ask('late', timeout=0.0)
        assert late.stages == []
        bench.queue._expire(late.ask)
    assert isinstance(late.wait().error, AnswerTimeoutError)


def test_timeout_without_frame_is_the_frames_fault(bench: Bench) -> None:
    ask = bench.ask('rear view', camera='rear', timeout=0.05).wait()
    assert isinstance(ask.error, StaleFrameError)
    assert bench.queue.depth == 0


def test_end_of_a_running_question_is_immediate_and_the_next_one_is_clean(bench: Bench) -> None:
    held = bench.hold()
    following = bench.ask('next')
    bench.queue.end(held.ask, CancelledError('enough'))
    assert held.wait().answer == ''
    assert isinstance(held.ask.error, CancelledError)
    bench.model.go.set()
    assert following.wait().answer == 'next'
    assert [p.finish_reason for p in held.pieces] == ['cancelled']


def test_ended_question_leaves_the_queue(bench: Bench) -> None:
    bench.hold()
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


@timing
def test_many_questions_end_at_their_timeouts_with_no_thread_each() -> None:
    bench = Bench('queue', size=1000)
    held = bench.hold()
    threads = threading.active_count()
    waiting = [bench.ask('q', timeout=0.2 + 0.3 * (i % 2)) for i in range(500)]
    assert threading.active_count() <= threads
    for asked in waiting:
        ask = asked.wait()
        assert isinstance(ask.error, AnswerTimeoutError)
        assert ask.times.ended is not None
        assert 0 <= ask.times.ended - ask.deadline < within(2.0)
    assert bench.queue.depth == 0
    bench.model.go.set()
    assert held.wait().answer == 'hold'
    bench.queue.close()


def test_a_longer_timeout_does_not_hide_a_shorter_one(bench: Bench) -> None:
    bench.hold()
    bench.ask('long')
    short = bench.ask('short', timeout=0.05)
    assert isinstance(short.wait().error, AnswerTimeoutError)


def test_position_counts_down_to_the_turn(bench: Bench) -> None:
    bench.hold()
    first, second, third = (bench.ask(q) for q in 'abc')
    assert (first.positions, second.positions, third.positions) == ([0], [1], [2])
    bench.queue.end(first.ask, CancelledError('enough'))
    bench.model.go.set()
    third.wait()
    assert second.positions[:2] == [1, 0]
    assert third.positions[:3] == [2, 1, 0]
    assert third.stages[:3] == [Stage.QUEUED] * 3
    assert Stage.PREFILL in third.stages[3:] and not any(third.positions[3:])


def test_who_waits_for_a_frame_is_before_nobody(bench: Bench) -> None:
    bench.hold()
    rear = bench.ask('rear view', camera='rear')
    front, other = bench.ask('front view'), bench.ask('other')
    assert (rear.positions, front.positions, other.positions) == ([0], [0], [1])
    bench.frames['rear'] = FRAME
    bench.queue.frames_changed()
    assert (rear.positions[-1], front.positions[-1], other.positions[-1]) == (0, 1, 2)
    bench.model.go.set()
    other.wait()
    assert bench.model.order == ['hold', 'rear view', 'front view', 'other']


@pytest.mark.parametrize('busy', ['reject'])
def test_reject_is_busy_while_another_question_is_open(bench: Bench) -> None:
    rear = bench.ask('rear view', camera='rear')
    refused = bench.ask('front view').wait()
    assert isinstance(refused.error, BusyError)
    assert 'reject' in str(refused.error)
    bench.queue.end(rear.ask, CancelledError('enough'))
    held = bench.hold()
    assert isinstance(bench.ask('too early').wait().error, BusyError)
    # Who has ended is in nobody's way, whatever the engine still does.
    bench.queue.end(held.ask, CancelledError('enough'))
    following = bench.ask('next')
    bench.model.go.set()
    assert following.wait().answer == 'next'
    assert bench.model.order == ['hold', 'next']
    for _ in range(20):  # one after the other
        assert bench.ask('again').wait().answer == 'again'


@pytest.mark.parametrize('busy', ['interrupt'])
def test_interrupt_ends_all_others_and_comes_next(bench: Bench) -> None:
    rear = bench.ask('rear view', camera='rear')
    held = bench.hold()
    assert isinstance(rear.wait().error, BusyError)
    newer = bench.ask('newer')
    assert isinstance(held.wait().error, BusyError)
    assert 'interrupt' in str(held.ask.error)
    assert held.pieces[-1].finish_reason == 'error'
    newest = bench.ask('newest')
    assert isinstance(newer.wait().error, BusyError)
    assert newest.positions == [0]
    bench.model.go.set()
    assert newest.wait().answer == 'newest'
    assert [piece.delta for piece in newest.pieces] == ['newest', '']
    assert bench.model.order == ['hold', 'newest']


@pytest.mark.parametrize('busy', ['interrupt'])
def test_interrupt_knows_no_full_queue(bench: Bench) -> None:
    asked = [bench.hold(), *(bench.ask(f'{i}') for i in range(50))]
    bench.model.go.set()
    assert asked[-1].wait().answer == '49'
    assert all(isinstance(a.wait().error, BusyError) for a in asked[:-1])


def test_full_queue_has_room_again_when_a_question_ends(bench: Bench) -> None:
    held = bench.hold()
    waiting = [bench.ask('w') for _ in range(8)]
    full = bench.ask('full').wait()
    assert isinstance(full.error, BusyError)
    assert 'queue_size 8' in str(full.error)
    bench.queue.end(waiting[3].ask, CancelledError('enough'))
    last = bench.ask('last')
    assert not last.ask.done
    bench.queue.end(held.ask, CancelledError('enough'))  # the engine goes on with it
    after = bench.ask('after')
    bench.model.go.set()
    assert last.wait().answer == 'last' and after.wait().answer == 'after'


def test_a_stream_of_questions_lets_the_encoder_have_its_turn(bench: Bench) -> None:
    bench.hold()
    rear = bench.ask('rear view', camera='rear')
    stream = deque(bench.ask('front view') for _ in range(7))

    def encode() -> None:
        bench.engine.encode(np.zeros((4, 4, 3), np.uint8))
        bench.frames['rear'] = FRAME
        bench.queue.frames_changed()

    encoder = threading.Thread(target=encode)
    encoder.start()
    tick = threading.Event()
    while not bench.engine._npu._encodings_waiting:
        tick.wait(0.01)
    bench.model.go.set()
    while not rear.ask.done and len(bench.model.order) < 500:  # the queue is never empty
        stream.popleft().wait()
        stream.append(bench.ask('front view'))
    for asked in stream:
        asked.wait()
    encoder.join()
    rear.wait()
    # After 'hold' and one more, or some more where a thread was late.
    assert bench.model.order.index('rear view') < 500


def test_background_waits_for_everybody_else(bench: Bench) -> None:
    held = bench.hold(background=True)
    behind = [bench.ask(f'behind {i}', background=True) for i in range(2)]
    rear = bench.ask('rear view', camera='rear')
    foreground = [bench.ask(f'front {i}') for i in range(2)]
    behind.append(bench.ask('behind 2', background=True))
    bench.model.go.set()
    for asked in (held, *behind, *foreground):
        asked.wait()
    # A question that waits for its frame could not be answered: it holds nobody up.
    assert bench.model.order == [
        'hold', 'front 0', 'front 1', 'behind 0', 'behind 1', 'behind 2'
    ]
    assert not rear.ask.done


def test_background_is_in_nobodys_way(bench: Bench) -> None:
    bench.hold(background=True)
    behind = [bench.ask('behind', background=True) for _ in range(20)]
    front = [bench.ask(f'front {i}') for i in range(9)]
    assert [asked.positions for asked in front] == [[i] for i in range(9)]
    assert bench.queue.depth == 9
    assert isinstance(bench.ask('one too many').wait().error, BusyError)
    bench.model.go.set()
    assert all(asked.wait().error is None for asked in (*front, *behind))
    assert bench.queue.depth == 0


@pytest.mark.parametrize('busy', ['reject', 'interrupt'])
def test_background_is_not_met_by_others(bench: Bench) -> None:
    held = bench.hold(background=True)
    behind = bench.ask('behind', background=True)
    asked = bench.ask('front')
    behind_too = bench.ask('behind, too', background=True)
    bench.model.go.set()
    for one in (held, asked, behind, behind_too):
        assert one.wait().error is None
    assert bench.model.order == ['hold', 'front', 'behind', 'behind, too']


def test_background_ends_like_any_other(bench: Bench) -> None:
    held = bench.hold(background=True)
    late = bench.ask('late', timeout=0.05, background=True)
    unwanted = bench.ask('unwanted', background=True)
    left = bench.ask('left', background=True)
    assert isinstance(late.wait().error, AnswerTimeoutError)
    bench.queue.end(unwanted.ask, CancelledError('enough'))
    bench.queue.end(held.ask, CancelledError('enough'))
    assert held.wait().error and unwanted.wait().error
    closing = threading.Thread(target=bench.queue.close)
    closing.start()
    assert isinstance(left.wait().error, InactiveError)
    bench.model.go.set()
    closing.join()
    assert isinstance(bench.ask('late', background=True).wait().error, InactiveError)
    assert bench.model.order == ['hold']


@pytest.mark.parametrize('background', [False, True])
def test_question_that_has_ended_before_is_not_taken(bench: Bench, background: bool) -> None:
    held = bench.hold()
    ended = Ask(held.ask.options, print, print, lambda ask: None)
    ended.fail(CancelledError('never mind'))
    bench.queue.submit(ended, background)
    following = bench.ask('next')
    assert following.positions == [0]
    bench.model.go.set()
    following.wait()
    assert bench.model.order == ['hold', 'next']
