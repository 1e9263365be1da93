# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""How much the fuzz tests try, and what they are given to measure it with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
import os

from hypothesis import HealthCheck, settings

ROOM = 150  # MiB that thousands of small things may take, with what hypothesis keeps of them
FULL = os.environ.get('VLM_FUZZ') == 'full'  # set by `make fuzz`

Outcomes = dict[str, Counter[str]]
Peak = Callable[[Callable[[], object]], float]


def examples(few: int, full: int) -> settings:
    return settings(
        max_examples=full if FULL else few,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                               HealthCheck.function_scoped_fixture],
    )
