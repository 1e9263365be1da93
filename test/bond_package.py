# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The package bond, which PyPI does not have: where it is missing, its messages are built."""

from __future__ import annotations

from pathlib import Path

from built_package import provide

_SOURCES = Path(__file__).parent / 'bond_interfaces'


def provide_bond() -> dict[str, str]:
    """Make bond importable; return the environment in which it is so for other processes too."""
    return provide('bond', _SOURCES)
