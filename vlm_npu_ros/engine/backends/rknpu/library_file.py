# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Files of shared libraries, looked at before they are loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import mmap
import os
from pathlib import Path
import struct

from vlm_npu_ros.engine.errors import BackendUnavailableError, UnsupportedRuntimeError

_ELF_MACHINES = {'x86_64': 62, 'aarch64': 183}


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """Map a library into memory; raise BackendError if it cannot be read."""
    try:
        with open(path, 'rb') as file:
            if os.fstat(file.fileno()).st_size < 64:
                raise UnsupportedRuntimeError(
                    f'{path} is too short for a library', 'Copy it again'
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except OSError as error:
        raise BackendUnavailableError(f'{path} cannot be read: {error.strerror}') from error


def check_machine(path: Path, data: mmap.mmap, machine: str) -> None:
    """Raise UnsupportedRuntimeError for a file that is cut short or not made for `machine`."""
    if data[:5] != b'\x7fELF\x02':
        raise UnsupportedRuntimeError(
            f'{path} is not a 64-bit library (ELF)', 'Copy the file again, as a binary'
        )
    (found,) = struct.unpack_from('<H', data, 18)
    if found != _ELF_MACHINES.get(machine):
        names = {number: name for name, number in _ELF_MACHINES.items()}
        raise UnsupportedRuntimeError(
            f'{path} is made for {names.get(found, f"machine {found}")}, this machine is '
            f'{machine}',
            f'Take the file of the folder for {machine}',
        )
    # Linkers put the table of sections last. Loading a library cut short kills the process.
    (table,) = struct.unpack_from('<Q', data, 40)
    entry, count = struct.unpack_from('<2H', data, 58)
    if table + entry * count > len(data):
        raise UnsupportedRuntimeError(
            f'{path} is cut short: it has {len(data)} bytes, its header announces '
            f'{table + entry * count}',
            'Copy it again',
        )
