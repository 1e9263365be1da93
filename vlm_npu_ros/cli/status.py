# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu status: whether a running vlm node takes questions, over ROS."""

from __future__ import annotations

import argparse
import sys

from vlm_npu_ros.cli.ask import add_node_arguments, FAULT, NO_NODE, NO_ROS, OK, USE
from vlm_npu_ros.client import VlmClientError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    status = commands.add_parser(
        'status',
        help='show the state of a running node (needs ROS)',
        description=f'Show the state of a running vlm node. Exit code {OK} if it takes '
        f'questions, {NO_NODE} if not.',
    )
    add_node_arguments(status)
    status.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the state and return the exit code."""
    try:
        from vlm_npu_ros.client import VlmClient
    except ImportError as error:
        return _fail(args, NO_ROS.format(error), FAULT)
    try:
        with VlmClient(args.node, args.namespace) as client:
            status = client.status(args.wait)
    except VlmClientError as error:
        return _fail(args, str(error), FAULT)
    except ValueError as error:
        return _fail(args, str(error), USE)
    print(f'{status.node}: {status.state or "not there"}')
    return OK if status.ready else NO_NODE


def _fail(args: argparse.Namespace, message: str, code: int) -> int:
    print(f'{args.program} status: {message}', file=sys.stderr)
    return code
