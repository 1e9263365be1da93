# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A breaker, by a clock that the test sets."""

from __future__ import annotations

import pytest
from vlm_npu_ros.engine.breaker import Breaker, BreakerState

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


class Clock:
    """Time that stands still."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    """Return a breaker that opens after three failures, for five seconds."""
    return Breaker(3, 5.0, clock)


def test_opens_after_failures_in_a_row(breaker: Breaker) -> None:
    breaker.fail('first')
    breaker.fail('second')
    breaker.succeed()
    breaker.fail('third')
    breaker.fail('fourth')
    assert (breaker.state, breaker.failures, breaker.remaining) == (CLOSED, 2, 0.0)
    breaker.fail('fifth')
    assert (breaker.state, breaker.remaining, breaker.reason) == (OPEN, 5.0, 'fifth')


def test_opens_at_once_for_what_lasts(breaker: Breaker) -> None:
    breaker.fail('no library', at_once=True)
    assert breaker.state is OPEN


def test_half_opens_and_closes(breaker: Breaker, clock: Clock) -> None:
    breaker.fail('no server', at_once=True)
    clock.now += 4.9
    assert breaker.state is OPEN
    clock.now += 0.1
    assert (breaker.state, breaker.remaining) == (HALF_OPEN, 0.0)
    breaker.succeed()
    assert (breaker.state, breaker.failures) == (CLOSED, 0)
    assert breaker.reason == 'no server'  # for callers that ask later


def test_each_vain_attempt_doubles_the_pause_up_to_a_minute(
    breaker: Breaker, clock: Clock
) -> None:
    breaker.fail('no server', at_once=True)
    for pause in (10.0, 20.0, 40.0, 60.0, 60.0):
        clock.now += breaker.remaining
        breaker.fail('no server')
        assert breaker.remaining == pause
    clock.now += 60.0
    breaker.succeed()
    breaker.fail('no server', at_once=True)
    assert breaker.remaining == 5.0


def test_failure_of_an_open_one_changes_nothing_but_the_reason(
    breaker: Breaker, clock: Clock
) -> None:
    breaker.fail('no server', at_once=True)
    clock.now += 2.0
    breaker.fail('still none', at_once=True)
    assert (breaker.remaining, breaker.reason) == (3.0, 'still none')


def test_pause_that_is_longer_than_a_minute_stays(clock: Clock) -> None:
    breaker = Breaker(1, 300.0, clock)
    breaker.fail('no server')
    clock.now += 300.0
    breaker.fail('no server')
    assert breaker.remaining == 300.0
