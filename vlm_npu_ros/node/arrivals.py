# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The stamps of one camera's frames, compared with the clock when they come."""

from __future__ import annotations

from dataclasses import dataclass
import time

from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.frames import NANOSECONDS

_PERIOD = 1.0  # seconds over which stamps are compared
_FEWEST = 3  # frames
_SLOWEST = NANOSECONDS  # from the camera to here
_ON_ITS_WAY = 1.0  # seconds that a frame may come after those that were sent with it


@dataclass(frozen=True)
class Arrival:
    """
    A frame that has come.

    stamp, run, behind: as in clock.Stamped. arrived: the clock's time then, nanoseconds.
    at: time.monotonic() then.
    """

    stamp: int
    run: int
    behind: int
    arrived: int
    at: float


class Arrivals:
    """
    Compares the stamps of one camera with the clock; one thread adds.

    It tells frames of the clock's former run from those of the present one, and how far the
    stamps are from the clock.

    newest: the last frame that was accepted; None = none yet.
    """

    def __init__(self, clock: StampClock) -> None:
        self.newest: Arrival | None = None
        self._clock = clock
        self._last = -1  # stamp of the last frame, accepted or not
        self._span, self._former = _Span(-1, 0.0), _Span(-1, 0.0)

    def add(self, stamp: int) -> Arrival | None:
        """
        Accept a frame; None = it is late and was taken before the clock was set back.

        stamp: nanoseconds; 0 = it has none, and counts as taken now.
        """
        clock = self._clock
        run, now, at = clock.run, clock.now(), time.monotonic()
        stamp = stamp or now
        goes_back, self._last = stamp <= self._last, stamp
        is_first = run > 0 and (self.newest is None or self.newest.run != run)
        may_be_late = is_first and at - clock.since < _ON_ITS_WAY
        if may_be_late and self._is_late(stamp, now, goes_back):
            return None
        lag = now - stamp
        # The first frame of a run goes back in any case; cameras are slow, but not that slow.
        is_back = goes_back and (not is_first or lag > _SLOWEST)
        behind = lag if is_back else 0
        self.newest = Arrival(stamp, run, behind, now, at)
        if now:  # else there is no time yet
            self._compare(self.newest)
        return self.newest

    def _is_late(self, stamp: int, now: int, goes_back: bool) -> bool:
        """Return whether a stamp is of the time before the clock was set back."""
        ahead = max(self._span.ahead, self._former.ahead)  # what is usual for this camera
        return stamp > now + ahead or (stamp < self._clock.began and not goes_back)

    def _compare(self, new: Arrival) -> None:
        span = self._span
        if new.run != span.run or (span.count >= _FEWEST and new.at - span.begun > _PERIOD):
            self._former, self._span = span, _Span(new.run, new.at)
        self._span.add(new.arrived - new.stamp)

    @property
    def lag(self) -> int | None:
        """
        Give the least nanoseconds between stamps and clock during the last second or two.

        Negative = the stamps are ahead. None = too few frames have come to tell.
        """
        former, span = self._former, self._span
        if former.run != self._clock.run or former.count < _FEWEST:
            return None
        lags = [each.least for each in (former, span) if each.least is not None]
        return min(lags, key=abs)


class _Span:
    """What was seen during a second of one run."""

    def __init__(self, run: int, begun: float) -> None:
        self.run, self.begun = run, begun
        self.count = 0
        self.least: int | None = None  # the lag nearest to 0
        self.ahead = 0  # the most that a stamp was ahead of the clock

    def add(self, lag: int) -> None:
        self.count += 1
        self.ahead = max(self.ahead, -lag)
        if self.least is None or abs(lag) < abs(self.least):
            self.least = lag
