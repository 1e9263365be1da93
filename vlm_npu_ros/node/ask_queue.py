# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Orders the questions, and has them answered one at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
import math
import threading
import time
from weakref import WeakSet

from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import (
    AnswerTimeoutError,
    as_vlm_error,
    BusyError,
    InactiveError,
    VlmError,
)
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.types import GenerationRequest, Sampling
from vlm_npu_ros.node.ask import Ask, Stage
from vlm_npu_ros.node.frames import View
from vlm_npu_ros.node.read_ahead import ReadAhead
from vlm_npu_ros.node.views import Views


class AskQueue:
    """
    Answers questions one at a time, first come, first served among those that have a frame.

    A question that is cancelled or times out ends at once for its client and frees its place; the
    rest of its generation is discarded.

    Background questions are answered only while no other one could be; `size` and `busy` do not
    count them. One that is being answered is not interrupted, so a question waits for one of them
    at most.

    views: finds the frames of a question.
    ahead: reads frames while no question is open.
    size: gives the number of questions that may wait.
    sampling: gives how tokens are drawn.
    dialogue_tokens: gives the most tokens of a dialogue; 0 = what the context holds.
    busy: gives what a question does if others are open: wait behind them ('queue'), end itself
        ('reject') or end them ('interrupt').
    answered: is told each question that the model has answered, after its end.
    """

    def __init__(
        self,
        engine: Engine,
        views: Views,
        ahead: ReadAhead,
        size: Callable[[], int],
        sampling: Callable[[], Sampling],
        dialogue_tokens: Callable[[], int],
        busy: Callable[[], str] = lambda: 'queue',
        answered: Callable[[Ask], None] = lambda ask: None,
    ) -> None:
        self._engine = engine
        self._views, self._ahead = views, ahead
        self._size = size
        self._sampling = sampling
        self._dialogue_tokens = dialogue_tokens
        self._busy, self._answered = busy, answered
        self.tokens_per_second = 0.0  # of the last answer
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)  # wakes the generate thread
        self._added = threading.Condition(self._lock)  # wakes the deadline thread
        self._waiting: list[Ask] = []  # background questions last
        self._background: WeakSet[Ask] = WeakSet()
        self._running: Ask | None = None
        self._cancelled = Cancellation()  # of the running question
        self._next_deadline = math.inf  # that the deadline thread waits for
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name='generate', daemon=True),
            threading.Thread(target=self._keep_deadlines, name='deadlines', daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """Count the waiting questions, without those in the background."""
        return sum(ask not in self._background for ask in tuple(self._waiting))

    @property
    def is_idle(self) -> bool:
        """Whether no question is open, also none in the background."""
        return self._running is None and not self._waiting

    def submit(self, ask: Ask, background: bool = False) -> None:
        """
        Add a question, or end it at once with BusyError or InactiveError.

        A question that has already ended is ignored.
        """
        with self._lock:
            if self._closed:
                ask.fail(InactiveError('The node is being deactivated'))
                return
            if background:
                self._background.add(ask)
            refusal = None if background else self._make_room()
            if refusal:
                ask.fail(refusal)
            if ask.done:
                return
            place = len(self._waiting) if background else self.depth
            if self._running:
                before = sum(other.stage is Stage.QUEUED for other in self._waiting[:place])
                self._look(ask, before)
                if ask.done:
                    return
            self._waiting.insert(place, ask)
            self._changed.notify()
            if ask.deadline < self._next_deadline:
                self._added.notify()

    def end(self, ask: Ask, error: VlmError) -> None:
        """End a question with an error, in any stage."""
        ask.fail(error)
        with self._lock:
            if ask in self._waiting:
                self._waiting.remove(ask)
                self._renumber()
            if ask is self._running:
                self._cancelled.set()

    def frames_changed(self) -> None:
        """Update the waiting questions, because an encoding has begun or ended."""
        with self._lock:
            position = 0
            for ask in tuple(self._waiting) if self._running else ():
                position += self._look(ask, position) is not None
            self._changed.notify()

    def close(self) -> None:
        """End all questions with InactiveError, and wait until the engine is idle."""
        with self._lock:
            self._closed = True
            error = InactiveError('The node was deactivated before the answer was complete')
            self._end_all(self._open(), error)
            self._changed.notify()
            self._added.notify()
        self._engine.pause()  # also ends calls that wait for the engine
        for thread in self._threads:
            thread.join()

    def _open(self) -> list[Ask]:
        """Return the questions that have not ended; the last one is being answered."""
        return [ask for ask in (*self._waiting, self._running) if ask and not ask.done]

    def _make_room(self) -> BusyError | None:
        """Make room for one more question, or return why there is none."""
        policy, size = self._busy(), self._size()
        others = [ask for ask in self._open() if ask not in self._background]
        if policy == 'interrupt':
            error = BusyError('A newer question took its place (busy: interrupt)')
            self._end_all(others, error)
        elif policy == 'reject' and others:
            return BusyError('Another question is being answered (busy: reject): ask again later')
        elif len(others) > size:
            return BusyError(
                f'{self.depth} questions are waiting already (queue_size {size}): ask again later'
            )
        return None

    def _end_all(self, asks: list[Ask], error: VlmError) -> None:
        for ask in reversed(asks):  # from the end, so that none of them moves up
            self.end(ask, error)

    def _keep_deadlines(self) -> None:
        with self._lock:
            while not self._closed:
                for ask in self._open():
                    if ask.deadline <= time.monotonic():
                        self._expire(ask)
                first = min((ask.deadline for ask in self._open()), default=math.inf)
                self._next_deadline = first
                seconds = min(first - time.monotonic(), threading.TIMEOUT_MAX)
                self._added.wait(max(seconds, 0))

    def _expire(self, ask: Ask) -> None:
        waits = ask.stage in (Stage.WAITING_FOR_FRAME, Stage.ENCODING)
        if waits or (ask.stage is None and not self._views.view_for(ask)):
            error = self._views.complaint(ask)
        else:
            why = self._engine.failure or 'allow more time or ask for fewer tokens'
            error = AnswerTimeoutError(
                f'The answer was not complete after {in_words(ask.options.timeout)} '
                f'(stage {ask.stage or Stage.QUEUED}): {why}'
            )
        self.end(ask, error)

    def _look(self, ask: Ask, position: int, is_next: bool = False) -> View | None:
        """
        Return the view of a waiting question; set its stage and position, or end it.

        While nothing is being answered, only the generate thread calls this.
        is_next: it takes the question.
        """
        view = self._views.view_for(ask)
        if view:
            ask.frame_is_ready(view.newest)
            if not is_next:
                ask.enter(Stage.QUEUED, position)
        elif obstacle := self._views.obstacle(ask):
            self.end(ask, obstacle)
        else:
            waiting = Stage.ENCODING if self._views.is_encoding(ask) else Stage.WAITING_FOR_FRAME
            ask.enter(waiting, position)
        return view

    def _renumber(self) -> None:
        position = 0
        for ask in self._waiting:
            if ask.stage:
                ask.enter(ask.stage, position)
            position += ask.stage is Stage.QUEUED

    def _take(self) -> tuple[Ask, View] | None:
        """Remove and return the first question that has a view, and the view."""
        for ask in tuple(self._waiting):
            view = self._look(ask, 0, is_next=True)  # those before it have no view
            if view and not ask.done:
                self._waiting.remove(ask)
                self._renumber()
                return ask, view
        return None

    def _fit(self, ask: Ask, view: View) -> tuple[GenerationRequest, View, int]:
        """Fit a question into the context; return the request, its view and the dropped turns."""
        request = replace(
            ask.options.request,
            images=tuple(frame.embedding for frame in view.frames),
            sampling=self._sampling(),
            turns=view.turns,
            video=view.is_video,
            locate=view.newest.placement if ask.options.locates else None,
        )
        fitted = self._engine.fit(request, self._dialogue_tokens())
        note = view.note
        if len(fitted.images) < len(view.frames):
            note = (
                f'{len(fitted.images)} of {ask.options.num_frames} frames: the context of '
                f'{self._engine.context} tokens has room for no more'
            )
        frames = tuple(view.frames[i] for i in fitted.images)
        return fitted.request, View(frames, fitted.request.turns, note), fitted.dropped_turns

    def _run(self) -> None:
        while True:
            with self._lock:
                self._running = None
                taken = self._take()
                while taken is None and not self._closed:
                    self._ahead.rest()
                    self._changed.wait()
                    taken = self._take()
                if taken is None or self._closed:
                    return
                self._running, self._cancelled = taken[0], Cancellation()
                self._ahead.begin(taken[1].frames, taken[0].options.request.system_prompt)
            self._answer(*taken)

    def _answer(self, ask: Ask, view: View) -> None:
        figures = None
        try:
            forgotten = self._views.forget_before(ask)
            request, view, dropped = self._fit(ask, view)
            ask.begin(view, dropped + forgotten)
            with closing(self._engine.write(request, self._cancelled)) as chunks:
                for chunk in chunks:
                    if chunk.figures:
                        figures = chunk.figures
                        self.tokens_per_second = figures.tokens_per_second
                    if chunk.finish_reason and chunk.finish_reason.is_whole and not ask.done:
                        said = '' if chunk.retracts else ask.answer
                        self._views.remember(ask, view, said + chunk.text)
                    ask.add(chunk)
                    if ask.done:
                        break
            if ask.finish_reason and ask.finish_reason.is_whole:
                self._answered(ask)
        except Exception as error:
            ask.fail(as_vlm_error(error))
        finally:
            self._ahead.end(figures, bool(ask.options.conversation_id), bool(view.turns))
