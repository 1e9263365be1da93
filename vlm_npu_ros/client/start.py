# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Starts ROS, and says in a sentence why that fails: for all programs of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import signal
import sys
import threading

import rclpy
from rclpy.context import Context
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from vlm_npu_ros.engine.errors import VlmError

_NO_LOG_FILES = '--disable-external-lib-logs'  # an argument of ROS
_SPIN = 0.2  # seconds between checks whether to end


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


def run_node(make: Callable[[], Node], name: str) -> int:
    """
    Spin a node until SIGINT or SIGTERM; return the exit code of its program.

    name: by which errors are logged.
    """
    stop = threading.Event()
    try:
        start_ros()
        with explained():
            node = make()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stop.is_set():
            executor.spin_once(timeout_sec=_SPIN)
        node.destroy_node()
    except (ParameterException, ValueError, VlmError) as error:
        get_logger(name).fatal(str(error))
        return 1
    finally:
        rclpy.try_shutdown()
    return 0


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
