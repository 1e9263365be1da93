# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""How much of the processor the node takes for a camera, without questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from pairs import alternate, COST, Effort, Pair, SHARE
from running import CAMERA, cpu_seconds, NodeError, Peer, process_of, Program, running
from std_msgs.msg import UInt64

BAR = 1.1
FULL_HD = {
    'width': 1920, 'height': 1080, 'rate': 30.0, 'encoding': 'bgr8', 'reliability': 'reliable',
    'scene_period': 0.0,
}
_TOPICS = {'raw': '/camera/image_raw', 'compressed': '/camera/image_raw/compressed'}
_NAMES = {'raw': '1080p bgr8 at 30 Hz', 'compressed': '1080p JPEG at 30 Hz'}
_SECONDS = 5.0  # of a window
_PATIENCE = 30.0


def measure(effort: Effort) -> Iterator[Pair]:
    """Run the node, and counters, in turns; each in a process of its own."""
    for transport, topic in list(_TOPICS.items())[effort.short:]:
        camera = {**FULL_HD, 'compressed': transport == 'compressed'}
        node = {
            'backend': 'light', 'encode_rate': 1.0, 'image_reliability': 'reliable',
            'camera.topic': topic, 'camera.transport': transport,
        }
        counter = {'topic': topic, 'transport': transport}
        serialised = {**counter, 'serialised': True}
        subjects = ('light_node', node), ('counter', counter), ('counter', serialised)
        rounds = alternate(
            effort.repeats(3),
            *(partial(_load, subject, camera, effort.seconds(_SECONDS)) for subject in subjects),
        )
        ours, plain, uncopied = (tuple(cpu / rate for cpu, rate in each) for each in rounds)
        name = _NAMES[transport]
        yield Pair(f'{name}: CPU', 'counting subscriber', 'ms/frame', ours, plain, COST, BAR)
        yield Pair(f'{name}: CPU', 'the same, serialised', 'ms/frame', ours, uncopied)
        rates = tuple(tuple(rate for _, rate in those) for those in rounds[:2])
        yield Pair(f'{name}: frames', 'counting subscriber', 'Hz', *rates, SHARE)


def _load(program: Program, camera: dict[str, Any], seconds: float) -> tuple[float, float]:
    """Measure the milliseconds of processor time, and the frames, per second."""
    with running(camera=(CAMERA, camera), subject=program) as peer:
        received = _Received(peer)
        received.wait_for(lambda: len(received.rates) > 2, peer)
        process = process_of(program[0])
        cpu, started, told = cpu_seconds(process), time.perf_counter(), len(received.rates)
        received.wait_for(
            lambda: time.perf_counter() - started > seconds and len(received.rates) > told, peer
        )
        cpu = (cpu_seconds(process) - cpu) / (time.perf_counter() - started)
        rates = received.rates[told:]
        return 1000 * cpu, sum(rates) / len(rates)


class _Received:
    """
    What the node or the counter tells once a second.

    rates: frames a second.
    """

    def __init__(self, peer: Peer) -> None:
        self.rates: list[float] = []
        self._last = (0.0, 0)
        peer.node.create_subscription(UInt64, '/counter/count', self._on_count, 10)
        peer.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def wait_for(self, condition: Callable[[], bool], peer: Peer) -> None:
        """Wait until it holds; raise NodeError if it never does."""
        if not peer.wait(condition, _PATIENCE):
            peer.check()
            raise NodeError('No frame came')

    def _on_count(self, message: UInt64) -> None:
        now, (last, count) = time.perf_counter(), self._last
        self._last = now, message.data
        if last and message.data:
            self.rates.append((message.data - count) / (now - last))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        values = {v.key: v.value for status in message.status for v in status.values}
        rate = float(values.get('frames per second', 0))
        if rate:
            self.rates.append(rate)
