# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Places in an answer: numbers are found, scaled and checked here, whatever the format."""

from __future__ import annotations

from collections.abc import Sequence
import re
from typing import NamedTuple

from vlm_npu_ros.engine.errors import AnswerFormError
from vlm_npu_ros.engine.locating.grounding import Grounding, thing_of
from vlm_npu_ros.engine.locating.json_answers import in_json
from vlm_npu_ros.engine.locating.tagged_answers import in_tags
from vlm_npu_ros.engine.types import Corners, Spot

MOST_SPOTS = 256
_LEAST = 0.02  # beyond the picture, as a share of it: rounding, not another scale
_QUOTED = 200  # characters of an answer in an error
# Without a number, an answer with one of these says that nothing is there.
_DENIAL = re.compile(r"\b(no|none|not|nothing|nowhere|cannot|null|\w+n['’]t)\b", re.IGNORECASE)
_EMPTY = re.compile(r'\[\s*\]|\{\s*\}')


class Reading(NamedTuple):
    """What an answer says; `note`: what of it could not be used."""

    spots: tuple[Spot, ...]
    note: str = ''


def read(
    answer: str, grounding: Grounding, question: str, size: tuple[int, int], cut: bool = False
) -> Reading:
    """
    Read where an answer says that things are, in fractions of the picture.

    question: what was looked for, the label of what has none.
    size: width and height in pixels of the picture as the model got it.
    cut: the answer was ended before its end.
    Raises AnswerFormError, which quotes the answer, if it says neither a place nor that there is
    none.
    """
    found = in_json(answer, grounding.key) if grounding.format == 'json' else None
    if found is None:
        found = in_tags(answer, cut)
    spots, faults = [], []
    for raw in found[:MOST_SPOTS]:
        numbers = _in_order(raw.numbers, grounding.order)
        box = _fractions(numbers, grounding, size)
        fault = _fault(raw.numbers, box)
        if fault:
            faults.append(fault)
        else:
            clipped = [min(max(v, 0.0), 1.0) for v in box]
            spots.append(Spot(raw.label or thing_of(question), _corners(clipped), raw.score))
    if not spots and (faults or not found and not _says_nothing(answer)):
        reason = faults[0] if faults else 'it has no coordinates'
        error = AnswerFormError(
            f'The answer does not tell a place: {reason}. It is {answer.strip()[:_QUOTED]!r}',
            'Ask again in other words, or ask a model that was trained for it',
        )
        error.text = answer
        raise error
    note = f'{len(faults)} of {len(found)} places could not be read: {faults[0]}' if faults else ''
    return Reading(tuple(dict.fromkeys(spots)), note)


def _says_nothing(answer: str) -> bool:
    return bool(_EMPTY.search(answer) or _DENIAL.search(answer))


def _in_order(numbers: Sequence[float], order: str) -> list[float]:
    """Put horizontal coordinates first."""
    if order == 'xy':
        return list(numbers)
    return [numbers[i ^ 1] for i in range(len(numbers))]


def _fractions(
    numbers: Sequence[float], grounding: Grounding, size: tuple[int, int]
) -> list[float]:
    """Scale to fractions of the picture."""
    if all(abs(v) <= 1 for v in numbers) and any(v != int(v) for v in numbers):
        return list(numbers)
    scale = [grounding.scale] * 2 if grounding.scale else size
    return [v / scale[i % 2] for i, v in enumerate(numbers)]


def _fault(told: Sequence[float], box: Sequence[float]) -> str:
    """Say why these cannot be corners of a box in the picture, or a point of it; '' = they can."""
    quoted = ', '.join(f'{v:g}' for v in told)
    if min(box) < -_LEAST or max(box) > 1 + _LEAST:
        return f'[{quoted}] is outside of the picture'
    if len(box) == 4 and (box[2] <= box[0] or box[3] <= box[1]):
        return f'[{quoted}] are no upper left and lower right corners'
    return ''


def _corners(numbers: Sequence[float]) -> Corners:
    left, top, right, bottom = numbers if len(numbers) == 4 else [*numbers, *numbers]
    return left, top, right, bottom
