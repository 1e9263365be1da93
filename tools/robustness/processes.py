# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The node's process and its child: how they are, and when the child dies."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
import os
from pathlib import Path
import re
import select
import threading
import time

import psutil

_CHILD = 'vlm_npu_ros.engine.worker'
_LOOK = 0.05  # seconds between looks for a new child


def child_of(node: psutil.Process) -> int | None:
    """Find the process id of the engine, if it is running."""
    with suppress(psutil.Error):
        for child in node.children():
            with suppress(psutil.Error):
                if _CHILD in child.cmdline():
                    return child.pid
    return None


def resident(pid: int | None) -> int:
    """Measure the resident bytes of a process; 0 without one."""
    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss) if pid else 0
    return 0


class ChildWatch:
    """
    Notes when the node's children end, in a thread; one of them must be running.

    deaths: time.monotonic() of each.
    """

    def __init__(self, node: psutil.Process) -> None:
        self.deaths: list[float] = []
        self._node = node
        self._stop = threading.Event()
        child = child_of(node)
        assert child
        # Now: on a busy machine the child could be dead by the time that the thread looks.
        self._thread = threading.Thread(
            target=self._run, args=(os.pidfd_open(child),), name='child watch', daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()

    def _run(self, first: int) -> None:
        self._wait_for(first)
        while not self._stop.wait(_LOOK):
            pid = child_of(self._node)
            with suppress(ProcessLookupError):
                if pid:
                    self._wait_for(os.pidfd_open(pid))

    def _wait_for(self, process: int) -> None:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        while not self._stop.is_set():
            if poll.poll(1000 * _LOOK):
                self.deaths.append(time.monotonic())
                break
        os.close(process)


@dataclass(frozen=True)
class Sample:
    """
    How the node is; `time` is time.monotonic().

    node, child: resident bytes. files: open descriptors. segments: shared memory that it maps or
    holds, in files of /dev/shm and without a name.
    """

    time: float
    node: int
    child: int
    files: int
    segments: int
    threads: int
    zombies: int


def sample(node: psutil.Process) -> Sample:
    """Measure the node and its child as they are now."""
    files = _links(Path(f'/proc/{node.pid}/fd'))
    maps = Path(f'/proc/{node.pid}/maps').read_text()
    named = {*re.findall(r'/dev/shm/\S+', maps), *(f for f in files if f.startswith('/dev/shm/'))}
    nameless = [name for name in files if name.startswith('/memfd:')]
    return Sample(
        time=time.monotonic(),
        node=resident(node.pid),
        child=resident(child_of(node)),
        files=len(files),
        segments=len(named) + len(nameless),
        threads=node.num_threads(),
        zombies=sum(_is_zombie(child) for child in node.children(recursive=True)),
    )


def _links(folder: Path) -> list[str]:
    names = []
    for link in folder.iterdir():
        with suppress(FileNotFoundError):
            names.append(os.readlink(link))
    return names


def _is_zombie(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.status() == psutil.STATUS_ZOMBIE
    return False
