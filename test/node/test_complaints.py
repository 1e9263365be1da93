# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What a question is told that gets no frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import time
from typing import Any

from clocks import Simulation
import numpy as np
import pytest
import rclpy
from rclpy.node import Node
from rclpy.serialization import serialize_message
from rclpy.time import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vlm_npu_ros.engine.errors import NoFrameError, StaleFrameError
from vlm_npu_ros.engine.types import ImageEmbedding
from vlm_npu_ros.node.cameras import CameraFeed
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.complaints import complaint, obstacle
from vlm_npu_ros.node.frames import CachedFrame, Freshness, HistoryLimits, NANOSECONDS
from vlm_npu_ros.node.parameter_specs import CameraSettings

FRESH = Freshness(5 * NANOSECONDS)
LIMITS = HistoryLimits(NANOSECONDS, 100 * NANOSECONDS, 1000)
SETTINGS = CameraSettings('front', 'front/image', 'raw')


class Camera:
    """A camera whose frames are encoded by hand; steady time goes as the test says."""

    def __init__(self, node: Node, clock: StampClock, monkeypatch: pytest.MonkeyPatch) -> None:
        graph: Any = node  # for what is looked at; nothing is subscribed to
        self.clock, self.at = clock, 1000.0
        self.feed = CameraFeed(node, graph, SETTINGS, clock)
        monkeypatch.setattr(time, 'monotonic', lambda: self.at)

    def show(self, stamp: float, encoded: bool = True, took: float = 0.02) -> None:
        message = Image(header=Header(stamp=Time(nanoseconds=round(stamp * 1e9)).to_msg()))
        self.feed.receive(serialize_message(message))
        arrival = self.feed.arrivals.newest
        if encoded and arrival:
            embedding = ImageEmbedding(np.zeros((1, 1, 1), np.float32), took)
            frame = CachedFrame(
                'front', message.header, arrival.stamp, embedding, arrival.run, arrival.behind
            )
            self.feed.history.add(frame, LIMITS)

    def told(self, freshness: Freshness = FRESH) -> str:
        error = complaint(self.feed, freshness, self.clock)
        assert isinstance(error, (NoFrameError, StaleFrameError))
        return str(error)

    def told_at_once(self, freshness: Freshness = FRESH, timeout: float = 60.0) -> str:
        return str(obstacle(self.feed, freshness, self.clock, timeout) or '')


@pytest.fixture
def camera(simulated: Simulation, monkeypatch: pytest.MonkeyPatch) -> Camera:
    return Camera(simulated.node, simulated.clock, monkeypatch)


def test_each_cause_of_a_missing_frame_is_told(camera: Camera, simulated: Simulation) -> None:
    assert 'nothing has come on /clock' in camera.told()
    simulated.show(100.0)
    assert 'delivered no usable frame yet: nobody publishes /front/image' in camera.told()
    camera.show(100.0, encoded=False)
    assert 'has been encoded yet' in camera.told()
    camera.show(100.0)
    later = replace(FRESH, not_before=round(100.25 * NANOSECONDS))
    simulated.show(100.3)
    assert '300 ms old, which is 250 ms before the time asked for' in camera.told(later)
    simulated.show(106.0)
    camera.at += 1.5
    assert camera.told().endswith(
        "The newest frame of camera 'front' (/front/image) is 6.0 s old, 5.0 s are allowed; the "
        'simulated time has stood still for 1.5 s'
    )
    camera.at += 4.0
    simulated.show(106.1)
    assert '5.0 s are allowed: nobody publishes /front/image' in camera.told()
    camera.show(106.0, encoded=False)
    assert 'A newer one is being encoded, which takes 20 ms' in camera.told()
    simulated.show(90.0)
    assert 'since the clock was set back by 16.1 s' in camera.told()


def test_times_below_a_second_are_milliseconds(camera: Camera, simulated: Simulation) -> None:
    simulated.show(60.0)
    camera.show(59.9996)
    assert 'is 0.4 ms old, 0.1 ms are allowed' in camera.told(Freshness(100_000)) or (
        'are 0.4 ms old when they come' in camera.told(Freshness(100_000))
    )


def test_clock_that_stands_still(camera: Camera, simulated: Simulation) -> None:
    simulated.show(60.0)
    camera.show(59.98)
    camera.at += 3.0
    told = camera.told(replace(FRESH, not_before=60 * NANOSECONDS))
    assert '20 ms old, which is 20 ms before the time asked for: nobody publishes' in told
    assert 'the simulated time has stood still for 3.0 s' in told


def test_time_asked_for_that_is_far_ahead(camera: Camera, simulated: Simulation) -> None:
    simulated.show(60.0)
    camera.show(60.0)
    soon, never = (replace(FRESH, not_before=round(t * NANOSECONDS)) for t in (62, 1.7e9))
    assert camera.told_at_once(soon) == ''
    assert 'is 2.0 s ahead of the clock of this node (simulated time)' in camera.told(soon)
    assert 'ahead of the clock of this node' in camera.told_at_once(never)


def run(camera: Camera, simulated: Simulation, stamp: Callable[[float], float]) -> None:
    """Show 3 seconds, at twice the speed."""
    for i in range(30):
        simulated.show(400 + i / 5)
        camera.show(stamp(400 + i / 5))
        camera.at += 0.1


@pytest.mark.parametrize(('stamp', 'words'), [
    (lambda now: now, ''),
    (lambda now: now - 4.9, ''),
    (lambda now: now - (0.3 if round(5 * now) % 5 == 0 else 7.0), ''),  # late, but for some
    (lambda now: now - 45, '45.0 s behind the clock of this node (simulated time)'),
    (lambda now: now + 45, '45.0 s ahead of the clock of this node (simulated time)'),
    (lambda now: 1.79e9, 's ahead of the clock of this node'),
])
def test_stamps_of_another_clock_are_told_at_once(
    camera: Camera, simulated: Simulation, stamp: Callable[[float], float], words: str
) -> None:
    run(camera, simulated, stamp)
    told = camera.told_at_once()
    assert words in told and bool(words) == bool(told)
    assert not words or 'set front.stamp to arrival' in told and words in camera.told()


@pytest.mark.parametrize(('offset', 'advice'), [
    (37.0, 'TAI'), (20.0, 'must be synchronised'), (-7.0, 'larger max_age'),
    (-1e8, 'use_sim_time'), (None, 'CLOCK_MONOTONIC'),
])
def test_clock_of_stamps_is_guessed(
    context: rclpy.Context, monkeypatch: pytest.MonkeyPatch, offset: float | None, advice: str
) -> None:
    node = Node('robot', context=context)
    clock = StampClock(node)
    camera = Camera(node, clock, monkeypatch)
    for _ in range(20):
        camera.at += 0.1
        camera.show(camera.at if offset is None else time.time() + offset)
    assert advice in camera.told_at_once()
    clock.close()
    node.destroy_node()
