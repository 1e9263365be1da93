# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Frames that the language model reads before anybody asks about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import math
import threading
import time

from vlm_npu_ros.engine.errors import InactiveError, VlmError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.types import GenerationFigures, ImageEmbedding, same_images
from vlm_npu_ros.node.frames import CachedFrame

_MOST_FAILURES = 3  # in a row; the next one would be no better, and questions suffer from them


@dataclass(frozen=True)
class ReadAheadSettings:
    """
    How much may be read ahead.

    is_asked: also where the backend does not do it unasked.
    rate: most frames a second. keep: seconds that a dialogue stays what the model holds after its
    last answer; idle: the same for a dialogue that could not go on otherwise.
    role: of all questions; '' = none. It comes before the frame.
    """

    is_asked: bool
    rate: float
    keep: float
    idle: float
    role: str = ''


@dataclass
class ReadAheadCounts:
    """
    What reading ahead was good for.

    questions: that began with a picture. found: of these, those whose frame was read or was being
    read. spent: seconds of reading ahead; wasted: of these, those that no question made use of.
    """

    questions: int = 0
    found: int = 0
    spent: float = 0.0
    wasted: float = 0.0


@dataclass(eq=False)
class _Reading:
    """
    A reading of images.

    seconds: that it took; None = it goes on. is_used: a question began with it.
    """

    images: tuple[ImageEmbedding, ...]
    cancelled: Cancellation
    seconds: float | None = None
    is_used: bool = False


class ReadAhead:
    """
    Has the model read the newest frame while nothing else is to do, for the next question.

    The encode thread asks for what is `due` and reads it. Questions go first: one about the frame
    that is being read goes on from there, any other one ends the reading, or waits for the rest of
    it where the backend cannot stop. So none is answered later than by reading it all itself.

    The frames are those of the camera that was asked about last.

    camera: that the first question is expected to be about.
    newest: gives a camera's newest frame, if a question could be about it.
    is_idle: tells whether no question is open.
    shortage: tells what is too scarce for it; '' = nothing.
    log: gets warnings.
    """

    def __init__(
        self,
        engine: Engine,
        camera: str,
        newest: Callable[[str], CachedFrame | None],
        settings: Callable[[], ReadAheadSettings],
        is_idle: Callable[[], bool],
        shortage: Callable[[], str],
        log: Callable[[str], object],
    ) -> None:
        self.counts = ReadAheadCounts()
        self._engine, self._camera, self._newest = engine, camera, newest
        self._settings, self._is_idle = settings, is_idle
        self._shortage, self._log = shortage, log
        self._wake: Callable[[], object] = lambda: None
        self._lock = threading.Lock()
        self._images: tuple[ImageEmbedding, ...] = ()  # that the model has read or tried last
        self._last: _Reading | None = None
        self._next = self._kept = -math.inf  # not before these, time.monotonic()
        self._failures = 0
        self._closed = False

    @property
    def obstacle(self) -> str:
        """Why nothing is read ahead; '' = it is."""
        able, settings = self._engine.read_ahead, self._settings()
        if not (able.unasked or able.possible and settings.is_asked):
            return able.why
        if settings.role:
            return 'the parameter system_prompt is set, which comes before the frame'
        if self._failures >= _MOST_FAILURES:
            return f'it has failed {self._failures} times in a row'
        return self._shortage()

    def start(self, wake: Callable[[], object]) -> None:
        """Begin; `wake` is called when something may be due."""
        self._wake = wake

    def due(self) -> tuple[CachedFrame | None, float]:
        """Return the frame to read now, or the seconds until there may be one."""
        frame = None if self._closed or self.obstacle else self._newest(self._camera)
        if not frame or same_images(self._images, (frame.embedding,)) or not self._is_idle():
            return None, math.inf
        seconds = max(self._next, self._kept) - time.monotonic()
        return (None, seconds) if seconds > 0 else (frame, 0.0)

    def read(self, frame: CachedFrame) -> None:
        """Read a frame, unless a question comes meanwhile."""
        reading, started = _Reading((frame.embedding,), Cancellation()), time.monotonic()
        with self._lock:
            self._displace(reading.images)
            self._last = reading
        self._next = started + 1 / self._settings().rate
        seconds = 0.0
        try:
            if self._closed or not self._is_idle():  # asked again, now that others can see it
                reading.cancelled.set()
            if self._engine.prepare(reading.images, reading.cancelled).prompt_tokens or (
                    reading.cancelled.is_set()):
                seconds = time.monotonic() - started
            self._failures = 0
        except InactiveError:
            pass
        except VlmError as error:
            self._failures += 1
            self._log(f'A frame could not be read ahead: {error}')
        with self._lock:
            reading.seconds = seconds
            self.counts.spent += seconds
            self._write_off()

    def _displace(self, images: tuple[ImageEmbedding, ...]) -> None:
        """Note what the model reads next."""
        self._images = images
        self._write_off()

    def _write_off(self) -> None:
        """Count the last reading as wasted, if it is displaced and no question made use of it."""
        last = self._last
        if last and last.seconds is not None and not same_images(last.images, self._images):
            self.counts.wasted += 0.0 if last.is_used else last.seconds
            self._last = None

    def stop_reading(self) -> None:
        """End the reading under way, because a newer frame is wanted; from any thread."""
        last = self._last
        if last and last.seconds is None:
            last.cancelled.set()

    def begin(self, frames: Sequence[CachedFrame], role: str = '') -> None:
        """
        Give way to a question about these frames; no frame is due until it has ended.

        role: of the question. What is read without it is of no use, because it comes first.
        """
        with self._lock:
            last = self._last
            self._displace(tuple(frame.embedding for frame in frames))
            if last and not role and same_images(last.images, self._images):
                last.is_used, last = True, None
        if last and last.seconds is None:
            last.cancelled.set()
        if len({frame.camera for frame in frames}) == 1 and frames[0].camera:
            self._camera = frames[0].camera

    def end(self, figures: GenerationFigures | None, is_dialogue: bool, goes_on: bool) -> None:
        """
        Note how the question has ended.

        figures: None = by an error. goes_on: it was not the first of its dialogue.
        """
        settings = self._settings()
        keep = settings.keep if self._engine.read_ahead.dialogues_return else settings.idle
        self._kept = time.monotonic() + keep if is_dialogue else -math.inf
        if figures and not goes_on:
            self.counts.questions += 1
            self.counts.found += figures.read_ahead_tokens > 0

    def rest(self) -> None:
        """Go on, because no question is open; from any thread."""
        self._wake()

    def forget(self) -> None:
        """Take it that the model holds nothing any more, because its process is a new one."""
        with self._lock:
            self._displace(())

    def close(self) -> None:
        """End the reading under way, and begin no other."""
        self._closed = True
        self.stop_reading()
