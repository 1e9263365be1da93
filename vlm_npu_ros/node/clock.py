# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The clock that the stamps of frames are compared with."""

from __future__ import annotations

from collections import deque
import math
import threading
import time
from typing import Protocol

from rclpy.clock import ClockChange, JumpThreshold, ROSClock, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import NoFrameError
from vlm_npu_ros.node.frames import NANOSECONDS

_STEP = NANOSECONDS // 10  # the system's clock is set back, not slewed, if it loses more at once
_TOPIC = '/clock'
_DISCOVERY = 2.0  # seconds; without a message after them, nobody publishes the time
_RESTLESS = 3  # jumps back within _DISCOVERY are no resets of one simulation
_STILL = 1.0  # seconds; a simulation that runs publishes the time more often
_RECENT = 60.0  # seconds in which a jump back may explain something
_LOG_PERIOD = 5.0  # seconds


class Stamped(Protocol):
    """
    A frame, as far as the clock is concerned.

    stamp: when it was taken, nanoseconds. run: `StampClock.run` when it came. behind: nanoseconds
    that the clock was past its stamp then, if the stamp was no later than that of the frame
    before it in this run, as if the clock had been set back; else 0.
    """

    @property
    def stamp(self) -> int: ...

    @property
    def run(self) -> int: ...

    @property
    def behind(self) -> int: ...


class StampClock:
    """
    The ROS clock of a node: the system's time or, with use_sim_time, that of the topic /clock.

        run, now = clock.run, clock.now()    # when a frame comes
        now = clock.now()                    # when one is looked for
        if clock.holds(frame) and now - frame.stamp < max_age: ...

    Each time that the clock is set back, a new run begins, and the frames of the former one are
    worth nothing: their stamps may look fresh, or lie in the future. Read the clock and `run` in
    the order above; then no moment of a jump is too short for a frame of the former run.

    run: of the clock; odd while it is being set back, and no frame belongs to an odd one.
    began, ended: what it was set to, and from, when this run began; nanoseconds.
    since: when that was, time.monotonic().
    """

    def __init__(self, node: Node) -> None:
        self.run, self.began, self.ended = 0, 0, 0
        self._node = node
        self._clock: ROSClock = node.get_clock()
        self._lock = threading.Lock()
        self._ahead = -math.inf  # of time.monotonic_ns(): the system's time, at least
        self._alarms: dict[threading.Condition, float] = {}
        self.since = self._started = self._ticked = time.monotonic()
        self._resets: deque[float] = deque(maxlen=_RESTLESS)  # time.monotonic()
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1))
        forward = JumpThreshold(
            min_forward=Duration(nanoseconds=1), min_backward=None, on_clock_change=False
        )
        self._jumps = (
            self._clock.create_jump_callback(
                back, pre_callback=self._going_back, post_callback=self._went_back
            ),
            self._clock.create_jump_callback(forward, post_callback=self._advanced),
        )

    def close(self) -> None:
        """Stop watching the clock."""
        for jump in self._jumps:
            jump.unregister()

    @property
    def is_simulated(self) -> bool:
        """Whether the time comes from the topic /clock."""
        return bool(self._clock.ros_time_is_active)

    def now(self) -> int:
        """Return the time in nanoseconds; 0 = simulated, and nothing has come on /clock yet."""
        if self.is_simulated:
            return int(self._clock.now().nanoseconds)
        with self._lock:
            before = time.monotonic_ns()
            now = int(self._clock.now().nanoseconds)
            lost = self._ahead - (now - before)
            self._ahead = now - time.monotonic_ns()
            if lost > _STEP:
                self.run += 2
                self._begin(now, round(lost))
        return now

    def holds(self, frame: Stamped) -> bool:
        """
        Return whether a frame is of the present run.

        The first frame of a recording that begins anew may come before the time does.
        """
        if frame.run == self.run:
            return True
        back = self.ended - self.began
        return frame.run == self.run - 2 and frame.behind >= back > 0

    def wait(
        self, condition: threading.Condition, until: float, seconds: float = math.inf
    ) -> None:
        """
        Wait until `condition`, which is held, is notified, or this clock reaches `until`.

        until: nanoseconds; seconds: by the steady clock, the most to wait. Infinite = no limit.
        It may also return early, for example when the clock is set back.
        """
        if not self.is_simulated:
            seconds = min(seconds, (until - self.now()) / NANOSECONDS)
        with self._lock:
            self._alarms[condition] = until
        try:
            if until > self.now():
                condition.wait(None if seconds == math.inf else
                               min(max(seconds, 0.0), threading.TIMEOUT_MAX))
        finally:
            with self._lock:
                del self._alarms[condition]

    def fault(self, is_new: bool = False) -> NoFrameError | None:
        """
        Return why no frame can be compared with this clock; None = it can be relied on.

        is_new: the first time may still come if this object is young.
        """
        now = time.monotonic()
        if not self.is_simulated:
            return None
        if not self.now() and not (is_new and now - self._started < _DISCOVERY):
            publishers = self._node.count_publishers(_TOPIC)
            return NoFrameError(
                f'use_sim_time is true, but nothing has come on {_TOPIC}, which has {publishers} '
                f'publisher{"s" * (publishers != 1)}',
                'Start the simulation, play the recording with --clock, or set use_sim_time to '
                'false',
            )
        restless = len(self._resets) == _RESTLESS and now - self._resets[0] < _DISCOVERY
        if restless and (publishers := self._node.count_publishers(_TOPIC)) > 1:
            return NoFrameError(
                f'The clock is set back again and again: {_TOPIC} has {publishers} publishers',
                'Stop all but one of them',
            )
        return None

    @property
    def remark(self) -> str:
        """Say that simulated time stands still, or that it was set back; '' otherwise."""
        now, back = time.monotonic(), self.ended - self.began
        if self.is_simulated and now - self._ticked > _STILL:
            still = in_words(now - self._ticked)
            return f'; the simulated time has stood still for {still}'
        if back and now - self.since < _RECENT:
            ago = in_words(now - self.since)
            return f'; the clock was set back by {in_words(back / NANOSECONDS)}, {ago} ago'
        return ''

    def _going_back(self) -> None:
        self.run += 1

    def _went_back(self, jump: TimeJump) -> None:
        with self._lock:
            changed = jump.clock_change in (
                ClockChange.ROS_TIME_ACTIVATED, ClockChange.ROS_TIME_DEACTIVATED
            )
            self.run += 1
            self._ahead = -math.inf
            now = int(self._clock.now().nanoseconds)
            self._begin(now, 0 if changed else -jump.delta.nanoseconds)
        self._wake(math.inf)

    def _begin(self, now: int, lost: int) -> None:
        """Begin a run."""
        self.began, self.ended = now, now + lost
        self.since = self._ticked = time.monotonic()
        self._resets.append(self.since)
        if lost:
            self._node.get_logger().warning(
                f'The clock was set back by {in_words(lost / NANOSECONDS)}: the frames before '
                f'that are forgotten{self._rivals()}',
                throttle_duration_sec=_LOG_PERIOD,
            )

    def _rivals(self) -> str:
        """Say that several publish the time, if they do."""
        count = self._node.count_publishers(_TOPIC) if self.is_simulated else 0
        return f'. {_TOPIC} has {count} publishers: stop all but one' if count > 1 else ''

    def _advanced(self, _: TimeJump) -> None:
        self._ticked = time.monotonic()
        self._wake(self._clock.now().nanoseconds)

    def _wake(self, now: float) -> None:
        with self._lock:
            due = [condition for condition, until in self._alarms.items() if until <= now]
        for condition in due:
            with condition:
                condition.notify_all()
