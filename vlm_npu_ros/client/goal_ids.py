# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Goal ids that tell who asks.

rclpy does not tell an action server which client has sent a goal. A VlmClient does, so that the
node can end its questions when it has gone, whoever else is there: the last part of its node's
name, 8 hexadecimal digits, is the beginning of its goal ids.
"""

from __future__ import annotations

import uuid

PREFIX = 'vlm_client_'  # of the node names
_BYTES = 4


def new_node_name() -> str:
    """Make a name for the node of a client."""
    return PREFIX + uuid.uuid4().hex[: 2 * _BYTES]


def new_goal_id(node_name: str) -> bytes:
    """Make a goal id, 16 bytes, for the client with this node name."""
    return bytes.fromhex(node_name[len(PREFIX):]) + uuid.uuid4().bytes[_BYTES:]


def node_name_of(goal_id: bytes) -> str:
    """Return the node name that the client has if its goal ids are made by `new_goal_id`."""
    return PREFIX + goal_id[:_BYTES].hex()
