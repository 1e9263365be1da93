# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The figures that have a bar, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from pairs import ADDED, COST, Pair
from picture import GREEN, GREY, INK, png, RED
from vlm_npu_ros.engine.drawing import written

_PAPER, _RIM = (255, 255, 255), (214, 218, 224)
_LINE = 30  # pixels a row
_MARGIN = 30
_TOP = 100
_COLUMNS = {'figure': 50, 'against': 560, 'ours': 820, 'reference': 990, 'compared': 1160,
            'bar': 1290}
_LEFT, _RIGHT = 1430, 1730  # of the chart: nothing, and twice of what the bar allows


def picture(results: Mapping[str, Sequence[Pair]]) -> bytes:
    """Draw how much each figure takes of what its bar allows, by benchmark, as a PNG."""
    judged = {
        title: [pair for pair in pairs if pair.bar is not None]
        for title, pairs in results.items()
    }
    judged = {title: pairs for title, pairs in judged.items() if pairs}
    rows = sum(len(pairs) + 1.6 for pairs in judged.values())
    height = round(_TOP + _LINE * rows + _MARGIN)
    canvas = np.full((height, _RIGHT + 2 * _MARGIN, 3), _PAPER, np.uint8)
    written(canvas, 'Ours against the reference, in the same run', _MARGIN, 44, 0.9, INK)
    for name, x in _COLUMNS.items():
        written(canvas, name, x, _TOP - 20, 0.5, GREY)
    middle = (_LEFT + _RIGHT) // 2
    written(canvas, 'bar', middle - 12, _TOP - 20, 0.5, GREY)
    cv2.line(canvas, (middle, _TOP - 10), (middle, height - _MARGIN), GREY, 1)
    y = float(_TOP)
    for title, pairs in judged.items():
        y += 1.6 * _LINE
        written(canvas, title, _MARGIN, round(y - 0.4 * _LINE), 0.6, INK)
        for pair in pairs:
            y += _LINE
            _row(canvas, pair, round(y - 0.4 * _LINE))
    return png(canvas)


def _row(canvas: np.ndarray, pair: Pair, y: int) -> None:
    colour = GREEN if pair.passed else RED
    for name, x in _COLUMNS.items():
        written(canvas, pair.row()[name], x, y, 0.48, colour if name == 'compared' else INK)
    length = round((_RIGHT - _LEFT) / 2 * min(_used(pair), 2.0))
    cv2.rectangle(canvas, (_LEFT, y - 12), (_RIGHT, y + 4), _RIM, 1)
    cv2.rectangle(canvas, (_LEFT, y - 12), (_LEFT + length, y + 4), colour, -1)


def _used(pair: Pair) -> float:
    """Compute the share of what the bar allows; up to 1 keeps it."""
    assert pair.bar
    if pair.compared in (COST, ADDED):
        return max(pair.figure / pair.bar, 0.0)
    return pair.bar / pair.figure
