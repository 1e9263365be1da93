# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Listens to /diagnostics, and waits for what the node tells there."""

from __future__ import annotations

from collections.abc import Callable
import threading

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from robot import PATIENCE, Robot


class Doctor:
    """Listens to /diagnostics."""

    def __init__(self, robot: Robot) -> None:
        self._changed = threading.Condition()
        self._newest: dict[str, DiagnosticStatus] = {}
        robot.node.create_subscription(DiagnosticArray, '/diagnostics', self._take, 10)

    def _take(self, message: DiagnosticArray) -> None:
        with self._changed:
            self._newest |= {status.name: status for status in message.status}
            self._changed.notify_all()

    def status_for(
        self, part: str, condition: Callable[[DiagnosticStatus], bool]
    ) -> DiagnosticStatus:
        name = part if part.startswith('/') else f'/vlm: {part}'
        with self._changed:
            assert self._changed.wait_for(
                lambda: name in self._newest and condition(self._newest[name]), PATIENCE
            ), self._newest.get(name)
            return self._newest[name]

    def wait_for(self, part: str, condition: Callable[[DiagnosticStatus], bool]) -> dict[str, str]:
        return {pair.key: pair.value for pair in self.status_for(part, condition).values}
