# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from vlm_npu_ros.recordings.order import evenly_then_finer, interval, spaced


def test_intervals_are_read() -> None:
    for text, seconds in (
        ('2s', 2.0), ('500ms', 0.5), ('1.5', 1.5), ('.5 s', 0.5), ('1min', 60.0), ('2M', 120.0),
        ('1h', 3600.0), ('0', 0.0),
    ):
        assert interval(text) == pytest.approx(seconds)
    for text in ('', 's', '-1s', '2 days', '1e3s', 'nan'):
        with pytest.raises(ValueError, match='is no time'):
            interval(text)


def test_pictures_are_as_far_apart_as_wanted() -> None:
    jittered = [0.0, 0.11, 0.19, 0.93, 1.02, 1.1, 2.05, 2.9, 3.0, 7.5, 8.0]
    assert spaced(jittered, 1.0) == [0, 4, 6, 8, 9, 10]
    assert spaced(jittered, 0.0) == list(range(11))
    at_10_hz = [number / 10 for number in range(100)]
    assert spaced(at_10_hz, 2.0) == [0, 20, 40, 60, 80]
    assert spaced(at_10_hz, 0.3) == list(range(0, 100, 3))
    assert spaced([], 1.0) == []


def test_each_picture_comes_once_far_apart_at_first() -> None:
    for count in (0, 1, 2, 7, 8, 9, 100, 1000):
        order = list(evenly_then_finer(count))
        assert sorted(order) == list(range(count))
    assert list(evenly_then_finer(64))[:8] == [0, 8, 16, 24, 32, 40, 48, 56]
    # Whatever lasts an eighth of the recording is among the first eight.
    for begin in range(897):
        first = list(evenly_then_finer(1024))[:8]
        assert any(begin <= number < begin + 128 for number in first)
