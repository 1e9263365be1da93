"""A node and the thread that spins it."""

from __future__ import annotations

import threading

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

_SPIN = 0.1  # seconds between checks whether to end


class NodeThread:
    """Spins a node in a thread named after it, until it is closed or its context shuts down."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ending = False
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name=node.get_name(), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Run no more callbacks; waits for the one that is running."""
        self._ending = True
        self._thread.join()

    def close(self) -> None:
        """Stop, and destroy the node."""
        self.stop()
        self._executor.shutdown()
        self._node.destroy_node()

    def _spin(self) -> None:
        try:
            while self._node.context.ok() and not self._ending:
                self._executor.spin_once(timeout_sec=_SPIN)
        except ExternalShutdownException:
            pass
