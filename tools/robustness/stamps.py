# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Words that tell when they were written."""

from __future__ import annotations

from collections.abc import Iterator
import time


def stamped(order: str) -> Iterator[str]:
    """Yield as many words as the order says, so many per second: 'COUNT RATE'; 0 = at once."""
    count, rate = (float(part) for part in order.split())
    due = time.monotonic()
    for _ in range(int(count)):
        if rate:
            due += 1 / rate
            time.sleep(max(due - time.monotonic(), 0))
        yield f'{time.monotonic_ns() // 1000:x} '


def delay(arrived: int, text: str) -> float:
    """Measure the milliseconds from the writing of the last word to its arrival."""
    return arrived / 1e6 - int(text.rsplit(maxsplit=1)[-1], 16) / 1e3
