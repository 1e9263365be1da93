# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Starts ROS, and says in a sentence why that fails: for all programs of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import sys

import rclpy
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions
from vlm_npu_ros.engine.errors import VlmError

_NO_LOG_FILES = '--disable-external-lib-logs'  # an argument of ROS


def start_ros(args: list[str] | None = None, context: Context | None = None) -> None:
    """
    Call rclpy.init; raise VlmError, which says what is wrong, if ROS cannot start.

    It sets no signal handlers: our programs have their own, because rclpy's cut the connections
    before what is open has ended.
    """
    arguments = sys.argv if args is None else args
    # Before rclpy finds it out, and prints several lines.
    fault = '' if _NO_LOG_FILES in arguments else _log_fault()
    if fault:
        raise VlmError(
            f'ROS cannot write its log files: {fault}',
            'Set ROS_LOG_DIR to a folder that this user may write',
        )
    with explained():
        rclpy.init(args=args, context=context, signal_handler_options=SignalHandlerOptions.NO)


@contextmanager
def explained() -> Iterator[None]:
    """
    Raise VlmError, which says what is wrong, if a node cannot be made.

        start_ros()
        with explained():
            node = Node('camera')
    """
    try:
        yield
    except RuntimeError as error:  # rclpy has no public name for its RCLError
        said = str(error).partition('\n')[0].partition(', at /')[0]  # not where in rcl's source
        kind = type(error).__name__  # such as UnknownROSArgsError, which says nothing else
        raise VlmError(f'ROS does not start: {kind}: {said}') from error


def _log_fault() -> str:
    """Say why the folder of ROS's log files cannot be used; '' if it can."""
    folder = os.environ.get('ROS_LOG_DIR')
    if not folder:
        home = os.environ.get('HOME')
        base = os.environ.get('ROS_HOME') or (home and f'{home}/.ros')
        if not base:
            return 'HOME is not set'
        folder = f'{base}/log'
    folder = os.path.expanduser(folder)  # as rcl does
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f'{folder}: {error.strerror}'
    return '' if os.access(folder, os.W_OK) else f'{folder}: this user may not write there'
