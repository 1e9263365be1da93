# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Numbers for Prometheus."""

from __future__ import annotations

from typing import Any

from served import scripted
from vlm_npu_ros.engine.errors import BusyError
from vlm_npu_ros.gateway.engine_source import EngineSource
from vlm_npu_ros.gateway.metrics import Metrics
from vlm_npu_ros.gateway.source import answered, failed


class _Board(EngineSource):
    """Tells what the diagnostics of a board tell."""

    def state(self) -> dict[str, Any]:
        values = {'NPU load': 'Core0: 30%, Core1: 12%, Core2:  0%,', 'restarts': 3,
                  'tokens per second': 'none'}
        return {**super().state(), 'parts': [
            {'name': 'engine', 'values': values}, {'name': 'camera a', 'values': {}}]}


def test_ends_and_the_board_are_counted() -> None:
    source = scripted(['Yes.'])
    source.__class__ = _Board
    metrics = Metrics(source)
    for end in (answered(), failed(BusyError('full')), None):
        metrics.began()
        metrics.ended(end)
    lines = metrics.page().decode().splitlines()
    for line in ('vlm_npu_load_percent{part="engine"} 14.0', 'vlm_restarts{part="engine"} 3.0',
                 'vlm_questions_total{end="eos"} 1.0', 'vlm_questions_total{end="error_9506"} 1.0',
                 'vlm_questions_total{end="gone"} 1.0', 'vlm_open_questions 0.0'):
        assert line in lines, line
