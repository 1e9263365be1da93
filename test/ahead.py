# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Reading ahead for tests that need no camera, or none of it."""

from __future__ import annotations

from collections.abc import Callable

from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.node.frames import CachedFrame
from vlm_npu_ros.node.read_ahead import ReadAhead, ReadAheadSettings

EAGER = ReadAheadSettings(is_asked=False, rate=1e9, keep=1e6, idle=2e6)


def reading(
    engine: Engine,
    newest: Callable[[str], CachedFrame | None] = lambda camera: None,
    is_idle: Callable[[], bool] = lambda: True,
    settings: ReadAheadSettings = EAGER,
    shortage: Callable[[], str] = lambda: '',
) -> ReadAhead:
    """Make one that reads the frames of `newest`: by default, none."""
    return ReadAhead(engine, 'camera', newest, lambda: settings, is_idle, shortage, print)
