# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Freshness of frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from std_msgs.msg import Header
from vlm_npu_ros.engine.types import ImageEmbedding
from vlm_npu_ros.node.frames import (
    CachedFrame,
    Freshness,
    History,
    HistoryLimits,
    NANOSECONDS,
)


def frame_at(seconds: float) -> CachedFrame:
    embedding = ImageEmbedding(np.zeros((1, 1, 1), np.float32), 0.0)
    return CachedFrame('front', Header(), round(seconds * NANOSECONDS), embedding)


@pytest.mark.parametrize(
    ('stamp', 'now', 'not_before', 'admitted'),
    [
        (100, 104.9, 0, True),
        (100, 105, 0, True),
        (100, 105.1, 0, False),
        (100, 101, 100, True),
        (100, 101, 100.001, False),
        (100, 99, 0, True),  # the camera's clock is ahead
        (100, 94.9, 0, False),  # by too much
    ],
)
def test_admits(stamp: float, now: float, not_before: float, admitted: bool) -> None:
    freshness = Freshness(5 * NANOSECONDS, round(not_before * NANOSECONDS))
    assert freshness.admits(frame_at(stamp), round(now * NANOSECONDS)) is admitted


def test_no_frame_is_never_admitted() -> None:
    assert not Freshness(5 * NANOSECONDS).admits(None, 0)


SECOND = HistoryLimits(NANOSECONDS, 10 * NANOSECONDS, 1000)


def history(*seconds: float, limits: HistoryLimits = SECOND) -> History:
    kept = History()
    for second in seconds:
        kept.add(frame_at(second), limits)
    return kept


def stamps(frames: list[CachedFrame]) -> list[float]:
    return [frame.stamp / NANOSECONDS for frame in frames]


def test_history_keeps_a_frame_a_period_and_the_newest() -> None:
    kept = history(*(i / 4 for i in range(17)))
    assert stamps(kept.spread(5, 4 * NANOSECONDS, NANOSECONDS)) == [0, 1, 2, 3, 4]
    assert kept.newest and kept.newest.stamp == 4 * NANOSECONDS
    assert len(kept) == 5


def test_history_keeps_its_span_and_size() -> None:
    assert len(history(*range(30))) == 11
    small = HistoryLimits(NANOSECONDS, 100 * NANOSECONDS, 12)  # three embeddings of 4 bytes
    assert len(history(*range(30), limits=small)) == 3
    none = HistoryLimits(NANOSECONDS, 0, 0)
    assert stamps(history(1, 2, 3, limits=none).spread(3, NANOSECONDS, NANOSECONDS)) == [3]


def test_history_begins_anew_with_a_recording() -> None:
    assert stamps(history(5, 6, 7, 1).spread(4, 9 * NANOSECONDS, NANOSECONDS)) == [1]


def test_frame_with_the_stamp_of_the_newest_one_replaces_it() -> None:
    kept = history(1, 2, 3, 3, 4)
    last = frame_at(4)
    kept.add(last, SECOND)
    assert stamps(kept.spread(4, 3 * NANOSECONDS, NANOSECONDS)) == [1, 2, 3, 4]
    assert kept.newest is last


def test_frame_that_was_overtaken_is_ignored() -> None:
    kept = history(1, 2, 3, 2.4, 4, 3.1)
    assert stamps(kept.spread(4, 3 * NANOSECONDS, NANOSECONDS)) == [1, 2, 3, 4]


def test_frames_of_another_run_are_as_good_as_gone() -> None:
    run = 0
    kept = History(lambda frame: frame.run == run)
    for second in (1, 2, 3):
        kept.add(frame_at(second), SECOND)
    run = 2
    assert kept.newest is None and len(kept) == 0
    assert kept.spread(4, 9 * NANOSECONDS, NANOSECONDS) == []
    kept.add(replace(frame_at(2.5), run=2), SECOND)
    assert stamps(kept.spread(4, 9 * NANOSECONDS, NANOSECONDS)) == [2.5]


@pytest.mark.parametrize(('wanted', 'window', 'chosen'), [
    (1, 4.0, [20]),
    (2, 4.0, [16, 20]),
    (4, 4.0, [17, 18, 19, 20]),  # 1.33 s apart is not to be had, 1 s is
    (4, 6.0, [14, 16, 18, 20]),
    (3, 10.0, [10, 15, 20]),
    (40, 10.0, list(range(10, 21))),
    (4_294_967_295, 10.0, list(range(10, 21))),  # the field's largest: neither slow nor more
])
def test_frames_are_evenly_spaced(wanted: int, window: float, chosen: list[float]) -> None:
    kept = history(*range(21))
    assert stamps(kept.spread(wanted, round(window * NANOSECONDS), NANOSECONDS)) == chosen


def test_gap_is_not_filled_with_others() -> None:
    kept = history(0, 1, 2, 7, 8)
    assert stamps(kept.spread(5, 8 * NANOSECONDS, NANOSECONDS)) == [0, 2, 7, 8] or stamps(
        kept.spread(5, 8 * NANOSECONDS, NANOSECONDS)) == [0, 2, 8]


def test_nothing_to_choose_from() -> None:
    assert History().spread(4, NANOSECONDS, NANOSECONDS) == []
