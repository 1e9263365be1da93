# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Which pictures of a recording are looked at, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import math
import re

_UNITS = {'ms': 0.001, 's': 1.0, '': 1.0, 'min': 60.0, 'm': 60.0, 'h': 3600.0}
_ROUGH = 8  # parts of a recording that are looked at first


def interval(text: str) -> float:
    """Read a time such as 2s, 500ms, 1.5 or 2min; return seconds, raise ValueError."""
    match = re.fullmatch(r'(\d+\.?\d*|\.\d+)\s*([a-z]*)', text.strip().lower())
    if not match or match[2] not in _UNITS:
        raise ValueError(f'{text} is no time: write 2s, 500ms or 1min')
    return float(match[1]) * _UNITS[match[2]]


def spaced(times: Sequence[float], every: float) -> list[int]:
    """Choose the first picture, and the first one of each further interval; 0 = all."""
    chosen, due = [], -math.inf
    for number, time in enumerate(times):
        if time >= due:
            chosen.append(number)
            if every:
                due = times[0] + (math.floor((time - times[0]) / every + 1e-9) + 1) * every - 1e-9
    return chosen


def evenly_then_finer(count: int) -> Iterator[int]:
    """
    Yield 0 to count - 1, each once: far apart at first, then what lies between.

    What is seen in a recording may come and go several times, so that halving it would miss it.
    """
    step, seen = 1, set[int]()
    while step * _ROUGH < count:
        step *= 2
    while step:
        for number in range(0, count, step):
            if number not in seen:
                seen.add(number)
                yield number
        step //= 2
