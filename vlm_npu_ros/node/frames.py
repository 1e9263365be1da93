# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Encoded frames of a camera: the newest one, recent ones, and which fit a question."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace

from builtin_interfaces.msg import Duration, Time
import numpy as np
from std_msgs.msg import Header
from vlm_npu_ros.engine.placement import Placement, Region
from vlm_npu_ros.engine.types import ImageEmbedding, Turn
from vlm_npu_ros.node.located import Surroundings

NANOSECONDS = 1_000_000_000
_LONGEST = 2**31 * NANOSECONDS - 1  # what a Duration can hold
_OVERTAKEN = NANOSECONDS  # a frame that is further behind the newest one was not overtaken by it


def nanoseconds(stamp: Duration | Time) -> int:
    """Convert a message."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def duration(nanoseconds: int) -> Duration:
    """Make a message; it cannot be negative, nor longer than such a message can hold."""
    sec, nanosec = divmod(min(max(nanoseconds, 0), _LONGEST), NANOSECONDS)
    return Duration(sec=sec, nanosec=nanosec)


@dataclass(frozen=True)
class CachedFrame:
    """
    An encoded frame, ready for the language model.

    camera: '' for a picture that came with a question, which `content` tells from others.
    placement: how the picture came to the model. region: that was asked for; None = all of it.
    picture: reads it again, whole and not turned: (height, width, 3) uint8 RGB; None = not kept.
    """

    camera: str
    header: Header
    stamp: int  # nanoseconds since the epoch of the node's clock
    embedding: ImageEmbedding
    run: int = 0  # this one and `behind` as in clock.Stamped
    behind: int = 0
    placement: Placement | None = None
    region: Region | None = None
    content: str = ''
    around: Surroundings = Surroundings()
    picture: Callable[[], np.ndarray] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that it takes, without those of the picture."""
        return self.embedding.nbytes + self.around.nbytes


@dataclass(frozen=True)
class View:
    """
    The frames of a question, oldest first or camera by camera, and the turns about them.

    note: how they differ from what was asked for.
    """

    frames: tuple[CachedFrame, ...]
    turns: tuple[Turn, ...] = ()
    note: str = ''

    @property
    def newest(self) -> CachedFrame:
        """Give the newest frame."""
        return max(self.frames, key=lambda frame: frame.stamp)

    @property
    def is_video(self) -> bool:
        """Whether these are several frames of one camera."""
        cameras = {frame.camera for frame in self.frames}
        return len(self.frames) > 1 and len(cameras) == 1 and '' not in cameras


@dataclass(frozen=True)
class Freshness:
    """How fresh a frame must be, in nanoseconds."""

    max_age: int
    not_before: int = 0

    def admits(self, frame: CachedFrame | None, now: int) -> bool:
        """
        Return whether a question may be answered from this frame of the present run.

        The clocks of camera and robot may differ a little, in either direction.
        """
        if frame is None:
            return False
        return frame.stamp >= self.not_before and abs(now - frame.stamp) <= self.max_age


@dataclass(frozen=True)
class HistoryLimits:
    """
    Limits of the frames kept of one camera.

    period: between two frames, nanoseconds. span: largest age, nanoseconds. size: bytes.
    """

    period: int
    span: int
    size: int


class History:
    """
    The recent frames of one camera, always including the newest one; it alone has its picture.

    One thread adds; others may read at any time, because the tuple is replaced, never changed.

    holds: tells whether a frame is of the clock's present run; others are as good as gone.
    """

    def __init__(self, holds: Callable[[CachedFrame], bool] = lambda frame: True) -> None:
        self._holds = holds
        self._kept: tuple[CachedFrame, ...] = ()
        self._due = 0  # stamp of the next frame to keep
        self._passing = False  # the newest one is between two periods and will not be kept

    @property
    def newest(self) -> CachedFrame | None:
        """Give the newest frame; None = there is no frame."""
        kept = self._kept
        return kept[-1] if kept and self._holds(kept[-1]) else None

    @property
    def _frames(self) -> list[CachedFrame]:
        return [frame for frame in self._kept if self._holds(frame)]

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: CachedFrame, limits: HistoryLimits) -> None:
        """
        Add a frame, and drop those that exceed the limits.

        One with the stamp of the newest frame replaces it. One that was overtaken is ignored.
        """
        frames = self._frames
        behind = frames[-1].stamp - frame.stamp if frames else 0
        if 0 < behind <= _OVERTAKEN:
            return
        if behind == 0 and frames:
            self._kept = (*frames[:-1], frame)
            return
        if not frames or behind > 0:  # the time, or a recording, begins anew
            frames, self._due, self._passing = [], 0, False
        # Frames do not come exactly on the tick: the nearest one is kept, and the ticks stay.
        gap = frame.stamp - frames[-1].stamp if frames else 0
        slack = min(gap // 2, limits.period // 4)
        if frames:
            frames[-1] = replace(frames[-1], picture=None)
        if self._passing:
            frames.pop()
        frames.append(frame)
        self._passing = frame.stamp < self._due - slack
        if not self._passing:
            late = frame.stamp - self._due > limits.period
            self._due = (frame.stamp if late else self._due) + limits.period
        size = sum(f.nbytes for f in frames)
        while len(frames) > 1 and (frame.stamp - frames[0].stamp > limits.span
                                   or size > limits.size):
            size -= frames.pop(0).nbytes
        self._kept = tuple(frames)

    def clear(self) -> None:
        """Forget all frames."""
        self._kept = ()
        self._due, self._passing = 0, False

    def spread(self, wanted: int, window: int, period: int) -> list[CachedFrame]:
        """
        Return up to `wanted` frames, evenly spaced, oldest first.

        They span `window` nanoseconds or a little less, because the spacing is a whole number of
        periods (nanoseconds, too).
        """
        frames = self._frames
        if not frames or wanted == 1:
            return list(frames[-1:])
        # Add a hundredth because of rounding to nanoseconds.
        step = max(int(window / (wanted - 1) / period + 0.01), 1) * period
        newest = frames[-1].stamp
        # Two frames may be half a period further apart than their ticks.
        frames = [frame for frame in frames if newest - frame.stamp <= window + period // 2]
        stamps = [frame.stamp for frame in frames]
        # No target lies before the oldest frame, however many are wanted.
        wanted = min(wanted, (newest - stamps[0]) // step + 2)
        chosen: list[CachedFrame] = []
        for target in range(newest, newest - wanted * step, -step):
            at = bisect_left(stamps, target)
            nearest = min(frames[max(at - 1, 0):at + 1], key=lambda f: abs(f.stamp - target))
            if abs(nearest.stamp - target) <= step // 2 and nearest not in chosen[-1:]:
                chosen.append(nearest)
        return chosen[::-1]
