# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Places in tags or brackets: [[x, y, x, y]], (x,y),(x,y), <box>x y x y</box>."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_NUMBER = r'-?(?:\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})%?'
# In brackets or tags; or bare, where no bracket tells a number apart from one of a sentence.
_BRACKETED = rf'[(\[<{{]\s*{_NUMBER}(?:[\s,;()\[\]<>{{}}]+{_NUMBER})+\s*(?P<end>[)\]>}}]?)'
_BARE = rf'(?<![\w.]){_NUMBER}(?:[\s,;]+{_NUMBER}){{3,}}(?!\w|\.\d)'
_RUN = re.compile(f'{_BRACKETED}|{_BARE}')
_GOES_ON = re.compile(r'[,(\[]|<(?!/)')
_LABEL = re.compile(r'<\|?(?:ref|object_ref_start)\|?>([^<]*)<')


class Raw(NamedTuple):
    """The numbers of a box (4) or a point (2) as they were written; score 0 = not told."""

    label: str
    numbers: tuple[float, ...]
    score: float = 0.0


def number_of(value: Any) -> float | None:
    """Read a number, or a text that holds one or a percentage: '25%' is 0.25; None = neither."""
    if isinstance(value, str) and re.fullmatch(_NUMBER, value.strip()):
        text = value.strip()
        return float(text[:-1]) / 100 if text.endswith('%') else float(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 1e9 else None


def in_tags(answer: str, cut: bool = False) -> list[Raw]:
    """
    Find the places in an answer: each 4 numbers that only brackets, commas or spaces part.

    cut: the answer was ended before its end, and with it may be its last number.
    """
    found = []
    for run in _RUN.finditer(answer):
        numbers = [number_of(n) for n in re.findall(_NUMBER, run[0])]
        rest = answer[run.end():].lstrip()
        if run['end'] == '' or run['end'] is None and cut and not rest:
            numbers = numbers[:(len(numbers) - 1) // 4 * 4]  # the last one may go on
        may_go_on = _GOES_ON.match(rest) or cut and not rest  # a point: to a box
        if len(numbers) < 4 and (len(numbers) != 2 or may_go_on):
            continue
        labels = _LABEL.findall(answer[:run.start()])
        values = [n for n in numbers if n is not None]
        size = min(len(values), 4)
        found += [Raw(labels[-1].strip() if labels else '', tuple(values[i:i + size]))
                  for i in range(0, len(values) - size + 1, size)]
    return found
