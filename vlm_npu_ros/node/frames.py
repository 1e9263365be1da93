"""Newest encoded frame of each camera, and which of them may answer a question."""

from __future__ import annotations

from dataclasses import dataclass

from std_msgs.msg import Header
from vlm_npu_ros.engine.errors import NoFrameError, StaleFrameError, VlmError
from vlm_npu_ros.engine.types import ImageEmbedding

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class CachedFrame:
    """A frame that the language model can read at once."""

    header: Header
    stamp: int  # nanoseconds since the epoch of the node's clock
    embedding: ImageEmbedding


@dataclass(frozen=True)
class Freshness:
    """How fresh a frame must be; nanoseconds."""

    max_age: int
    not_before: int = 0

    def admits(self, frame: CachedFrame | None, now: int) -> bool:
        """Return whether a question may be answered from this frame."""
        if frame is None:
            return False
        return frame.stamp >= self.not_before and now - frame.stamp <= self.max_age

    def complaint(self, camera: str, topic: str, frame: CachedFrame | None, now: int) -> VlmError:
        """Return the error that says why this frame does not do."""
        if frame is None:
            return NoFrameError(
                f'Camera {camera!r} has delivered no usable frame yet: is {topic} published?'
            )
        age = (now - frame.stamp) / NANOSECONDS
        newest = f'The newest frame of camera {camera!r} ({topic}) is {age:.1f} s old'
        if now - frame.stamp > self.max_age:
            allowed = self.max_age / NANOSECONDS
            return StaleFrameError(
                f'{newest}, {allowed:.1f} s are allowed: has the camera stopped?'
            )
        missing = (self.not_before - frame.stamp) / NANOSECONDS
        return NoFrameError(f'{newest}, which is {missing:.1f} s before the time asked for')
