# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The node under test and a robot, each with an executor and a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from asked_node import start
import pytest
import rclpy
from rclpy.executors import MultiThreadedExecutor
from rclpy.parameter import Parameter
from robot import Spinner
from vlm_npu_ros.node.vlm_node import VlmNode


@pytest.fixture
def make_node(context: rclpy.Context) -> Iterator[Callable[..., VlmNode]]:
    """Give a function that starts the node with these parameters; not configured yet."""
    spinners: list[Spinner] = []

    def make(namespace: str = '', **parameters: Any) -> VlmNode:
        values = {'backend': 'scripted', **parameters}
        overrides = [Parameter(name.replace('__', '.'), value=v) for name, v in values.items()]
        node = VlmNode(context=context, namespace=namespace, parameter_overrides=overrides)
        spinners.append(Spinner(node, MultiThreadedExecutor(4, context=context)))
        return node

    yield make
    for spinner in spinners:
        spinner.node.release()
        spinner.close()


@pytest.fixture
def active_node(make_node: Callable[..., VlmNode]) -> Callable[..., VlmNode]:
    """Give a function that starts the node and makes it active; no frame is soon too old."""

    def make(**parameters: Any) -> VlmNode:
        node = make_node(**{'max_age': 60.0, **parameters})
        start(node)
        return node

    return make
