# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The heartbeat that Nav2's lifecycle manager listens to."""

from __future__ import annotations

import threading
import time
from typing import Any
import uuid

from rclpy.node import Node
from rclpy.qos import QoSProfile

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import PublisherEventCallbacks

_PERIOD = 0.1  # seconds between heartbeats
_TIMEOUT = 4.0  # seconds of silence after which the node counts as dead
# Destroying a publisher drops unsent messages, so the last heartbeat gets some time. The time is
# fixed, because Fast DDS may acknowledge it seconds later.
_FAREWELLS, _FAREWELL_PERIOD = 3, 0.05  # seconds
_DEPTH = QoSProfile(depth=100)  # a busy reader does not lose heartbeats


class Bond:
    """
    Sends heartbeats until it is closed, from its own thread because executor threads may be busy.

    The manager forms the bond when it receives our heartbeat, so there is nothing to listen to.
    Two instances with the same name are an error: close one before the next is started.
    """

    def __init__(self, node: Node, message_type: type[Any]) -> None:
        self._node = node
        self._type = message_type
        self._instance_id = str(uuid.uuid4())
        self._closing = threading.Event()
        # No event callbacks: an executor fails (rclpy 7.1) if it waits for those of a publisher
        # that is being destroyed.
        self._publisher = node.create_publisher(
            message_type,
            'bond',
            _DEPTH,
            event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
        )
        self._thread = threading.Thread(target=self._run, name='bond', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell the manager that the bond ends, and stop."""
        self._closing.set()
        self._thread.join()
        self._node.destroy_publisher(self._publisher)

    def _run(self) -> None:
        try:
            self._publish(active=True)
            while not self._closing.wait(_PERIOD):
                self._publish(active=True)
            for _ in range(_FAREWELLS):
                self._publish(active=False)
                time.sleep(_FAREWELL_PERIOD)
        except RuntimeError:
            if self._node.context.ok():  # otherwise ROS was shut down
                raise

    def _publish(self, active: bool) -> None:
        message = self._type(
            id=self._node.get_name(),
            instance_id=self._instance_id,
            active=active,
            heartbeat_timeout=_TIMEOUT,
            heartbeat_period=_PERIOD,
        )
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def start_bond(node: Node) -> Bond | None:
    """Start the heartbeat; return None if the package bond is not installed."""
    try:
        from bond.msg import Status
    except ImportError:
        node.get_logger().info(
            'No heartbeat for a lifecycle manager: the package bond is not installed', once=True
        )
        return None
    return Bond(node, Status)
