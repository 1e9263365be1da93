# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Publishes the state of the node on /diagnostics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
import platform

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import psutil
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from vlm_npu_ros.engine.breaker import BreakerState
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.interface import Engine, EngineMember
from vlm_npu_ros.engine.registry import find
from vlm_npu_ros.node.ask_queue import AskQueue
from vlm_npu_ros.node.cameras import CameraCounts, CameraFeed
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.complaints import obstacle
from vlm_npu_ros.node.frames import Freshness, NANOSECONDS
from vlm_npu_ros.node.read_ahead import ReadAhead

_PERIOD = 1.0  # seconds
_DEPTH = 10


class Diagnostics:
    """
    Publishes a status for the engine, each of several backends and each camera, once a second.

    Names begin with the full name of the node, as in `/robot1/vlm: camera front`, so that those of
    several robots differ. hardware_id is the host name.

    ERROR: no question can be answered now. WARN: answers may be about an old view, missing, or not
    from the preferred backend.

    backends: their names.
    max_age: gives the parameter of that name, seconds.
    dialogues: gives the number of dialogues.
    """

    def __init__(
        self,
        node: Node,
        backends: Sequence[str],
        clock: StampClock,
        engine: Engine,
        queue: AskQueue,
        ahead: ReadAhead,
        feeds: Iterable[CameraFeed],
        max_age: Callable[[], float],
        dialogues: Callable[[], int],
    ) -> None:
        self._node, self._backends, self._clock = node, backends, clock
        self._engine, self._queue, self._ahead = engine, queue, ahead
        self._max_age, self._dialogues = max_age, dialogues
        self._process = psutil.Process()
        self._last = {feed: CameraCounts() for feed in feeds}
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', _DEPTH)
        self._timer = node.create_timer(
            _PERIOD,
            self._publish,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def close(self) -> None:
        """Stop publishing."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _publish(self) -> None:
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.status = [
            self._engine_status(),
            *map(self._backend_status, self._engine.members),
            *map(self._camera_status, self._last),
        ]
        self._publisher.publish(message)

    def _engine_status(self) -> DiagnosticStatus:
        engine, queue, ahead = self._engine, self._queue, self._ahead.counts
        level, text = DiagnosticStatus.OK, 'Answering questions'
        backend = self._backends[0]
        failure = next((feed.failure for feed in self._last if feed.failure), None)
        if engine.failure:
            level, text = DiagnosticStatus.ERROR, f'Out of order: {engine.failure}'
        elif failure:
            level, text = DiagnosticStatus.ERROR, f'Frames cannot be encoded: {failure}'
        elif engine.members:
            preferred = engine.members[0]
            backend = next((m.name for m in engine.members if not m.obstacle), preferred.name)
            if preferred.obstacle:
                level = DiagnosticStatus.WARN
                text = f'{backend} answers, not {preferred.name}: {preferred.obstacle}'
        speed = queue.tokens_per_second
        values = {
            'backend': backend,
            'model': engine.model_name,
            'questions waiting': queue.depth,
            'tokens per second': f'{speed:.1f}' if speed else 'none',
            'dialogues': self._dialogues(),
            'restarts': engine.restarts,
            'reading ahead': f'off: {self._ahead.obstacle}' if self._ahead.obstacle else 'on',
            'questions whose frame was read ahead': f'{ahead.found} of {ahead.questions}',
            'time spent reading ahead, s': f'{ahead.spent:.1f}',
            'of it in vain, s': f'{ahead.wasted:.1f}',
            'memory of the node, MiB': self._process.memory_info().rss >> 20,
        }
        if engine.probabilities:
            values['probabilities'] = engine.probabilities
        if engine.memory:
            values['memory of the engine, MiB'] = engine.memory >> 20
        for name in self._backends:
            values.update(find(name).figures())
        return self._status('engine', level, text, values)

    def _backend_status(self, member: EngineMember) -> DiagnosticStatus:
        blocked, breaker = member.obstacle, member.breaker
        if not blocked and breaker.state is BreakerState.HALF_OPEN:
            blocked = 'The next question tries it again'
        level = DiagnosticStatus.WARN if blocked else DiagnosticStatus.OK
        if self._engine.failure:
            level = DiagnosticStatus.ERROR
        values: dict[str, object] = {
            'backend': member.name,
            'model': member.source.model or 'none',
            'breaker': breaker.state.value,
            'failures in a row': breaker.failures,
            'last failure': breaker.reason or 'none',
            'next attempt, s': f'{breaker.remaining:.1f}',
            'answers': member.answered,
            'restarts': member.engine.restarts if member.engine else 0,
        }
        if member.engine and member.engine.probabilities:
            values['probabilities'] = member.engine.probabilities
        return self._status(f'backend {member.name}', level, blocked or 'Ready', values)

    def _camera_status(self, feed: CameraFeed) -> DiagnosticStatus:
        before, counts = self._last[feed], feed.counts
        self._last[feed] = replace(counts)
        frame, age = feed.frame, None
        if frame:
            age = (self._clock.now() - frame.stamp) / NANOSECONDS
        is_old = age is None or age > self._max_age()
        level, text = DiagnosticStatus.WARN, 'Frames arrive and are encoded'
        freshness = Freshness(round(self._max_age() * NANOSECONDS))
        wrong = obstacle(feed, freshness, self._clock)
        if wrong:
            text = str(wrong)
        elif counts.received == before.received and is_old:
            what, remedy = feed.silence()
            text = f'No frame arrives: {what}{self._clock.remark}. {remedy}'
        elif counts.bad > before.bad:
            text = f'Frames arrive that cannot be read: {feed.fault}'
        elif age is None:
            text = 'No frame has been encoded yet'
        elif is_old:
            text = f'The newest embedding is older than max_age, {in_words(self._max_age())}'
        else:
            level = DiagnosticStatus.OK
        values = {
            'topic': feed.topic,
            'frames per second': f'{(counts.received - before.received) / _PERIOD:.1f}',
            'encoded per second': f'{(counts.encoded - before.encoded) / _PERIOD:.1f}',
            'frames that looked like the one before': counts.unchanged,
            'bad frames': counts.bad,
            'frames kept': len(feed.history),
            'age of the newest embedding, s': 'none' if age is None else f'{age:.2f}',
        }
        return self._status(f'camera {feed.settings.name}', level, text, values)

    def _status(
        self, part: str, level: bytes, text: str, values: dict[str, object]
    ) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=level,
            name=f'{self._node.get_fully_qualified_name()}: {part}',
            message=text,
            hardware_id=platform.node(),
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
