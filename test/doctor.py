# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Listens to /diagnostics, and waits for what the node tells there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
import threading

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from robot import PATIENCE, Robot


class Doctor:
    """Listens to /diagnostics."""

    def __init__(self, robot: Robot) -> None:
        self._changed = threading.Condition()
        self._told: dict[str, list[DiagnosticStatus]] = defaultdict(list)
        robot.node.create_subscription(DiagnosticArray, '/diagnostics', self._take, 10)

    def _take(self, message: DiagnosticArray) -> None:
        with self._changed:
            for status in message.status:
                self._told[status.name].append(status)
            self._changed.notify_all()

    def status_for(
        self, part: str, condition: Callable[[DiagnosticStatus], bool]
    ) -> DiagnosticStatus:
        """Return the first one, from the newest one on, for which the condition holds."""
        with self._changed:
            told = self._told[part if part.startswith('/') else f'/vlm: {part}']
            begin = max(len(told) - 1, 0)
            found = self._changed.wait_for(
                lambda: next((status for status in told[begin:] if condition(status)), None),
                PATIENCE,
            )
        assert found, told[-1:]
        return found

    def wait_for(self, part: str, condition: Callable[[DiagnosticStatus], bool]) -> dict[str, str]:
        return {pair.key: pair.value for pair in self.status_for(part, condition).values}
