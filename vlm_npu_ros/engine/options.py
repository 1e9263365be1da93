# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Settings for operators: dataclass fields with a help text, a range and a unit."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
import math
import reprlib
from typing import Any

_KINDS = {
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number with a point',
    str: 'text',
    tuple: 'a list of texts',
}
_WORDS = {
    'true': True, 'yes': True, 'on': True, '1': True,
    'false': False, 'no': False, 'off': False, '0': False,
}
_LONGEST = 4  # items of a list in a sentence


@dataclass(frozen=True)
class Option:
    """
    Description of a setting.

    default: a bool, int, float, str, or a tuple of str.
    about: a sentence that explains it.
    low, high: range of a number, inclusive; None = any number.
    least: smallest number allowed besides 0, so that division by it stays finite.
    choices: allowed texts, numbers, or items of a list; () = any.
    pair: two numbers, the lower one first, are allowed as well: [0.0, 255.0].
    unit: of a number, such as s or tokens/s.
    flag: option of `vlm-npu` that sets it, such as --library; '' = none.
    """

    default: Any
    about: str
    low: float | None = None
    high: float | None = None
    least: float = 0.0
    choices: tuple[Any, ...] = ()
    pair: bool = False
    unit: str = ''
    flag: str = ''

    @property
    def allowed(self) -> str:
        """Show the choices: 'raw or compressed'."""
        *others, last = [*map(str, self.choices), *['[low, high]'] * self.pair]
        return f'{", ".join(others)} or {last}' if others else last

    @property
    def kind(self) -> type:
        """Type of its values; tuple for lists."""
        return tuple if isinstance(self.default, (list, tuple)) else type(self.default)

    def objection(self, value: Any) -> str:
        """
        Say why it cannot have a value, and what to write instead; '' if it can.

            option(1.5, 'Seconds.').objection(5)  # must be a number with a point, not 5: write 5.0

        Every list may be empty, whatever type an empty list was given.
        """
        if self.pair and _is_list(value):
            return '' if _is_pair(value) else f'must be {self.allowed}, not {_yaml(value)}'
        if self.choices and self.kind is str and not isinstance(value, str):
            meant = ('off', 'on')[value] if isinstance(value, bool) else ''  # as YAML reads them
            remedy = f': put it in quotes, {meant!r}' if meant in self.choices else ''
            return f'must be {self.allowed}, not {_yaml(value)}{remedy}'
        if not self._is_kind(value):
            remedy = _remedy(value, self.kind)
            said = f'must be {_KINDS[self.kind]}, not {_yaml(value)}'
            return f'{said}: {remedy}' if remedy else said
        if self.choices:
            for each in filter(None, value) if self.kind is tuple else [value]:
                if each not in self.choices:
                    return f'must be {self.allowed}, not {_yaml(each)}'
        return self._objection_to_number(value) if self.kind in (int, float) else ''

    def _is_kind(self, value: Any) -> bool:
        if self.kind is tuple:
            return _is_list(value) and all(type(item) is str for item in value)
        return type(value) is self.kind

    def _objection_to_number(self, value: float) -> str:
        unit = self.unit and f' {self.unit}'
        if not math.isfinite(value):
            return f'must be a finite number, not {_yaml(value)}'
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            return f'must be from {self.low:g} to {self.high:g}{unit}, not {value}'
        if self.least and 0 < value < self.least:
            return f'must be 0 or at least {self.least:g}{unit}, not {value}'
        return ''


def option(
    default: Any, about: str, low: float | None = None, high: float | None = None, **more: Any
) -> Any:
    """
    Declare a field of a settings dataclass; the arguments are those of Option.

        @dataclass(frozen=True)
        class Settings:
            retries: int = option(2, 'Further attempts if no answer has begun.', 0, 100)
    """
    known = Option(default, about, low, high, **more)
    return field(default=default, metadata={Option: known})


def options_of(settings: Any) -> Mapping[str, Option]:
    """Return the options of a settings dataclass by name, without its other fields."""
    return {f.name: f.metadata[Option] for f in fields(settings) if Option in f.metadata}


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, array))  # rclpy gives numbers as an array


def _is_pair(value: Sequence[Any]) -> bool:
    return (
        len(value) == 2 and all(type(item) in (int, float) for item in value)
        and value[0] < value[1]
    )


def _yaml(value: Any) -> str:
    """Show the value of a parameter as it is written in a file, shortened."""
    if value is None or isinstance(value, bool):
        return {None: 'nothing', True: 'true', False: 'false'}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return '.nan' if math.isnan(value) else '-.inf' if value < 0 else '.inf'
    if _is_list(value):
        more = ', ...' if len(value) > _LONGEST else ''
        return f'[{", ".join(map(_yaml, value[:_LONGEST]))}{more}]'
    return reprlib.repr(value)


def _remedy(value: Any, kind: type) -> str:
    """Say what to write for a value of a wrong type; '' if that is not known."""
    if value is None:
        return ''
    if kind is tuple:
        items = value.split(',') if isinstance(value, str) else value
        items = items if _is_list(items) else [items]
        return f'write {_yaml([_text(item) for item in items])}'
    if _is_list(value):
        return ''
    if kind in (int, float) and isinstance(value, bool):
        return ''
    if kind is str:
        return f'put it in quotes, such as {_yaml(_text(value))}'
    meant = _number(value, kind) if kind in (int, float) else _WORDS.get(str(value).lower())
    return '' if meant is None else f'write {_yaml(meant)}'


def _text(value: Any) -> str:
    """Return the text that a value was probably meant to be: YAML reads yes as true."""
    return ('no', 'yes')[value] if isinstance(value, bool) else str(value).strip()


def _number(value: Any, kind: type) -> float | None:
    try:
        number = float(value)
        return kind(number) if kind is float or number.is_integer() else None
    except (ValueError, OverflowError):
        return None
