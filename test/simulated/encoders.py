# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Encoder files that were made by rknn-toolkit2, see test/data."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / 'data'
DEMO, FOLDED, FLOAT, FOUR, ENCRYPTED = (
    DATA / f'{name}.rknn'
    for name in (
        'demo_encoder', 'tiny_folded_2.3.2', 'tiny_float', 'tiny_four', 'tiny_encrypted',
    )
)
