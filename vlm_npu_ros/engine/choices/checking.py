# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Choices and numbers as callers ask for them, checked before a model is."""

from __future__ import annotations

from collections.abc import Iterable
import reprlib

from vlm_npu_ros.engine.errors import RequestError
from vlm_npu_ros.engine.types import NumberRange, UNCLEAR

MAX_CHOICES = 64
MAX_CHOICE = 100  # characters


def checked_choices(given: Iterable[str]) -> tuple[str, ...]:
    """Return the choices, cleaned up; raise RequestError if there are none to choose from."""
    choices = tuple(' '.join(choice.split()) for choice in given)
    if not 2 <= len(choices) <= MAX_CHOICES:
        raise RequestError(f'CHOICE needs 2 to {MAX_CHOICES} choices, not {len(choices)}')
    known = {UNCLEAR}
    for choice in choices:
        if not any(map(str.isalnum, choice)) or len(choice) > MAX_CHOICE:
            raise RequestError(
                f'A choice must have a letter or a digit and at most {MAX_CHOICE} characters, '
                f'not {reprlib.repr(choice)}'
            )
        if choice.casefold() in known:
            raise RequestError(
                f'{reprlib.repr(choice)} is given twice, or is {UNCLEAR!r}, which is always valid'
            )
        known.add(choice.casefold())
    return choices


def checked_numbers(low: float, high: float, unit: str) -> NumberRange:
    """Return the numbers that may be the answer, both 0 = any; raise RequestError."""
    if not low <= high:
        raise RequestError(f'minimum {low} and maximum {high} are no range')
    unit = ' '.join(unit.split())
    if len(unit) > MAX_CHOICE:
        raise RequestError(f'unit has more than {MAX_CHOICE} characters')
    return NumberRange(low, high, unit) if low or high else NumberRange(unit=unit)


def checked_confidence(value: float) -> float:
    """Return what a choice must reach not to be unclear; raise RequestError."""
    if not 0 <= value <= 1:
        raise RequestError(f'min_confidence must be from 0 to 1, not {value}')
    return value
