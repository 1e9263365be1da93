# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A node that a thread of its own spins."""

from __future__ import annotations

import threading
from typing import TypeVar

from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

_SPIN = 0.1  # seconds between checks whether to end
_Self = TypeVar('_Self', bound='BackgroundNode')


class BackgroundNode:
    """
    Base class and context manager: a node, spun until it is closed or its context shuts down.

    The context must be initialised. What callbacks use must be set before `__init__` is called.
    """

    def __init__(self, name: str, context: Context | None) -> None:
        self._node = Node(name, context=context, start_parameter_services=False)
        self._ending = False
        self._executor = SingleThreadedExecutor(context=self._node.context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)
        self._thread.start()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the thread and destroy the node; waits for the callback that is running."""
        self._ending = True
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()

    def _spin(self) -> None:
        try:
            while self._node.context.ok() and not self._ending:
                self._executor.spin_once(timeout_sec=_SPIN)
        except ExternalShutdownException:
            pass
