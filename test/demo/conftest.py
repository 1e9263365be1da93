"""A ROS context for each test, and nodes that spin in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import threading

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future


class Spinner:
    """Spins one node in a thread and keeps what went wrong there."""

    def __init__(self, node: Node) -> None:
        self.errors: list[Exception] = []
        self._node = node
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._stop = Future()
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin_until_future_complete(self._stop)
        except Exception as error:
            self.errors.append(error)

    def close(self) -> None:
        """Stop and destroy the node."""
        self._stop.set_result(None)
        self._executor.wake()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()


@pytest.fixture
def context() -> Iterator[rclpy.Context]:
    """Give a ROS context of its own."""
    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    context.try_shutdown()


@pytest.fixture
def spin(context: rclpy.Context) -> Iterator[Callable[[Node], None]]:
    """Give a function that spins a node until the test ends."""
    spinners: list[Spinner] = []
    yield lambda node: spinners.append(Spinner(node))
    for spinner in spinners:
        spinner.close()
    assert not [error for spinner in spinners for error in spinner.errors]
