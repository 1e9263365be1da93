# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Camera topics to cached embeddings."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
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
from vlm_npu_ros.engine.errors import as_vlm_error, ImageError, VlmError
from vlm_npu_ros.engine.images import turn
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.placement import Box, Placement, Region
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
    nanoseconds,
)
from vlm_npu_ros.node.io_node import IoNode
from vlm_npu_ros.node.parameters import CameraSettings
from vlm_npu_ros.node.pictures import Picture, Pictures
from vlm_npu_ros.node.read_ahead import ReadAhead
from vlm_npu_ros.node.space import SpaceFeed

_LOG_PERIOD = 5.0  # seconds between log lines about faults of a camera
_MOST_REGIONS = 8  # of a camera, whose embeddings are kept
_REMEMBERED = 10.0  # seconds that it matters that a region was asked about


@dataclass
class CameraCounts:
    """Numbers of a camera's messages since activation."""

    received: int = 0
    encoded: int = 0
    unchanged: int = 0  # taken for the one that was encoded last
    bad: int = 0


class Feed:
    """
    The newest message of one camera, still serialised, and recent embeddings made of such.

    counts, arrivals, space: of the camera. region: the part of the picture to look at; None = all.
    """

    space: SpaceFeed

    def __init__(
        self, settings: CameraSettings, topic: str, source: CameraTopic, clock: StampClock,
        counts: CameraCounts, arrivals: Arrivals, region: Region | None = None,
    ) -> None:
        self.settings, self.topic, self.region = settings, topic, region
        self.counts, self.arrivals = counts, arrivals
        self.history = History(clock.holds)
        self.changes = Changes()
        self.wanted = False  # a question waits for a frame, so encode_rate does not apply
        self.lost = False  # the engine was restarted since the newest frame was encoded
        self.fault = ''  # why the last frame could not be read
        self.failure: VlmError | None = None  # why the last one could not be encoded
        self.failure_began = 0.0  # time.monotonic() when that encoding began
        self.encoding = False
        self.next_encoding = 0  # by the clock, nanoseconds
        self._newest: deque[tuple[Arrival, bytes]] = deque(maxlen=1)
        self.source, self.clock = source, clock
        self.size = 0, 0  # width and height of the last picture that was taken

    def offer(self, arrival: Arrival, message: bytes) -> None:
        """Take a message in place of the one before."""
        self._newest.append((arrival, message))

    def clear(self) -> None:
        """Forget the frames."""
        self._newest.clear()
        self.history.clear()
        self.changes.clear()

    def silence(self) -> tuple[str, str]:
        """Say why no frame comes, and what to do; looks at the graph."""
        return self.source.silence(self.settings.name)

    @property
    def frame(self) -> CachedFrame | None:
        """Give the newest encoded frame; None = none yet."""
        return self.history.newest

    @property
    def pending(self) -> bool:
        """Whether a message is waiting to be encoded."""
        newest = tuple(self._newest)
        return bool(newest) and self.clock.holds(newest[0][0])

    @property
    def is_regular(self) -> bool:
        """Whether frames are encoded before a question wants them."""
        return True

    def asked(self) -> None:
        """Note that a question looks for a frame."""

    def want(self) -> None:
        """Have the next frame encoded as soon as possible."""
        self.wanted = True

    def is_behind(self, frame: CachedFrame, period: float) -> bool:
        """Tell whether a message has come that is newer than a frame by more than a period."""
        return False

    def due(self, now: int, rate: float) -> int:
        """Return when the message is to be encoded, at `rate` a second; times in nanoseconds."""
        # What is further off than a tick was set before the clock was set back.
        return self.next_encoding if self.next_encoding - now <= NANOSECONDS / rate else 0

    @property
    def is_urgent(self) -> bool:
        """Whether a question waits for the message."""
        return self.wanted and self.pending

    def take(self) -> tuple[Arrival, Header, np.ndarray, Placement, Callable[[], np.ndarray]]:
        """
        Remove the newest message; return what is in it.

        Its header, the picture for the model, what that is of the whole, what reads the whole.
        Raises ImageError, or RequestError for a region that the picture does not have.
        """
        arrival, serialised = self._newest.popleft()
        message = deserialize_message(serialised, self.source.message_type)
        if nanoseconds(message.header.stamp) != arrival.stamp:
            sec, nanosec = divmod(arrival.stamp, NANOSECONDS)
            message.header.stamp = Time(sec=sec, nanosec=nanosec)
        read = functools.partial(to_rgb, message, self.settings.range)
        rgb = read()
        self.size = width, height = rgb.shape[1], rgb.shape[0]
        box = self.region.box(width, height) if self.region else Box(0, 0, width, height)
        placement = Placement(box, self.settings.rotate)
        seen = turn(box.cut(rgb), placement.degrees)
        return arrival, message.header, seen, placement, read


class CameraFeed(Feed):
    """
    Subscribes to a camera.

    node: resolves the topic. io: subscribes. clock: what stamps are compared with. Raises
    ValueError for an invalid topic name.

    Only the header of a message is deserialised when it comes, the rest when it is encoded: at
    30 Hz, that would cost more than everything else that is done to them.
    """

    def __init__(
        self, node: Node, io: IoNode, settings: CameraSettings, clock: StampClock
    ) -> None:
        topic = node.resolve_topic_name(settings.topic)
        source = CameraTopic(io, topic, settings.transport, settings.qos, self.receive)
        super().__init__(settings, topic, source, clock, CameraCounts(), Arrivals(clock))
        self.space = SpaceFeed(node, io, settings)
        self._arrived: Callable[[], None] = lambda: None
        self._last: tuple[Arrival, bytes] | None = None  # for a new region
        self._regions: dict[Region, RegionFeed] = {}  # least recently asked for first
        self._lock = threading.Lock()

    def start(self, arrived: Callable[[], None]) -> None:
        """Subscribe; `arrived` is called for each message and must be quick."""
        self._arrived = arrived
        self.space.start()
        self.source.start()

    def stop(self) -> None:
        """Unsubscribe and forget the frames."""
        self.source.stop()
        self.space.stop()
        with self._lock:
            self._last, self._regions = None, {}
        self.clear()

    def receive(self, message: bytes) -> None:
        """Take a message, serialised."""
        stamp = deserialize_message(message, Header).stamp  # both types begin with a header
        is_stamped = self.settings.stamp == 'header'
        arrival = self.arrivals.add(nanoseconds(stamp) if is_stamped else 0)
        self.counts.received += 1
        if arrival:
            with self._lock:
                self._last = arrival, message
                for feed in self.feeds:
                    feed.offer(arrival, message)
            self._arrived()

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """List this one and those of regions."""
        return (self, *self._regions.values())

    def of(self, region: Region | None) -> Feed:
        """Return what looks at a region of the same messages; None = this one."""
        if region is None:
            return self
        with self._lock:
            feeds = dict(self._regions)
            feed = feeds.pop(region, None)
            if feed is None:
                feed = RegionFeed(self, region)
                if self._last:
                    feed.offer(*self._last)
                idle = [known for known, other in feeds.items() if other.is_idle]
                for known in idle[:max(len(feeds) - _MOST_REGIONS + 1, 0)]:
                    del feeds[known]
            self._regions = {**feeds, region: feed}
        return feed


class RegionFeed(Feed):
    """
    A part of a camera's picture, which is encoded when a question wants it.

    When it is wanted again within some seconds, its frames are encoded as those of the camera are,
    until nobody has asked about it for so long.
    """

    def __init__(self, camera: CameraFeed, region: Region) -> None:
        super().__init__(
            camera.settings, camera.topic, camera.source, camera.clock, camera.counts,
            camera.arrivals, region,
        )
        self.space = camera.space
        self._asked = self._wanted = -math.inf  # time.monotonic()
        self._again = False
        self._sought: Arrival | None = None  # what was the newest when a question wanted it

    @property
    def is_idle(self) -> bool:
        """Whether no question waits for it."""
        return not (self.wanted or self.encoding)

    @property
    def is_regular(self) -> bool:
        return self._again and time.monotonic() - self._asked < _REMEMBERED

    def asked(self) -> None:
        self._asked = time.monotonic()

    def want(self) -> None:
        now = time.monotonic()
        self._again, self._wanted = now - self._wanted < _REMEMBERED, now
        newest = tuple(self._newest)
        self._sought = newest[0][0] if newest else None
        super().want()

    def is_behind(self, frame: CachedFrame, period: float) -> bool:
        sought, newest = self._sought, tuple(self._newest)
        if sought and self.clock.holds(sought) and frame.stamp < sought.stamp:
            return True
        return bool(newest) and not self.is_regular and newest[0][0].stamp > frame.stamp + period


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
