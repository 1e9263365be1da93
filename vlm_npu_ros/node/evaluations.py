# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Repeats questions in the background; subscribers to the same question share its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
import functools
import math
import threading
import time
from typing import Any, Protocol

from vlm_npu_ros.engine.errors import (
    AnswerTimeoutError,
    CancelledError,
    InactiveError,
    RequestError,
    VlmError,
)
from vlm_npu_ros.node.ask import Ask, Stage
from vlm_npu_ros.node.ask_options import AskOptions
from vlm_npu_ros.node.ask_queue import AskQueue
from vlm_npu_ros.node.cameras import CameraFeed
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.frames import NANOSECONDS
from vlm_npu_ros.node.views import feeds_of

_RETRY = 1.0  # seconds from a failed question to the next one
_LASTING = (RequestError, InactiveError)  # errors that would recur at the next look


class Subscriber(Protocol):
    """
    Receives the answers to a question; called in one thread, and must return quickly.

    period: minimum seconds from one look to the next, by the clock of the stamps; 0 = look at
        each new embedding.
    deadline: when it ends, time.monotonic(); infinite = never.
    """

    period: float
    deadline: float

    def looked(self, ask: Ask) -> None:
        """Receive a question that has ended, with an answer or a temporary error."""

    def ended(self, error: VlmError) -> None:
        """Receive the reason why no more answers will come."""


class _Evaluation:
    """One question and its subscribers."""

    def __init__(self, options: AskOptions, clock: StampClock) -> None:
        self.options = options
        self.subscribers: list[Subscriber] = []
        self.ask: Ask | None = None  # the open one
        self.retry = 0.0  # time.monotonic() until which it rests after an error
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Forget what was looked at: the time begins anew."""
        self.run = self._clock.run
        # By the clock of the stamps, nanoseconds:
        self.last = 0  # stamp of the newest frame that was looked at
        self.begun = -math.inf  # start of the last look
        self.due = -math.inf  # earliest time of the next one

    def begin(self, on_done: Callable[[_Evaluation, Ask], None]) -> Ask:
        """Create the next question, about a frame newer than the last one."""
        freshness = replace(
            self.options.freshness, not_before=self.last + 1 if self.last else 0
        )
        self.ask = Ask(
            replace(self.options, freshness=freshness),
            lambda ask, piece: None,
            self._notice,
            functools.partial(on_done, self),
        )
        return self.ask

    def _notice(self, ask: Ask) -> None:
        if ask.stage is Stage.PREFILL:
            self.begun = self._clock.now()

    def settle(self, ask: Ask) -> None:
        """Record the end of the question and schedule the next one."""
        self.ask = None
        if ask.times.begun is None:
            self.begun = self._clock.now()
        period = min((s.period for s in self.subscribers), default=0.0)
        self.due = self.begun + period * NANOSECONDS
        if ask.error:
            self.retry = ask.times.asked + _RETRY
        elif ask.frame:
            self.last = ask.frame.stamp


class Evaluations:
    """
    Asks each question repeatedly in the background while it has subscribers.

    Subscribers with the same question share its answers: it is asked as often as the one with
    the shortest period wants. It looks at no frame twice, and of itself it wants no more frames
    encoded than encode_rate allows.

    feeds: the cameras by name.
    clock: of periods and encode_rate; that of the stamps.
    rate: gives the parameter encode_rate.
    """

    def __init__(
        self,
        queue: AskQueue,
        feeds: Mapping[str, CameraFeed],
        clock: StampClock,
        rate: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._feeds = feeds
        self._clock = clock
        self._rate = rate
        # Held only briefly, and never while the queue is called.
        self._wake = threading.Condition()
        self._evaluations: dict[tuple[Any, ...], _Evaluation] = {}
        self._ended: list[tuple[_Evaluation, Ask]] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name='evaluations', daemon=True)
        self._thread.start()

    @property
    def count(self) -> int:
        """Count the questions being repeated."""
        return len(self._evaluations)

    def join(self, options: AskOptions, subscriber: Subscriber) -> None:
        """Add a subscriber to this question, and ask it from now on."""
        with self._wake:
            if not self._closed:
                key = _key(options)
                evaluation = self._evaluations.setdefault(key, _Evaluation(options, self._clock))
                evaluation.subscribers.append(subscriber)
                evaluation.due, evaluation.retry = -math.inf, 0.0
                self._wake.notify()
                return
        subscriber.ended(InactiveError('The node is being deactivated'))

    def leave(self, subscriber: Subscriber) -> None:
        """Remove a subscriber; a question without subscribers is ended."""
        unwanted: list[Ask] = []
        with self._wake:
            for key, evaluation in list(self._evaluations.items()):
                if subscriber in evaluation.subscribers:
                    evaluation.subscribers.remove(subscriber)
                    if not evaluation.subscribers:
                        del self._evaluations[key]
                        unwanted += _let_go(evaluation)
        self._end(unwanted, CancelledError('Nobody wants the answer any more'))

    def frames_changed(self) -> None:
        """Look at the newest frame, because one was encoded."""
        with self._wake:
            self._wake.notify()

    def close(self) -> None:
        """End all questions, and their subscribers with InactiveError."""
        with self._wake:
            self._closed = True
            asks = [ask for e in self._evaluations.values() for ask in _let_go(e)]
            self._wake.notify()
        self._end(asks, InactiveError('The node is being deactivated'))
        self._thread.join()

    def _end(self, asks: list[Ask], error: VlmError) -> None:
        for ask in asks:
            self._queue.end(ask, error)

    def _on_done(self, evaluation: _Evaluation, ask: Ask) -> None:
        with self._wake:
            self._ended.append((evaluation, ask))
            self._wake.notify()

    def _run(self) -> None:
        while not self._closed:
            with self._wake:
                outdated = self._restart()
                ended, self._ended = self._ended, []
                evaluations = list(self._evaluations.values())
                now = self._clock.now()
                steady = time.monotonic()
                due = [e for e in evaluations if self._is_due(e, now, steady)]
                begun = [e.begin(self._on_done) for e in due]
                late = [s for e in evaluations for s in e.subscribers if s.deadline <= steady]
                if not (outdated or ended or begun or late or self._closed):
                    self._clock.wait(self._wake, self._next(now), self._patience(steady))
            self._end(outdated, CancelledError('The clock was set back'))
            for ask in begun:
                self._queue.submit(ask, background=True)
            for subscriber in late:
                self.leave(subscriber)
                subscriber.ended(
                    AnswerTimeoutError('The timeout has passed: allow more, or 0 for no limit')
                )
            for evaluation, ask in ended:
                self._settle(evaluation, ask)
        with self._wake:
            left = [s for e in self._evaluations.values() for s in e.subscribers]
            self._evaluations.clear()
        for subscriber in left:
            subscriber.ended(InactiveError('The node was deactivated'))

    def _settle(self, evaluation: _Evaluation, ask: Ask) -> None:
        """Tell the subscribers how a question has ended."""
        with self._wake:
            if evaluation.ask is not ask:  # it was dropped
                return
            evaluation.settle(ask)
            subscribers = list(evaluation.subscribers)
            error = ask.error if isinstance(ask.error, _LASTING) else None
            if error:
                del self._evaluations[_key(evaluation.options)]
        for subscriber in subscribers:
            if error:
                subscriber.ended(error)
            else:
                subscriber.looked(ask)

    def _restart(self) -> list[Ask]:
        """Restart evaluations for which the time begins anew; return their open questions."""
        outdated: list[Ask] = []
        for evaluation in self._evaluations.values():
            if evaluation.run != self._clock.run or self._went_back(evaluation):
                evaluation.restart()
                outdated += _let_go(evaluation)
        return outdated

    def _is_due(self, evaluation: _Evaluation, now: float, steady: float) -> bool:
        """
        Return whether to ask now: there is a new frame, or it is time to request one.

        now: by the clock of the stamps; steady: time.monotonic().

        Frames that a question waits for are encoded at once, whatever encode_rate says.
        """
        if evaluation.ask or now < evaluation.due or steady < evaluation.retry:
            return False
        has_new = min(self._stamps(evaluation)) > evaluation.last
        return has_new or now >= self._wanting(evaluation)

    def _wanting(self, evaluation: _Evaluation) -> float:
        """Return when to request a frame, nanoseconds."""
        rate = self._rate()
        return evaluation.begun + (NANOSECONDS / rate if rate > 0 else 0.0)

    def _next(self, now: float) -> float:
        """Return the clock's time at which a question is due by time alone; infinite = none."""
        times = (
            e.due if e.due > now else self._wanting(e)
            for e in self._evaluations.values() if not e.ask
        )
        return min((each for each in times if each > now), default=math.inf)

    def _patience(self, now: float) -> float:
        """Return the seconds to the next deadline or retry; infinite = there is none."""
        times = [s.deadline for e in self._evaluations.values() for s in e.subscribers]
        times += [e.retry for e in self._evaluations.values() if e.retry > now]
        return max(min(times, default=math.inf) - now, 0.0)

    def _stamps(self, evaluation: _Evaluation) -> list[int]:
        """Return the stamps of the newest frames of its cameras; 0 = no frame."""
        frames = [feed.frame for feed in feeds_of(evaluation.options, self._feeds)]
        return [frame.stamp if frame else 0 for frame in frames]

    def _went_back(self, evaluation: _Evaluation) -> bool:
        """Return whether a recording began anew: the newest frames are older than the last."""
        stamps = self._stamps(evaluation)
        return min(stamps) > 0 and max(stamps) < evaluation.last


def _let_go(evaluation: _Evaluation) -> list[Ask]:
    """Detach the open question of an evaluation; return it, if there is one."""
    ask, evaluation.ask = evaluation.ask, None
    return [ask] if ask else []


def _key(options: AskOptions) -> tuple[Any, ...]:
    """Return what is equal for questions with the same answers."""
    return options.request, options.cameras, options.region, options.locates
