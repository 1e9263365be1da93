# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""One question, from its arrival to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
import threading
import time
import uuid

from builtin_interfaces.msg import Time
from std_msgs.msg import Header
from vlm_npu_ros.engine.errors import (
    AnswerFormError,
    AnswerTimeoutError,
    CancelledError,
    VlmError,
)
from vlm_npu_ros.engine.types import Chunk, FinishReason, GenerationFigures, Source, Spot, Verdict
from vlm_npu_ros.msg import Located
from vlm_npu_ros.node.ask_options import AskOptions
from vlm_npu_ros.node.frames import CachedFrame, View
from vlm_npu_ros.node.located import located


class Stage(str, Enum):
    """Stage of a question; the values are those of the action's feedback."""

    WAITING_FOR_FRAME = 'waiting_for_frame'
    ENCODING = 'encoding'
    QUEUED = 'queued'
    PREFILL = 'prefill'
    GENERATING = 'generating'


@dataclass(frozen=True)
class Piece:
    """
    A piece of an answer, published while it is written.

    thought, retracts: as in Chunk.
    """

    sequence: int
    delta: str
    finish_reason: FinishReason | None
    thought: str = ''
    retracts: bool = False


class Ask:
    """
    A question, its answer so far, and its end, which comes exactly once.

    Safe to use from several threads. The callbacks are called one at a time and in order; the last
    one is `on_done`. They must be quick.

    on_piece: a piece was added to the answer, or the answer has ended.
    on_stage: the stage, the position or the answer has changed.
    """

    def __init__(
        self,
        options: AskOptions,
        on_piece: Callable[[Ask, Piece], None],
        on_stage: Callable[[Ask], None],
        on_done: Callable[[Ask], None],
    ) -> None:
        self.options = options
        self.request_id = uuid.uuid4().hex[:12]
        self.stage: Stage | None = None
        self.position = 0  # number of questions ahead of this one
        self.frame: CachedFrame | None = None  # the newest one of the view
        self.stamps: tuple[Time, ...] = ()  # of all frames
        self.dropped_turns = 0
        self.note = ''
        self.answer = ''
        self.error: VlmError | None = None
        self.finish_reason: FinishReason | None = None
        self.verdict: Verdict | None = None  # of a question with choices
        self.spots: tuple[Spot, ...] = ()  # of a question where something is
        self.figures: GenerationFigures | None = None
        self.source: Source | None = None  # backend of the answer, if there are several
        self.times = AskTimes(time.monotonic())
        self._on_piece, self._on_stage, self._on_done = on_piece, on_stage, on_done
        self._sequence = 0
        self._lock = threading.RLock()

    @property
    def done(self) -> bool:
        """Whether the question has ended."""
        return self.finish_reason is not None

    @property
    def deadline(self) -> float:
        """When the question times out, time.monotonic()."""
        return self.times.asked + self.options.timeout

    @property
    def header(self) -> Header:
        """Header of the newest frame that the answer is about; empty without a frame."""
        return self.frame.header if self.frame else Header()

    @property
    def located(self) -> list[Located]:
        """Where the things are that the question names; read from depth pictures at each use."""
        return located(self.spots, self.frame.header, self.frame.around) if self.frame else []

    def enter(self, stage: Stage, position: int = 0) -> None:
        """Set the stage and the position."""
        with self._lock:
            if not self.done and (stage, position) != (self.stage, self.position):
                self.stage, self.position = stage, position
                self._on_stage(self)

    def frame_is_ready(self, frame: CachedFrame) -> None:
        """Record that the question has its frame, and how long it waited for the encoding."""
        if self.times.frame_ready is None:
            # Without a stage yet, the frame was there before the question.
            ready = time.monotonic() if self.stage else self.times.asked
            encode = min(frame.embedding.encode_seconds, ready - self.times.asked)
            self.times.frame_ready, self.times.encode = ready, encode

    def begin(self, view: View, dropped_turns: int) -> None:
        """Bind the question to its view; the language model starts to read."""
        self.frame = view.newest
        self.stamps = tuple(frame.header.stamp for frame in view.frames)
        self.dropped_turns, self.note = dropped_turns, view.note
        self.times.begun = time.monotonic()
        self.enter(Stage.PREFILL)

    def add(self, chunk: Chunk) -> None:
        """Add a chunk of the answer; ignored after the end."""
        if chunk.spots and self.frame:
            self.frame.around.wait()
        with self._lock:
            if self.done:
                return
            self.source = chunk.source
            if chunk.retracts:
                self.answer = ''
            if chunk.text and self.times.first_piece is None:
                self.times.first_piece = time.monotonic()
                self.stage = Stage.GENERATING
            self.answer += chunk.text
            if chunk.text:
                self._on_stage(self)
            if chunk.finish_reason:
                if chunk.finish_reason is FinishReason.REPETITION:
                    self.note = '; '.join(filter(None, (self.note, _CUT)))
                self.figures, self.verdict = chunk.figures, chunk.verdict
                self.spots = chunk.spots
                self.note = '; '.join(filter(None, (self.note, chunk.note)))
                self._end(chunk, chunk.finish_reason, None)
            elif chunk.text or chunk.thought or chunk.retracts:
                self._publish(chunk, None)

    def fail(self, error: VlmError) -> None:
        """End with an error; ignored after the end."""
        with self._lock:
            if not self.done:
                said = error.text if isinstance(error, AnswerFormError) else self.answer
                is_other = not said.startswith(self.answer)  # else pieces of it came before
                last = Chunk(said if is_other else said[len(self.answer):], retracts=is_other)
                self.answer = said
                self._end(last, _REASONS.get(type(error), FinishReason.ERROR), error)

    def _end(self, last: Chunk, reason: FinishReason, error: VlmError | None) -> None:
        self.finish_reason, self.error = reason, error
        self.times.ended = time.monotonic()
        self._publish(last, reason)
        self._on_done(self)

    def _publish(self, chunk: Chunk, reason: FinishReason | None) -> None:
        piece = Piece(self._sequence, chunk.text, reason, chunk.thought, chunk.retracts)
        self._on_piece(self, piece)
        self._sequence += 1


@dataclass
class AskTimes:
    """Times of the stages, time.monotonic(); None = not reached. `encode` is a duration."""

    asked: float
    frame_ready: float | None = None
    begun: float | None = None
    first_piece: float | None = None
    ended: float | None = None
    encode: float = 0.0


_CUT = 'the answer was cut, because it repeated itself'
_REASONS = {AnswerTimeoutError: FinishReason.TIMEOUT, CancelledError: FinishReason.CANCELLED}
