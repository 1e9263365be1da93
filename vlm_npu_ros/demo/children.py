# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Programs of this package in processes of their own, which end with their parent."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

_GRACE = 10.0  # seconds from SIGINT to SIGKILL
_TAIL = 12  # lines of a log that are shown
_DOMAINS = range(1, 102)


class ChildDiedError(Exception):
    """A process ended that should have kept running."""


class Children:
    """
    A context manager; on leaving, all processes are interrupted, and killed if they linger.

    Each leads a process group: Ctrl-C in the terminal reaches only the parent, and whatever a
    child starts ends with it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, Any] = {}

    def start(
        self, name: str, module: str, parameters: Mapping[str, Any], *options: str
    ) -> int:
        """
        Run a module with options and ROS parameters; `log_tail` has what it writes.

        Returns the process id.
        """
        arguments = [
            part
            for key, value in parameters.items()
            for part in ('-p', f'{key}:={json.dumps(value)}')
        ]
        self._logs[name] = tempfile.TemporaryFile()
        self._processes[name] = subprocess.Popen(
            [sys.executable, '-m', module, *options, '--ros-args', *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._logs[name],
            stderr=subprocess.STDOUT,
            env=dict(self._environment),
            start_new_session=True,
        )
        return self._processes[name].pid

    def check(self) -> None:
        """Raise ChildDiedError, with its last lines, if a process has ended."""
        for name, process in self._processes.items():
            status = process.poll()
            if status is not None:
                how = f'ended with {status}' if status >= 0 else _signalled(-status)
                raise ChildDiedError(f'{name} {how}. {self.log_tail(name)}')

    def log_tail(self, name: str) -> str:
        """Quote the last lines that a process has written, with a heading."""
        descriptor = self._logs[name].fileno()
        start = max(0, os.fstat(descriptor).st_size - 65536)
        # Not seek and read: the process writes at the same file position.
        text = os.pread(descriptor, 65536, start).decode('utf-8', 'replace')
        lines = text.rstrip().splitlines()[-_TAIL:]
        if not lines:
            return 'It has written nothing.'
        return '\n'.join(['Its last lines:', *(f'  {line}' for line in lines)])

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + _GRACE
        for process in self._processes.values():
            _signal_group(process, signal.SIGINT)
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _signal_group(process, signal.SIGKILL)
            process.wait()
        for log in self._logs.values():
            log.close()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _signalled(number: int) -> str:
    return f'was killed by {signal.Signals(number).name}'


def keep_to_this_machine() -> None:
    """Let ROS, here and in children, use a free domain of this machine, unless one is set."""
    os.environ.setdefault('ROS_DOMAIN_ID', str(free_domain()))
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')


def free_domain() -> int:
    """Find a ROS domain whose discovery port is not in use on this machine."""
    candidates = random.sample(_DOMAINS, len(_DOMAINS))
    for domain in candidates:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', 7400 + 250 * domain))
            except OSError:
                continue
            return domain
    return candidates[0]
