"""What an operator can set: dataclass fields that carry a help text, a range and a unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Option:
    """
    What is known of a setting.

    default: a bool, int, float, str, or a tuple of str.
    about: a sentence that says what it is for.
    low, high: the range of a number, both ends included; None = any number.
    least: the smallest number allowed besides 0; what it is divided by stays finite.
    choices: the texts allowed; () = any text.
    unit: of a number, as in a table: s, tokens/s.
    flag: the option of `vlm-npu` that sets it, such as --library; '' = none.
    """

    default: Any
    about: str
    low: float | None = None
    high: float | None = None
    least: float = 0.0
    choices: tuple[str, ...] = ()
    unit: str = ''
    flag: str = ''


def option(
    default: Any, about: str, low: float | None = None, high: float | None = None, **more: Any
) -> Any:
    """
    Declare a field of a settings dataclass; the arguments are those of Option.

        @dataclass(frozen=True)
        class Settings:
            retries: int = option(2, 'Further attempts where an answer has not begun.', 0, 100)
    """
    known = Option(default, about, low, high, **more)
    return field(default=default, metadata={Option: known})


def options_of(settings: type) -> Mapping[str, Option]:
    """Return the options of a settings dataclass by name; other fields are not set by people."""
    return {f.name: f.metadata[Option] for f in fields(settings) if Option in f.metadata}
