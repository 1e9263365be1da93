# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Durations in messages for people."""

from __future__ import annotations

import numpy as np


def in_words(seconds: float) -> str:
    """
    Write a duration with its unit, milliseconds if it is below a second.

        in_words(2.52), in_words(0.35), in_words(0.0001)    # '2.5 s', '350 ms', '0.1 ms'
    """
    milliseconds = 1000 * seconds
    if abs(seconds) >= 1:
        return f'{seconds:.1f} s'
    if abs(milliseconds) >= 10:
        return f'{milliseconds:.0f} ms'
    digits = np.format_float_positional(milliseconds, precision=2, fractional=False, trim='-')
    return f'{digits} ms'
