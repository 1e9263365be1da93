"""What was looked at before models are loaded, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from vlm_npu_ros.engine.errors import BackendError, UnsupportedRuntimeError

Level = Literal['ok', 'warn', 'fail']


@dataclass(frozen=True)
class Check:
    """
    One thing that was looked at.

    found: what is there. remedy: what to do, '' if all is well.
    error: what the engine raises for a failure.
    """

    name: str
    level: Level
    found: str
    remedy: str = ''
    error: type[BackendError] = UnsupportedRuntimeError


def require(checks: Iterable[Check]) -> None:
    """Raise the error of the first check that failed, with the sentences of all that did."""
    failed = [check for check in checks if check.level == 'fail']
    if failed:
        lines = [f'{check.name}: {check.found}. {check.remedy}' for check in failed]
        raise failed[0].error('; '.join(lines))
