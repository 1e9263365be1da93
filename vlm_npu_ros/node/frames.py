"""Encoded frames of a camera: the newest one, recent ones, and which fit a question."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from std_msgs.msg import Header
from vlm_npu_ros.engine.errors import NoFrameError, StaleFrameError, VlmError
from vlm_npu_ros.engine.types import ImageEmbedding, Turn

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class CachedFrame:
    """An encoded frame, ready for the language model."""

    camera: str
    header: Header
    stamp: int  # nanoseconds since the epoch of the node's clock
    embedding: ImageEmbedding


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
        return len(self.frames) > 1 and len({frame.camera for frame in self.frames}) == 1


@dataclass(frozen=True)
class Freshness:
    """How fresh a frame must be, in nanoseconds."""

    max_age: int
    not_before: int = 0

    def admits(self, frame: CachedFrame | None, now: int) -> bool:
        """
        Return whether a question may be answered from this frame.

        The clocks of camera and robot may differ a little; a frame that is further ahead than
        max_age is from before the clock was set back.
        """
        if frame is None:
            return False
        return frame.stamp >= self.not_before and abs(now - frame.stamp) <= self.max_age

    def complaint(self, camera: str, topic: str, frame: CachedFrame | None, now: int) -> VlmError:
        """Return the error that says why this frame does not fit."""
        if frame is None:
            return NoFrameError(
                f'Camera {camera!r} has delivered no usable frame yet: is {topic} published?'
            )
        age = (now - frame.stamp) / NANOSECONDS
        newest = f'The newest frame of camera {camera!r} ({topic}) is {age:.1f} s old'
        if abs(now - frame.stamp) > self.max_age:
            allowed = self.max_age / NANOSECONDS
            return StaleFrameError(
                f'{newest}, {allowed:.1f} s are allowed: has the camera stopped?'
            )
        missing = (self.not_before - frame.stamp) / NANOSECONDS
        return NoFrameError(f'{newest}, which is {missing:.1f} s before the time asked for')


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
    The recent frames of one camera, always including the newest one.

    One thread adds; others may read at any time, because the tuple is replaced, never changed.
    """

    def __init__(self) -> None:
        self._frames: tuple[CachedFrame, ...] = ()
        self._due = 0  # stamp of the next frame to keep
        self._passing = False  # the newest one is between two periods and will not be kept

    @property
    def newest(self) -> CachedFrame | None:
        """Give the newest frame; None = there is no frame."""
        frames = self._frames
        return frames[-1] if frames else None

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: CachedFrame, limits: HistoryLimits) -> None:
        """Add a frame, and drop those that exceed the limits."""
        frames = list(self._frames)
        if frames and frame.stamp <= frames[-1].stamp:
            # The clock was set back, or a recording was restarted.
            frames, self._due, self._passing = [], 0, False
        # Frames do not come exactly on the tick: the nearest one is kept, and the ticks stay.
        gap = frame.stamp - frames[-1].stamp if frames else 0
        slack = min(gap // 2, limits.period // 4)
        if self._passing:
            frames.pop()
        frames.append(frame)
        self._passing = frame.stamp < self._due - slack
        if not self._passing:
            late = frame.stamp - self._due > limits.period
            self._due = (frame.stamp if late else self._due) + limits.period
        size = sum(f.embedding.nbytes for f in frames)
        while len(frames) > 1 and (frame.stamp - frames[0].stamp > limits.span
                                   or size > limits.size):
            size -= frames.pop(0).embedding.nbytes
        self._frames = tuple(frames)

    def clear(self) -> None:
        """Forget all frames."""
        self._frames = ()
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
        newest, stamps = frames[-1].stamp, [frame.stamp for frame in frames]
        # No target lies before the oldest frame, however many are wanted.
        wanted = min(wanted, (newest - stamps[0]) // step + 2)
        chosen: list[CachedFrame] = []
        for target in range(newest, newest - wanted * step, -step):
            at = bisect_left(stamps, target)
            nearest = min(frames[max(at - 1, 0):at + 1], key=lambda f: abs(f.stamp - target))
            if abs(nearest.stamp - target) <= step // 2 and nearest not in chosen[-1:]:
                chosen.append(nearest)
        return chosen[::-1]
