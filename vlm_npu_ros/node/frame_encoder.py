# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The encode thread: messages of cameras and pictures of questions to embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import functools
import math
import threading
import time

import numpy as np
from rclpy.node import Node
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import as_vlm_error, ImageError, VlmError
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.types import ImageEmbedding
from vlm_npu_ros.node.cameras import CameraFeed, Feed
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.frames import CachedFrame, Freshness, HistoryLimits, NANOSECONDS
from vlm_npu_ros.node.pictures import Picture, Pictures
from vlm_npu_ros.node.read_ahead import ReadAhead

_LOG_PERIOD = 5.0  # seconds between log lines about faults of a camera


class FrameEncoder:
    """
    A thread that encodes the newest frames of all cameras and pictures, and reads frames ahead.

    One thread for all, because what has been encoded is to be read before the next is encoded.

    rate: gives the most encodings a second and camera; 0 = only frames that questions wait for.
    limits: gives the limits of each camera's history.
    threshold: gives the difference from which a frame is encoded, see Changes; None = any is.
    """

    def __init__(
        self,
        node: Node,
        feeds: dict[str, CameraFeed],
        engine: Engine,
        clock: StampClock,
        rate: Callable[[], float],
        limits: Callable[[], HistoryLimits],
        ahead: ReadAhead,
        threshold: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._node, self._clock = node, clock
        self._feeds = feeds
        self._engine = engine
        self._rate = rate
        self._limits = limits
        self._ahead, self._threshold = ahead, threshold
        self._pictures = Pictures(engine)
        self._changed: Callable[[], None] = lambda: None
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name='encode', daemon=True)

    def start(self, changed: Callable[[], None]) -> None:
        """
        Subscribe to the cameras and start the thread.

        changed: called when an encoding begins and when it has ended or failed.
        """
        self._changed = changed
        self._ahead.start(self._notify)
        self._thread.start()
        for feed in self._feeds.values():
            feed.start(self._notify)

    def stop(self) -> None:
        """Stop the thread and unsubscribe; the engine ends the current encoding if it can."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._ahead.close()
        self._engine.pause()
        if self._thread.ident:
            self._thread.join()
        for feed in self._feeds.values():
            feed.stop()

    def restore(self) -> None:
        """Encode the newest frames again, because the engine has lost their embeddings."""
        self._ahead.forget()
        for feed in self._all:
            feed.lost = True
        self._notify()

    @property
    def _all(self) -> Iterator[Feed]:
        return (feed for camera in self._feeds.values() for feed in camera.feeds)

    @property
    def period(self) -> int:
        """Nanoseconds between two frames in the history."""
        rate = self._rate()
        return max(self._limits().period, round(NANOSECONDS / rate) if rate > 0 else 0)

    def want(self, feed: Feed) -> None:
        """Encode this feed's next frame as soon as possible."""
        if not feed.wanted:
            feed.want()
            self._notify()

    def admitted(self, feed: Feed, freshness: Freshness) -> CachedFrame | None:
        """Return the feed's newest frame if it is fresh enough; otherwise request a new one."""
        now = self._clock.now()  # before the frame, see StampClock
        feed.asked()
        frame, rate = feed.frame, self._rate()
        # Without a time, nothing is known to be fresh.
        if now and frame and freshness.admits(frame, now) and not (
                rate > 0 and feed.is_behind(frame, NANOSECONDS / rate)):
            return frame
        if not feed.encoding:  # otherwise that one may be fresh enough
            self.want(feed)
        return None

    def encoded(self, picture: Picture) -> CachedFrame | None:
        """Return the frame of a question's picture; None while it is being encoded."""
        if not picture.wanted:
            self._pictures.add(picture)
            self._notify()
        return picture.frame

    def _notify(self) -> None:
        if self._pictures.due or any(feed.is_urgent for feed in self._all):
            self._ahead.stop_reading()
        with self._wake:
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                work, until, seconds = self._next()
                while work is None and not self._stopping:
                    self._clock.wait(self._wake, until, seconds)
                    work, until, seconds = self._next()
            if self._stopping or work is None:
                return
            work()

    def _next(self) -> tuple[Callable[[], None] | None, float, float]:
        """Return what to do now, or when there is something: the clock's time and seconds."""
        feeds = list(self._all)
        for feed in feeds:
            if feed.is_urgent:
                return functools.partial(self._encode_one, feed), 0, 0
        if self._pictures.due:
            return self._encode_picture, 0, 0
        for feed in feeds:
            if feed.lost:
                return functools.partial(self._restore_one, feed), 0, 0
        frame, seconds = self._ahead.due()
        if frame:
            return functools.partial(self._ahead.read, frame), 0, 0
        rate, now = self._rate(), self._clock.now()
        pending = [f for f in feeds if f.pending and f.is_regular] if rate > 0 else []
        if not pending:
            return None, math.inf, seconds
        first = min(pending, key=lambda f: f.due(now, rate))
        due = first.due(now, rate)
        return (functools.partial(self._encode_one, first) if due <= now else None), due, seconds

    def _encode_picture(self) -> None:
        self._pictures.encode()
        self._changed()

    def _restore_one(self, feed: Feed) -> None:
        feed.lost = False
        frame = feed.frame
        try:
            if frame:
                self._engine.restore(frame.embedding)
                feed.failure = None
        except VlmError as error:
            self._complain(feed, str(error))

    def _encode_one(self, feed: Feed) -> None:
        rate = self._rate()
        if rate > 0:
            now, tick = self._clock.now(), round(NANOSECONDS / rate)
            # From tick to tick, not from end to start, so that kept frames are evenly spaced.
            on_tick = 0 <= now - feed.next_encoding < tick
            feed.next_encoding = (feed.next_encoding if on_tick else now) + tick
        began = time.monotonic()
        feed.encoding = True  # first, or a question could want the next one as well
        feed.wanted = False
        self._changed()
        try:
            arrival, header, seen, placement, read = feed.take()
            # Now: by the end of the encoding, its depth picture may be gone.
            around = feed.space.at(arrival.stamp, feed.size)
            embedding = self._embedding(feed, seen)
            frame = CachedFrame(
                feed.settings.name, header, arrival.stamp, embedding, arrival.run, arrival.behind,
                placement, feed.region, around=around, picture=read,
            )
            if self._clock.holds(frame):  # else the clock was set back meanwhile
                feed.history.add(frame, self._limits())
            feed.fault, feed.failure = '', None
        except Exception as error:
            reason = str(as_vlm_error(error))
            if isinstance(error, VlmError) and not isinstance(error, ImageError):
                feed.failure, feed.failure_began = error, began
            else:
                feed.counts.bad += 1
                feed.fault = reason
            self._complain(feed, reason)
        finally:
            feed.encoding = False
            self._changed()

    def _embedding(self, feed: Feed, picture: np.ndarray) -> ImageEmbedding:
        """Encode a picture, or give the embedding of the last one if it looks the same."""
        threshold = self._threshold()
        same = None if threshold is None else feed.changes.same(picture, threshold)
        if same is not None:
            feed.counts.unchanged += 1
            return same
        embedding = self._engine.encode(picture)
        if threshold is None:
            feed.changes.clear()
        else:
            feed.changes.put(picture, embedding)
        if not feed.counts.encoded:
            self._log_history(feed, embedding)
        feed.counts.encoded += 1
        return embedding

    def _log_history(self, feed: Feed, embedding: ImageEmbedding) -> None:
        limits, size = self._limits(), embedding.nbytes
        frames = max(min(limits.span // limits.period + 1, limits.size // size), 1)
        self._node.get_logger().info(
            f'Camera {feed.settings.name}: a frame is {embedding.tokens} tokens, encoded in '
            f'{in_words(embedding.encode_seconds)}, {size / 2**20:.2f} MiB; up to {frames} are '
            'kept'
        )

    def _complain(self, feed: Feed, reason: str) -> None:
        if self._stopping:
            return
        self._node.get_logger().warning(
            f'Skipped a frame of camera {feed.settings.name!r} '
            f'({feed.counts.bad} bad of {feed.counts.received}): {reason}',
            throttle_duration_sec=_LOG_PERIOD,
        )
