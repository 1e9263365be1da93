# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Messages of cameras that wait to be encoded, and the frames that were made of such."""

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
from vlm_npu_ros.engine.errors import VlmError
from vlm_npu_ros.engine.images import turn
from vlm_npu_ros.engine.placement import Box, Placement, Region
from vlm_npu_ros.node.arrivals import Arrival, Arrivals
from vlm_npu_ros.node.camera_topic import CameraTopic
from vlm_npu_ros.node.changes import Changes
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.frames import CachedFrame, History, NANOSECONDS, nanoseconds
from vlm_npu_ros.node.io_node import IoNode
from vlm_npu_ros.node.parameter_specs import CameraSettings
from vlm_npu_ros.node.space import SpaceFeed

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
