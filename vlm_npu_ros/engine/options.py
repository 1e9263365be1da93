"""Settings for operators: dataclass fields with a help text, a range and a unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Option:
    """
    Description of a setting.

    default: a bool, int, float, str, or a tuple of str.
    about: a sentence that explains it.
    low, high: range of a number, inclusive; None = any number.
    least: smallest number allowed besides 0, so that division by it stays finite.
    choices: allowed texts; () = any text.
    unit: of a number, such as s or tokens/s.
    flag: option of `vlm-npu` that sets it, such as --library; '' = none.
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
            retries: int = option(2, 'Further attempts if no answer has begun.', 0, 100)
    """
    known = Option(default, about, low, high, **more)
    return field(default=default, metadata={Option: known})


def options_of(settings: Any) -> Mapping[str, Option]:
    """Return the options of a settings dataclass by name, without its other fields."""
    return {f.name: f.metadata[Option] for f in fields(settings) if Option in f.metadata}
