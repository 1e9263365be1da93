# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Durations in messages."""

from __future__ import annotations

from vlm_npu_ros.engine.durations import in_words


def test_durations_have_milliseconds_below_a_second() -> None:
    durations = (0, 1e-9, 0.000_42, 0.0042, 0.0423, 0.9994, 1, 61.26, -0.25, -3)
    assert [in_words(seconds) for seconds in durations] == [
        '0 ms', '0.000001 ms', '0.42 ms', '4.2 ms', '42 ms', '999 ms', '1.0 s', '61.3 s',
        '-250 ms', '-3.0 s',
    ]
