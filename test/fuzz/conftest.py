# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Counts what became of all that the fuzz tests made, and what it took."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
import re

import pytest

_COUNTS = pytest.StashKey[dict[str, Counter[str]]]()
_SELF = Path('/proc/self')


@pytest.fixture(scope='session')
def outcomes(pytestconfig: pytest.Config) -> dict[str, Counter[str]]:
    """Give a counter of outcomes for each kind of input; they are printed at the end."""
    return pytestconfig.stash.setdefault(_COUNTS, defaultdict(Counter))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for kind, counts in config.stash.get(_COUNTS, {}).items():
        terminalreporter.write_line(f'{counts.total()} {kind}:')
        for outcome, count in counts.most_common():
            terminalreporter.write_line(f'    {count:7} {outcome}')


@pytest.fixture
def peak_of() -> Callable[[Callable[[], object]], float]:
    """Give a function that calls another one, and returns the MiB that it took at most."""
    try:
        (_SELF / 'clear_refs').write_text('5')
    except OSError:
        pytest.skip('the kernel does not let its record of the peak be cleared')

    def peak(call: Callable[[], object]) -> float:
        before = _mib('VmRSS')
        (_SELF / 'clear_refs').write_text('5')
        call()
        return _mib('VmHWM') - before

    return peak


def _mib(name: str) -> float:
    found = re.search(rf'{name}:\s+(\d+) kB', (_SELF / 'status').read_text())
    assert found
    return int(found[1]) / 1024
