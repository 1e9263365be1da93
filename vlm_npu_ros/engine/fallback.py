# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Several backends as one engine: if the preferred one fails, the next one answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
import functools
import math
import threading
import time

import numpy as np
from vlm_npu_ros.engine.breaker import BreakerState
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import (
    AnswerFormError,
    AnswerTimeoutError,
    BackendError,
    BackendUnavailableError,
    ContextError,
    EmptyAnswerError,
    InactiveError,
    NotSupportedError,
    RequestError,
    VlmError,
)
from vlm_npu_ros.engine.generation import Cancellation, Generation
from vlm_npu_ros.engine.interface import Engine, FittedRequest
from vlm_npu_ros.engine.member import Member, SharedEmbedding
from vlm_npu_ros.engine.options import option
from vlm_npu_ros.engine.types import (
    Chunk,
    FinishReason,
    GenerationFigures,
    GenerationRequest,
    ImageEmbedding,
    NOTHING_READ,
    ReadAhead,
)

# Errors after which another backend is asked; others are faults of the question.
_MOVE_ON = (
    BackendError, AnswerFormError, AnswerTimeoutError, ContextError, EmptyAnswerError,
    NotSupportedError,
)
_COMPANY = 2.0  # seconds that the other backends get to be loaded, too, when one is


@dataclass(frozen=True)
class FallbackSettings:
    """When another backend is asked."""

    first_token_timeout: float = option(
        10.0,
        'Seconds that a backend may take to begin an answer before the next one is asked; 0 = no '
        'limit.',
        0.0, 86400.0, least=0.001, unit='s',
    )
    failures: int = option(
        3, 'Failures in a row after which a backend is not asked for a while.', 1, 1000
    )
    retry_after: float = option(
        5.0, 'Seconds until it is tried again; doubled after each failed attempt, up to 60.',
        0.001, 3600.0, unit='s',
    )


class FallbackEngine(Engine):
    """
    Asks the first of its members that can answer.

    A question goes from one member to the next as long as no text has come. Then it ends with
    what that member says, be it an error: no answer is of two members. Those with an obstacle
    (`Member.obstacle`) are asked after the others. Where no other member can be asked, one may
    take as long as it likes.

    members: in order of preference.
    log: gets a line about each question that moves on, and each attempt to load.
    """

    def __init__(
        self,
        members: list[Member],
        first_token: float,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._members = tuple(members)
        self._first_token, self._log = first_token, log
        self._changed = threading.Condition()
        self._running: Cancellation | None = None  # of the answer whose turn it is
        self._closed = threading.Event()
        self._is_loaded = False
        self._unloaded: dict[Member, VlmError] = {}  # why these could not be loaded

    def load(self) -> None:
        """
        Load all members at the same time; return soon after the first one is ready.

        The others go on in the background, and those that cannot be loaded now try again.
        Raises BackendError with every reason if none of them can.
        """
        for member in self._members:
            threading.Thread(
                target=self._load_member, args=(member,), name=f'load {member.name}', daemon=True
            ).start()
        with self._changed:
            self._changed.wait_for(lambda: self._closed.is_set() or self._loaded or self._settled)
            self._changed.wait_for(lambda: self._closed.is_set() or self._settled, _COMPANY)
        if self._closed.is_set():
            raise InactiveError('The engine is closed')
        if not self._loaded:
            self.close()
            raise _all_failed([(m, self._unloaded[m]) for m in self._members])
        self._is_loaded = True

    @property
    def _loaded(self) -> list[Member]:
        """Members that have been loaded, in order of preference."""
        return [member for member in self._members if member.engine]

    @property
    def _settled(self) -> bool:
        """Whether all members have been loaded or could not be."""
        return all(member.engine or member in self._unloaded for member in self._members)

    def _load_member(self, member: Member) -> None:
        """Load a member, as often as it takes."""
        while not self._closed.is_set():
            again = 'still ' if member in self._unloaded else ''
            try:
                member.load()
            except VlmError as error:
                self._unloaded[member] = error
                if not self._closed.is_set():
                    self._log(f'The backend {member.name} {again}cannot be loaded: {error}')
            else:
                if again or self._is_loaded:
                    self._log(f'The backend {member.name} is loaded now')
            with self._changed:
                self._changed.notify_all()
            if member.engine or self._closed.wait(member.breaker.remaining):
                return

    @property
    def members(self) -> tuple[Member, ...]:
        return self._members

    @property
    def ready(self) -> list[Member]:
        """Members that can be asked, in order of preference."""
        return [member for member in self._members if not member.obstacle]

    @property
    def answering(self) -> Member:
        """Member that would be asked first now."""
        return self._order()[0]

    @property
    def model_name(self) -> str:
        """Name of the model that would answer now."""
        return self.answering.source.model

    @property
    def context(self) -> int:
        """Smallest context of the members that can be asked."""
        return min(m.engine.context for m in self.ready or self._order() if m.engine)

    @property
    def restarts(self) -> int:
        return sum(member.engine.restarts for member in self._members if member.engine)

    @property
    def memory(self) -> int:
        return sum(member.engine.memory for member in self._members if member.engine)

    @property
    def failure(self) -> str:
        """Why no member can be asked; '' = one can."""
        if self.ready:
            return ''
        return '; '.join(f'{member.name}: {member.obstacle}' for member in self._members)

    @property
    def read_ahead(self) -> ReadAhead:
        """Tell that of the member that would answer now."""
        return self.answering.loaded.read_ahead

    def prepare(
        self, images: tuple[ImageEmbedding, ...], cancelled: Cancellation
    ) -> GenerationFigures:
        """Let the member that would answer now read them, if it has encoded them."""
        member = self.answering
        if member.obstacle or member.breaker.state is not BreakerState.CLOSED:
            return NOTHING_READ
        try:
            return member.prepare(images, cancelled)
        except VlmError as error:
            member.note(error)
            raise

    def encode(self, rgb: np.ndarray) -> ImageEmbedding:
        failed: list[tuple[Member, VlmError]] = []
        # Half-open members are tried with questions only, because an attempt may take long.
        for member in self._order(lambda m: m.breaker.state is not BreakerState.CLOSED):
            try:
                made = member.encode(rgb)
            except BackendError as error:
                member.note(error)
                failed.append((member, error))
            else:
                return SharedEmbedding(made.data, made.encode_seconds, rgb, {member.name: made})
        raise _all_failed(failed)

    def restore(self, embedding: ImageEmbedding) -> None:
        """Make sure that the member that would answer now has the embedding."""
        self.answering.restore(embedding)

    def tokens(self, request: GenerationRequest) -> int:
        """Count the tokens as the first member does."""
        for member in self._order():
            sized = member.sized(request)
            if sized:
                return member.loaded.tokens(sized)
        return 0

    def fit(self, request: GenerationRequest, limit: int = 0) -> FittedRequest:
        """
        Leave out turns and images that not every ready member has room for.

        So it is the same question whichever of them answers it. A member that has no room for it
        even then does not count.
        """
        fitted, dropped = request, 0
        kept = tuple(range(len(request.images)))
        if not request.turns and len(kept) < 2:
            return FittedRequest(request, kept, dropped)
        candidates = self._candidates(request.backend)
        for member in [m for m in candidates if not m.obstacle] or candidates:
            step = _fit(member, fitted, limit)
            if step:
                kept = tuple(kept[i] for i in step.images)
                dropped += step.dropped_turns
                images = tuple(fitted.images[i] for i in step.images)
                fitted = replace(fitted, images=images, turns=step.request.turns)
        return FittedRequest(fitted, kept, dropped)

    def generate(self, request: GenerationRequest) -> Generation:
        """
        Let the first member that can answer the question.

        Raises faults of the question, errors after the first text and, if no member answers, the
        error of the first one with the reasons of all.
        """
        return _ChainGeneration(self, request)

    def _take_turn(self, turn: Cancellation, timeout: float | None) -> None:
        """Wait until no other answer is under way, or this one is cancelled."""
        def is_over() -> bool:
            return not self._running or self._closed.is_set() or turn.is_set()

        with self._changed:
            if not self._changed.wait_for(is_over, timeout):
                raise TimeoutError
            if self._closed.is_set():
                raise InactiveError('The engine is closed')
            if not turn.is_set():
                self._running = turn

    def _end_turn(self, turn: Cancellation) -> None:
        with self._changed:
            if self._running is turn:
                self._running = None
            self._changed.notify_all()

    def _patience(self, member: Member, others: list[Member]) -> float:
        """Seconds to wait for a member's first text before others are asked."""
        others_can = any(not other.obstacle for other in others)
        is_bound = self._first_token and (others_can or (others and member.obstacle))
        return self._first_token if is_bound else math.inf

    def pause(self) -> None:
        """Cancel the running generation, and end calls that wait for a restart."""
        running = self._running
        if running:
            running.set()
        for member in self._members:
            if member.engine:
                member.engine.pause()

    def resume(self) -> None:
        for member in self._members:
            if member.engine:
                member.engine.resume()

    def close(self) -> None:
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        # At the same time, because each one may take a second or two.
        closing = [threading.Thread(target=member.close) for member in self._members]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()

    def _order(self, shunned: Callable[[Member], bool] = lambda member: False) -> list[Member]:
        """List the loaded members, and last those that should not be asked."""
        return sorted(self._loaded, key=lambda member: bool(member.obstacle) or shunned(member))

    def _candidates(self, name: str) -> list[Member]:
        """List the members to ask, in order: only the one of this name, if there is a name."""
        if not name:
            return self._order()
        for member in self._members:
            if member.name == name and member.engine:
                return [member]
            if member.name == name:
                raise BackendUnavailableError(f'The backend {name} is missing: {member.obstacle}')
        known = ', '.join(member.name for member in self._members)
        raise RequestError(f'There is no backend {name!r}: choose one of {known}')


class _ChainGeneration(Generation):
    """The answer of the first member that gives one; members are asked in the reader's thread."""

    def __init__(self, engine: FallbackEngine, request: GenerationRequest) -> None:
        super().__init__()
        self._engine, self._request = engine, request
        self._left: list[Member] | None = None  # members that can still be asked
        self._failed: list[tuple[Member, VlmError]] = []
        self._asked: tuple[Member, Generation] | None = None
        self._has_text = False
        self._limit = math.inf  # when others are asked, time.monotonic()
        self.cancelled.add_callback(functools.partial(engine._end_turn, self.cancelled))

    def next(self, timeout: float | None = None) -> Chunk:  # noqa: A003
        """Wait for the next chunk with text or a finish reason."""
        if self._is_over:
            raise StopIteration
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        try:
            chunk = None
            while chunk is None:
                chunk = self._advance(deadline)
        except TimeoutError:
            raise
        except Exception:
            self._end()
            raise
        if chunk.finish_reason:
            self._end()
        return chunk

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the member asked last is done with it; return whether it is."""
        return self._asked is None or self._asked[1].join(timeout)

    def _end(self) -> None:
        self._is_over = True
        self._engine._end_turn(self.cancelled)

    def _advance(self, deadline: float) -> Chunk | None:
        """Wait for a chunk of the member that is asked, or ask the next one."""
        if self._asked is None:
            if self._left is None:
                self._engine._take_turn(self.cancelled, _seconds_until(deadline))
                self._left = self._engine._candidates(self._request.backend)
            if self.cancelled.is_set():
                return Chunk('', FinishReason.CANCELLED)
            self._ask()
        assert self._asked
        member, answer = self._asked
        try:
            chunk = answer.next(_seconds_until(min(deadline, self._limit)))
        except TimeoutError:
            if time.monotonic() < self._limit:
                raise
            bound = in_words(self._engine._first_token)
            self._move_on(AnswerTimeoutError(
                f'no text within {bound} (fallback.first_token_timeout)'
            ))
            member.leave(answer)
            return None
        except VlmError as error:
            if self._has_text or not isinstance(error, _MOVE_ON):
                member.note(error)
                raise
            self._move_on(error)
            return None
        if not (chunk.text or chunk.finish_reason):
            if not chunk.thought:
                return None
            self._limit = time.monotonic() + self._engine._patience(member, self._left or [])
            return replace(chunk, source=member.source)
        self._has_text, self._limit = True, math.inf
        if chunk.finish_reason not in (None, FinishReason.CANCELLED) and member.succeed():
            self._engine._log(f'The backend {member.name} answers again')
        return replace(chunk, source=member.source)

    def _ask(self) -> None:
        """Ask the next member; raise the error of all if none is left."""
        if not self._left:
            missing = () if self._request.backend else self._engine.members
            self._failed += ((m, BackendUnavailableError(m.obstacle)) for m in missing
                             if m.engine is None)
            raise _all_failed(self._failed)
        member = self._left.pop(0)
        answer = member.generate(self._request)
        self._asked = member, answer
        self._limit = time.monotonic() + self._engine._patience(member, self._left)
        self.cancelled.add_callback(answer.cancel)

    def _move_on(self, error: VlmError) -> None:
        assert self._asked
        member = self._asked[0]
        member.note(error)
        self._failed.append((member, error))
        self._engine._log(f'The backend {member.name} did not answer: {error}')
        self._asked = None


def _seconds_until(deadline: float) -> float | None:
    return None if deadline == math.inf else deadline - time.monotonic()


def _fit(member: Member, request: GenerationRequest, limit: int) -> FittedRequest | None:
    """Fit a request to a member; None if its limits are unknown, or if it never fits."""
    sized = member.sized(request)
    if sized is None:
        return None
    try:
        fitted = member.loaded.fit(sized, limit)
        tokens = member.loaded.tokens(fitted.request)
        fits = tokens + request.max_new_tokens <= member.loaded.context
    except BackendError:  # reported when it is asked
        return None
    return fitted if fits else None


def _all_failed(failed: list[tuple[Member, VlmError]]) -> VlmError:
    """Make an error of the first one's kind that tells what all of them said."""
    if not failed:
        return BackendUnavailableError('No backend is loaded')
    reasons = '; '.join(f'{member.name}: {error}' for member, error in failed)
    kind = type(failed[0][1])
    return kind(f'No backend answers: {reasons}' if len(failed) > 1 else reasons)
