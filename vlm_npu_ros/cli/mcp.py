# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu mcp: a running node as tools for an agent, over standard input and output."""

from __future__ import annotations

import argparse
import asyncio

from vlm_npu_ros.cli.ask import add_node_arguments, NO_ROS
from vlm_npu_ros.client.names import full_name
from vlm_npu_ros.engine.errors import BackendUnavailableError, RequestError
from vlm_npu_ros.gateway.options import need


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parser = commands.add_parser(
        'mcp',
        help='let an agent look and ask by MCP (needs ROS)',
        description='Let an agent that speaks MCP look through the cameras of a running vlm node, '
        'and ask about them, over standard input and output. It ends with its input.',
    )
    add_node_arguments(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    need('mcp', 'prometheus_client', 'pydantic', extra='mcp')
    try:
        import rclpy
        from vlm_npu_ros.client.start import start_ros
        from vlm_npu_ros.gateway.node_source import NodeSource
    except ImportError as error:
        raise BackendUnavailableError(NO_ROS.format(error)) from error
    from vlm_npu_ros.gateway.desk import Desk
    from vlm_npu_ros.gateway.mcp_tools import make_server

    try:
        name = full_name(args.node, args.namespace)
    except ValueError as error:
        raise RequestError(str(error)) from error

    async def serve() -> None:
        source = NodeSource(name)
        await source.start()
        try:
            await make_server(Desk(source)).run_stdio_async()
        finally:
            await source.close()

    start_ros([])
    try:
        asyncio.run(serve())
    finally:
        rclpy.try_shutdown()
    return 0
