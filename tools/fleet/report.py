# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What the robots' questions came to, as tables and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from robots import Outcome, TEXT, YES_NO

_PERCENTS = (50, 90, 99)


def summary(outcomes: Sequence[Outcome], seconds: float, late: int) -> dict[str, Any]:
    """Compute the figures; times in seconds, None if nothing was answered."""
    answered = [outcome for outcome in outcomes if not outcome.error]
    rows = {
        kind: _figures([o for o in outcomes if kind in ('all', o.kind)])
        for kind in (YES_NO, TEXT, 'all')
    }
    return {
        'seconds': seconds,
        'questions': rows,
        'errors': dict(Counter(o.error for o in outcomes if o.error).most_common()),
        'late looks': late,
        'answers per second': len(answered) / seconds,
        'tokens per second': sum(o.tokens for o in answered) / seconds,
    }


def _figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    answered = [outcome for outcome in outcomes if not outcome.error]
    firsts = [outcome.first for outcome in answered if outcome.first is not None]
    speeds = [
        (o.tokens - 1) / (o.total - o.first) for o in answered
        if o.first is not None and o.tokens > 1 and o.total > o.first
    ]
    return {
        'asked': len(outcomes),
        'errors': len(outcomes) - len(answered),
        'first token': _percentiles(firsts),
        'whole answer': _percentiles([outcome.total for outcome in answered]),
        'tokens per second': float(np.median(speeds)) if speeds else None,
    }


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    found = np.percentile(values, _PERCENTS)
    return {f'p{p}': float(value) for p, value in zip(_PERCENTS, found, strict=True)}


def show(figures: dict[str, Any], console: Console) -> None:
    """Print the tables."""
    table = Table(title=f'{figures["seconds"]:.0f} s')
    table.add_column('questions')
    for name in ('asked', 'errors', 'first token, ms', 'whole answer, ms', 'tokens/s'):
        table.add_column(name, justify='right')
    table.add_row('', '', '', 'p50 / p90 / p99', 'p50 / p90 / p99', 'median', style='dim')
    for kind, row in figures['questions'].items():
        speed = row['tokens per second']
        table.add_row(
            kind, str(row['asked']), str(row['errors']), _line(row['first token']),
            _line(row['whole answer']), f'{speed:.1f}' if speed else '-',
        )
    console.print(table)
    console.print(
        f'{figures["answers per second"]:.1f} answers/s, {figures["tokens per second"]:.0f} '
        f'tokens/s in all, {figures["late looks"]} looks late'
    )
    for error, count in figures['errors'].items():
        console.print(f'{count} x {error}', style='red', markup=False)


def _line(percentiles: dict[str, float] | None) -> str:
    if percentiles is None:
        return '-'
    return ' / '.join(f'{1000 * value:.0f}' for value in percentiles.values())
