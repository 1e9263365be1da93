# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The clock that stamps are compared with, simulated and the system's."""

from __future__ import annotations

from dataclasses import dataclass
import math
import threading
import time

from clocks import Simulation
import pytest
import rclpy
from rclpy.node import Node
from robot import PATIENCE
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.frames import NANOSECONDS


@dataclass(frozen=True)
class Frame:
    """A frame, as far as the clock is concerned."""

    stamp: int
    run: int
    behind: int = 0


def frame(clock: StampClock, seconds: float, goes_back: bool = False) -> Frame:
    stamp = round(seconds * NANOSECONDS)
    return Frame(stamp, clock.run, clock.now() - stamp if goes_back else 0)


def test_clock_that_is_set_back_begins_a_run(simulated: Simulation) -> None:
    clock = simulated.clock
    simulated.show(70.0)
    former = frame(clock, 69.9)
    simulated.show(71.0)
    simulated.show(71.0)
    assert clock.holds(former)
    simulated.show(70.5)
    assert not clock.holds(former)
    assert (clock.began, clock.ended) == (70.5 * NANOSECONDS, 71 * NANOSECONDS)
    assert clock.holds(frame(clock, 70.5))


def test_no_frame_is_of_a_run_that_has_not_begun(simulated: Simulation) -> None:
    clock, seen = simulated.clock, []
    simulated.show(9.0)
    former = frame(clock, 8.9)
    threshold = rclpy.clock.JumpThreshold(
        min_forward=None, min_backward=rclpy.duration.Duration(nanoseconds=-1)
    )

    def between() -> None:  # the time is about to be set
        seen.append((clock.holds(former), clock.run % 2))

    with simulated.node.get_clock().create_jump_callback(threshold, pre_callback=between):
        simulated.show(3.0)
    assert seen == [(False, 1)]
    assert clock.run % 2 == 0


def test_first_frame_of_a_recording_may_come_before_its_time(simulated: Simulation) -> None:
    clock = simulated.clock
    simulated.show(20.0)
    first, other = frame(clock, 5.0, goes_back=True), frame(clock, 19.9, goes_back=True)
    late = frame(clock, 4.9)  # did not come after one that was stamped later
    simulated.show(5.1)
    assert [clock.holds(each) for each in (first, other, late)] == [True, False, False]
    simulated.show(5.05)
    assert not clock.holds(first)


def test_system_clock_that_is_set_back_begins_a_run(
    context: rclpy.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node('robot', context=context)
    clock, steady = StampClock(node), time.monotonic_ns
    runs = []
    for lost in (0.0, 0.01, 0.02, 60.0, 0.0, 1e-9):
        monkeypatch.setattr(
            time, 'monotonic_ns', lambda lost=lost: steady() + round(lost * NANOSECONDS)
        )
        clock.now()
        runs.append(clock.run)
    assert runs == [0, 0, 0, 2, 2, 2]
    assert clock.ended - clock.began == pytest.approx(60 * NANOSECONDS, rel=0.01)
    clock.close()
    node.destroy_node()


@pytest.mark.parametrize('step', [0.5, -3.0])
def test_waiting_ends_at_its_time_or_when_the_clock_is_set_back(
    simulated: Simulation, step: float
) -> None:
    simulated.show(10.0)
    condition, waiting, over = threading.Condition(), threading.Event(), threading.Event()

    def wait() -> None:
        with condition:
            waiting.set()
            simulated.clock.wait(condition, 10.5 * NANOSECONDS)
            over.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(PATIENCE)
    simulated.show(10.4)
    with condition:  # the thread waits
        assert not over.is_set()
    simulated.show(10.0 + step)
    assert over.wait(PATIENCE)
    thread.join()


def test_waiting_has_a_limit_by_the_steady_clock(simulated: Simulation) -> None:
    condition = threading.Condition()
    with condition:
        begun = time.monotonic()
        simulated.clock.wait(condition, math.inf, 0.05)
        assert time.monotonic() - begun >= 0.05


def test_clock_without_a_time_is_named(simulated: Simulation) -> None:
    fault = simulated.clock.fault()
    assert fault and 'nothing has come on /clock' in str(fault)
    assert simulated.clock.fault(is_new=True) is None
    simulated.show(1.0)
    assert simulated.clock.fault() is None
