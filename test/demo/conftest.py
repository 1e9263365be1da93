# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Nodes that spin in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robot import Spinner


@pytest.fixture
def spin(context: rclpy.Context) -> Iterator[Callable[[Node], None]]:
    """Give a function that spins a node until the test ends."""
    spinners: list[Spinner] = []

    def spin(node: Node) -> None:
        spinners.append(Spinner(node, SingleThreadedExecutor(context=context)))

    yield spin
    for spinner in spinners:
        spinner.close()
