# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Keep the model busy and the queue filled: ask `count` (a parameter) questions."""

from __future__ import annotations

import sys

from asking import Client, Peer


def main() -> int:
    """Ask by action, and wait for the answers until SIGINT."""
    with Peer('others') as others:
        count = others.node.declare_parameter('count', 1).value
    with Client('others') as client:
        client.find_node()
        asks = [client.send('action', 'what do you see?', timeout=3600.0) for _ in range(count)]
        client.wait(lambda: all(ask.done for ask in asks), 3600.0)
    return 0


if __name__ == '__main__':
    sys.exit(main())
