# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Stamps of a camera, as they come."""

from __future__ import annotations

from collections.abc import Iterator
import time

from clocks import Simulation, simulation
import pytest
import rclpy
from vlm_npu_ros.node.arrivals import Arrivals
from vlm_npu_ros.node.frames import NANOSECONDS


@pytest.fixture
def simulated(
    context: rclpy.Context, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Simulation]:
    monkeypatch.setattr('vlm_npu_ros.node.arrivals._ON_ITS_WAY', 600.0)  # also on a busy machine
    with simulation(context) as simulated:
        yield simulated


def ns(seconds: float) -> int:
    return round(seconds * NANOSECONDS)


@pytest.mark.parametrize('back', [0.4, 8.0, 900.0])
def test_frame_that_was_on_its_way_when_the_clock_was_set_back(
    simulated: Simulation, back: float
) -> None:
    arrivals, clock = Arrivals(simulated.clock), simulated.clock
    for i in range(20):
        simulated.show(2000 + i / 10)
        assert arrivals.add(ns(2000 + i / 10 - 0.03))  # a camera that needs 30 ms
    simulated.show(2002 - back)
    assert arrivals.add(ns(2001.97)) is None
    simulated.show(2002 - back + 0.1)
    first = arrivals.add(ns(2002 - back + 0.07))
    assert first and clock.holds(first) and first.stamp == ns(2002 - back + 0.07)


def test_camera_slower_than_the_clock_was_set_back(simulated: Simulation) -> None:
    arrivals = Arrivals(simulated.clock)
    for i in range(20):
        simulated.show(50 + i / 10)
        arrivals.add(ns(50 + i / 10 - 0.6))
    simulated.show(51.7)  # by 0.2 s
    assert arrivals.add(ns(51.4)) is None and arrivals.add(ns(51.5)) is None


def test_first_frame_of_a_recording_comes_before_its_time(simulated: Simulation) -> None:
    arrivals, clock = Arrivals(simulated.clock), simulated.clock
    for second in (30.0, 31.0, 32.0):
        simulated.show(second)
        arrivals.add(ns(second))
    for _ in range(3):  # it has a single frame then
        early = arrivals.add(ns(30.0))
        assert early and early.behind == ns(2.0) and clock.holds(early)
        simulated.show(30.01)
        assert clock.holds(early)
        simulated.show(32.0)
        assert clock.holds(early)


def test_camera_that_is_ahead_is_still_seen_after_a_reset(simulated: Simulation) -> None:
    arrivals = Arrivals(simulated.clock)
    for i in range(20):
        simulated.show(50 + i / 10)
        arrivals.add(ns(50.2 + i / 10))
    for i in range(5):
        simulated.show(20 + i / 10)
        new = arrivals.add(ns(20.2 + i / 10))
        assert new and simulated.clock.holds(new)


def test_frame_without_a_stamp_counts_as_taken_now(simulated: Simulation) -> None:
    arrivals = Arrivals(simulated.clock)
    simulated.show(7.25)
    arrival = arrivals.add(0)
    assert arrival and arrival.stamp == arrival.arrived == ns(7.25)


def test_lag_is_the_least_of_a_second(
    simulated: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrivals, at = Arrivals(simulated.clock), 100.0
    monkeypatch.setattr(time, 'monotonic', lambda: at)
    lags = [90.0, 40.0, 60.0, 95.0] * 4 + [0.2] + [50.0] * 12
    known = []
    for i, lag in enumerate(lags):
        at = 100 + i / 4
        simulated.show(1000 + i / 4)
        arrivals.add(ns(1000 + i / 4 - lag))
        known.append(arrivals.lag)
    assert known[:3] == [None] * 3  # too few to tell
    assert known[8] == ns(40.0)
    assert known[16] == ns(0.2)
    assert known[-1] == ns(50.0)
    simulated.show(10.0)
    assert arrivals.lag is None  # another run


def test_frames_of_two_runs_ago_and_doubled_ones_are_not_early(simulated: Simulation) -> None:
    arrivals, clock, came = Arrivals(simulated.clock), simulated.clock, []
    for now in (30.0, 30.0, 31.0, 31.0, 29.0, 29.5, 29.5, 29.3):
        simulated.show(now)
        came.append(arrivals.add(ns(now)))
    assert [bool(each and clock.holds(each)) for each in came] == [False] * 7 + [True]


def test_frame_that_was_on_its_way_when_the_clock_was_set_back_twice(
    simulated: Simulation,
) -> None:
    arrivals = Arrivals(simulated.clock)
    for now in (60.0, 60.1, 60.2):
        simulated.show(now)
        assert arrivals.add(ns(now))
    simulated.show(40.0)
    simulated.show(40.1)
    simulated.show(25.0)
    assert arrivals.add(ns(40.05)) is None
    assert arrivals.add(ns(25.0))
