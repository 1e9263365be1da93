# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""ros2 run vlm_npu_ros gateway: a node over HTTP."""

from __future__ import annotations

import argparse
import sys

from vlm_npu_ros.client.names import full_name
from vlm_npu_ros.engine.errors import VlmError
from vlm_npu_ros.gateway.options import add_options, need_web


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal; return the exit code."""
    parser = argparse.ArgumentParser(
        prog='gateway',
        description='Serve a vlm node over HTTP: a page, chat completions, metrics.',
    )
    parser.add_argument(
        '--node', default='vlm', help='the vlm node; with a namespace: robot1/vlm (default: vlm)'
    )
    add_options(parser)
    given = sys.argv if arguments is None else [sys.argv[0], *arguments]
    try:
        need_web()
        import rclpy
        from rclpy.utilities import remove_ros_args
        from vlm_npu_ros.client.start import start_ros
        from vlm_npu_ros.gateway.node_source import NodeSource
        from vlm_npu_ros.gateway.serving import serve

        args = parser.parse_args(remove_ros_args(given)[1:])
        name = full_name(args.node)
        start_ros(given)
        try:
            return serve(args, lambda: NodeSource(name))
        finally:
            rclpy.try_shutdown()
    except (VlmError, OSError, ValueError) as error:
        print(f'gateway: {error}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())
