# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Camera topics to cached embeddings."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
import functools
import math
import threading
import time

from builtin_interfaces.msg import Time
import numpy as np
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from std_msgs.msg import Header
from vlm_npu_ros.engine.conversions import to_rgb
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import ImageError, VlmError
from vlm_npu_ros.engine.images import turn
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.types import ImageEmbedding
from vlm_npu_ros.node.arrivals import Arrival, Arrivals
from vlm_npu_ros.node.camera_topic import CameraTopic
from vlm_npu_ros.node.changes import Changes
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.frames import (
    CachedFrame,
    Freshness,
    History,
    HistoryLimits,
    NANOSECONDS,
)
from vlm_npu_ros.node.io_node import IoNode
from vlm_npu_ros.node.parameters import CameraSettings
from vlm_npu_ros.node.read_ahead import ReadAhead

_LOG_PERIOD = 5.0  # seconds between log lines about faults of a camera


@dataclass
class CameraCounts:
    """Numbers of a camera's messages since activation."""

    received: int = 0
    encoded: int = 0
    unchanged: int = 0  # taken for the one that was encoded last
    bad: int = 0


class CameraFeed:
    """
    The newest message of one camera, still serialised, and its recent embeddings.

    node: resolves the topic. io: subscribes. clock: what stamps are compared with. Raises
    ValueError for an invalid topic name.

    Only the header of a message is deserialised when it comes, the rest when it is encoded: at
    30 Hz, that would cost more than everything else that is done to them.
    """

    def __init__(
        self, node: Node, io: IoNode, settings: CameraSettings, clock: StampClock
    ) -> None:
        self.settings = settings
        self.topic = node.resolve_topic_name(settings.topic)
        self.counts = CameraCounts()
        self.history = History(clock.holds)
        self.arrivals = Arrivals(clock)
        self.changes = Changes()
        self.wanted = False  # a question waits for a frame, so encode_rate does not apply
        self.lost = False  # the engine was restarted since the newest frame was encoded
        self.fault = ''  # why the last frame could not be read
        self.failure: VlmError | None = None  # why the last one could not be encoded
        self.failed_at = 0.0  # time.monotonic()
        self.encoding = False
        self.next_encoding = 0  # by the clock, nanoseconds
        self._newest: deque[tuple[Arrival, bytes]] = deque(maxlen=1)
        self._clock = clock
        self._arrived: Callable[[], None] = lambda: None
        self._source = CameraTopic(io, self.topic, settings.transport, settings.qos, self.receive)

    def start(self, arrived: Callable[[], None]) -> None:
        """Subscribe; `arrived` is called for each message and must be quick."""
        self._arrived = arrived
        self._source.start()

    def stop(self) -> None:
        """Unsubscribe and forget the frames."""
        self._source.stop()
        self._newest.clear()
        self.history.clear()
        self.changes.clear()

    def receive(self, message: bytes) -> None:
        """Take a message, serialised."""
        stamp = deserialize_message(message, Header).stamp  # both types begin with a header
        is_stamped = self.settings.stamp == 'header'
        arrival = self.arrivals.add(nanoseconds(stamp) if is_stamped else 0)
        self.counts.received += 1
        if arrival:
            self._newest.append((arrival, message))
            self._arrived()

    def silence(self) -> tuple[str, str]:
        """Say why no frame comes, and what to do; looks at the graph."""
        return self._source.silence(self.settings.name)

    @property
    def frame(self) -> CachedFrame | None:
        """Give the newest encoded frame; None = none yet."""
        return self.history.newest

    @property
    def pending(self) -> bool:
        """Whether a message is waiting to be encoded."""
        newest = tuple(self._newest)
        return bool(newest) and self._clock.holds(newest[0][0])

    def due(self, now: int, rate: float) -> int:
        """Return when the message is to be encoded, at `rate` a second; times in nanoseconds."""
        # What is further off than a tick was set before the clock was set back.
        return self.next_encoding if self.next_encoding - now <= NANOSECONDS / rate else 0

    @property
    def is_urgent(self) -> bool:
        """Whether a question waits for the message."""
        return self.wanted and self.pending

    def take(self) -> tuple[Arrival, Header, np.ndarray]:
        """Remove the newest message and return its header and image; raise ImageError."""
        arrival, serialised = self._newest.popleft()
        message = deserialize_message(serialised, self._source.message_type)
        if nanoseconds(message.header.stamp) != arrival.stamp:
            sec, nanosec = divmod(arrival.stamp, NANOSECONDS)
            message.header.stamp = Time(sec=sec, nanosec=nanosec)
        rgb = to_rgb(message, self.settings.range)
        return arrival, message.header, turn(rgb, self.settings.rotate)


def nanoseconds(stamp: Time) -> int:
    """Convert a stamp."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


class FrameEncoder:
    """
    A thread that turns the newest frames of all cameras into embeddings, and reads them ahead.

    One thread for both, because what has been encoded is to be read before the next is encoded.

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
        for feed in self._feeds.values():
            feed.lost = True
        self._notify()

    @property
    def period(self) -> int:
        """Nanoseconds between two frames in the history."""
        rate = self._rate()
        return max(self._limits().period, round(NANOSECONDS / rate) if rate > 0 else 0)

    def want(self, feed: CameraFeed) -> None:
        """Encode this camera's next frame as soon as possible."""
        if not feed.wanted:
            feed.wanted = True
            self._notify()

    def admitted(self, feed: CameraFeed, freshness: Freshness) -> CachedFrame | None:
        """Return the camera's newest frame if it is fresh enough; otherwise request a new one."""
        now = self._clock.now()  # before the frame, see StampClock
        frame = feed.frame
        if now and freshness.admits(frame, now):  # without a time, nothing is known to be fresh
            return frame
        if not feed.encoding:  # otherwise that one may be fresh enough
            self.want(feed)
        return None

    def _notify(self) -> None:
        if any(feed.is_urgent for feed in self._feeds.values()):
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
        feeds = self._feeds.values()
        for feed in feeds:
            if feed.is_urgent:
                return functools.partial(self._encode_one, feed), 0, 0
        for feed in feeds:
            if feed.lost:
                return functools.partial(self._restore_one, feed), 0, 0
        frame, seconds = self._ahead.due()
        if frame:
            return functools.partial(self._ahead.read, frame), 0, 0
        rate, now = self._rate(), self._clock.now()
        pending = [feed for feed in feeds if feed.pending] if rate > 0 else []
        if not pending:
            return None, math.inf, seconds
        first = min(pending, key=lambda f: f.due(now, rate))
        due = first.due(now, rate)
        return (functools.partial(self._encode_one, first) if due <= now else None), due, seconds

    def _restore_one(self, feed: CameraFeed) -> None:
        feed.lost = False
        frame = feed.frame
        try:
            if frame:
                self._engine.restore(frame.embedding)
                feed.failure = None
        except VlmError as error:
            self._complain(feed, str(error))

    def _encode_one(self, feed: CameraFeed) -> None:
        rate = self._rate()
        if rate > 0:
            now, tick = self._clock.now(), round(NANOSECONDS / rate)
            # From tick to tick, not from end to start, so that kept frames are evenly spaced.
            on_tick = 0 <= now - feed.next_encoding < tick
            feed.next_encoding = (feed.next_encoding if on_tick else now) + tick
        feed.wanted = False
        feed.encoding = True
        self._changed()
        try:
            arrival, header, picture = feed.take()
            embedding = self._embedding(feed, picture)
            frame = CachedFrame(
                feed.settings.name, header, arrival.stamp, embedding, arrival.run, arrival.behind
            )
            if self._clock.holds(frame):  # else the clock was set back meanwhile
                feed.history.add(frame, self._limits())
            feed.fault, feed.failure = '', None
        except ImageError as error:
            feed.counts.bad += 1
            feed.fault = str(error)
            self._complain(feed, feed.fault)
        except VlmError as error:
            feed.failure, feed.failed_at = error, time.monotonic()
            self._complain(feed, str(error))
        except Exception as error:
            feed.counts.bad += 1
            feed.fault = f'{type(error).__name__}: {error}'
            self._complain(feed, feed.fault)
        finally:
            feed.encoding = False
            self._changed()

    def _embedding(self, feed: CameraFeed, picture: np.ndarray) -> ImageEmbedding:
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

    def _log_history(self, feed: CameraFeed, embedding: ImageEmbedding) -> None:
        limits, size = self._limits(), embedding.nbytes
        frames = max(min(limits.span // limits.period + 1, limits.size // size), 1)
        self._node.get_logger().info(
            f'Camera {feed.settings.name}: a frame is {embedding.tokens} tokens, encoded in '
            f'{in_words(embedding.encode_seconds)}, {size / 2**20:.2f} MiB; up to {frames} are '
            'kept'
        )

    def _complain(self, feed: CameraFeed, reason: str) -> None:
        if self._stopping:
            return
        self._node.get_logger().warning(
            f'Skipped a frame of camera {feed.settings.name!r} '
            f'({feed.counts.bad} bad of {feed.counts.received}): {reason}',
            throttle_duration_sec=_LOG_PERIOD,
        )
