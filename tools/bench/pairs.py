# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Pairs of figures: ours and a reference, measured in turns in the same run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, TypeVar

import numpy as np

T = TypeVar('T')

COST, SHARE, GAIN, ADDED = 'cost', 'share', 'gain', 'added'
_AT_MOST = {COST, ADDED}


@dataclass(frozen=True)
class Pair:
    """
    A figure of ours and that of a reference, as often as they were measured, in `unit`.

    compared: COST and SHARE are ours / reference, to be at most and at least the bar; GAIN is
        reference / ours, at least; ADDED is ours - reference, at most.
    bar: None = no bar.
    """

    name: str
    against: str
    unit: str
    ours: tuple[float, ...]
    reference: tuple[float, ...]
    compared: str = COST
    bar: float | None = None

    @property
    def figures(self) -> list[float]:
        """Compare each round."""
        return [self._compare(*both) for both in zip(self.ours, self.reference, strict=True)]

    @property
    def figure(self) -> float:
        """Compute the median of the rounds."""
        return median(self.figures)

    @property
    def passed(self) -> bool:
        """Tell whether the figure keeps its bar."""
        if self.bar is None:
            return True
        return self.figure <= self.bar if self.compared in _AT_MOST else self.figure >= self.bar

    def _compare(self, ours: float, reference: float) -> float:
        if self.compared == ADDED:
            return ours - reference
        return reference / ours if self.compared == GAIN else ours / reference

    def row(self) -> dict[str, str]:
        """Format it as a row of the table; the spread is that of the middle half."""
        low, high = np.percentile(self.figures, (25, 75))
        sign = '<=' if self.compared in _AT_MOST else '>='
        verdict = 'ok' if self.passed else 'MISSED'
        return {
            'figure': self.name,
            'against': self.against,
            'n': str(len(self.ours)),
            'ours': f'{_short(median(self.ours))} {self.unit}'.strip(),
            'reference': f'{_short(median(self.reference))} {self.unit}'.strip(),
            'compared': self._shown(self.figure),
            'spread': f'{_short(low)} .. {_short(high)}',
            'bar': '' if self.bar is None else f'{sign} {self._shown(self.bar)}',
            'verdict': '' if self.bar is None else verdict,
        }

    def values(self) -> dict[str, Any]:
        """List everything, for programs."""
        return {**asdict(self), 'figure': self.figure, 'passed': self.passed}

    def _shown(self, figure: float) -> str:
        if self.compared == ADDED:
            return f'{_signed(figure)} {self.unit}'.strip()
        return f'{_short(figure)} x'


def _short(value: float) -> str:
    """Format a number with three digits, without an exponent."""
    return f'{value:.0f}' if abs(value) >= 100 else f'{value:#.3g}'.rstrip('.')


def _signed(value: float) -> str:
    return f'{value:+.0f}' if abs(value) >= 100 or not value else f'{value:+#.3g}'.rstrip('.')


def alternate(repeats: int, *measures: Callable[[], T]) -> list[tuple[T, ...]]:
    """
    Return what each measure returned, round by round.

    Every other round goes backwards, so that a machine that gets slower is nobody's fault.
    """
    rounds = []
    for number in range(repeats):
        order: Sequence[int] = range(len(measures))
        taken = {i: measures[i]() for i in (reversed(order) if number % 2 else order)}
        rounds.append([taken[i] for i in order])
    return list(zip(*rounds, strict=True))


@dataclass(frozen=True)
class Effort:
    """How long to measure: in short, each benchmark only shows that it works."""

    short: bool = False

    def repeats(self, count: int) -> int:
        """Tell how many rounds to measure."""
        return 1 if self.short else count

    def seconds(self, whole: float) -> float:
        """Tell how long a window is."""
        return 0.5 if self.short else whole
