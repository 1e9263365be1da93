# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Circuit breaker: decides when a backend that has failed is asked again."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
import threading
import time

_LONGEST = 60.0  # seconds between two attempts


class BreakerState(str, Enum):
    """Which questions a breaker lets through."""

    CLOSED = 'closed'  # all
    OPEN = 'open'  # none, for a while
    HALF_OPEN = 'half-open'  # one, as a trial


class Breaker:
    """
    Keeps questions away from a backend that fails; safe to use from several threads.

    It opens after `failures` failures in a row. After `retry_after` seconds it is half-open: a
    success closes it, a failure opens it for twice as long, up to 60 s.
    """

    def __init__(
        self,
        failures: int = 3,
        retry_after: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failures = 0  # in a row
        self.reason = ''  # of the last one
        self._limit, self._retry_after, self._clock = failures, retry_after, clock
        self._pause = retry_after
        self._until: float | None = None  # half-open from then on; None = closed
        self._lock = threading.Lock()

    @property
    def state(self) -> BreakerState:
        """Whether it lets questions through: all, none or one as a trial."""
        until = self._until
        if until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._clock() < until else BreakerState.HALF_OPEN

    @property
    def remaining(self) -> float:
        """Seconds until it is half-open; 0 if it is not open."""
        until = self._until
        return 0.0 if until is None else max(until - self._clock(), 0.0)

    def succeed(self) -> None:
        """Report a success: the breaker closes."""
        with self._lock:
            self.failures, self._until, self._pause = 0, None, self._retry_after

    def fail(self, reason: str, at_once: bool = False) -> None:
        """
        Report a failure.

        at_once: open now, however many failures there were.
        """
        with self._lock:
            self.failures += 1
            self.reason = reason
            state = self.state
            if state is BreakerState.HALF_OPEN:
                self._pause = min(2 * self._pause, max(_LONGEST, self._retry_after))
            closed = state is BreakerState.CLOSED
            if closed and not (at_once or self.failures >= self._limit):
                return
            if state is not BreakerState.OPEN:  # if it was open, the question had no other backend
                self._until = self._clock() + self._pause
