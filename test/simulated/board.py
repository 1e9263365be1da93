# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A simulated board: a tree of the files that tell what it is."""

from __future__ import annotations

from collections.abc import Iterable
import os
from pathlib import Path
import struct
import sys

import pytest
from vlm_npu_ros.engine.backends.rknpu.abi import TELLING_FUNCTIONS

HERE = Path(__file__).resolve().parent
ELF_AARCH64 = (b'\x7fELF\2\1\1'.ljust(16, b'\0') + struct.pack('<HH', 3, 183)).ljust(64, b'\0')
RKNN_VERSION = b'librknnrt version: 2.3.2 (429f97ae6b@2025-04-09T09:09:27)'


def rknn_tree(folder: Path, soc: str = 'rk3588') -> Path:
    """Write what the simulated RKNNLite wants to see on a board; return the folder."""
    write(folder / 'proc/device-tree/compatible', f'radxa,rock-5b\0rockchip,{soc}\0'.encode())
    write(folder / 'usr/lib/librknnrt.so', b'\x7fELF\0' + RKNN_VERSION + b'\0')
    return folder


def board_tree(
    folder: Path,
    soc: str = 'rk3588',
    driver: str = '0.9.8',
    runtime: str = '1.2.3',
    functions: Iterable[str] = TELLING_FUNCTIONS,
    free_gb: float = 6.0,
) -> Path:
    """
    Write what `vlm-npu doctor` looks at on a board that is ready; return the folder.

    runtime: version in the marker of librkllmrt.so, which holds nothing that could be run.
    """
    rknn_tree(folder, soc)
    write(folder / 'proc/device-tree/model', b'Radxa ROCK 5B\0')
    memory = f'MemTotal: 8000000 kB\nMemAvailable: {int(free_gb * 1e6)} kB\n'
    write(folder / 'proc/meminfo', memory.encode())
    write(folder / 'proc/sys/kernel/osrelease', b'6.1.84-vendor\n')
    write(folder / 'sys/kernel/debug/rknpu/version', f'RKNPU driver: v{driver}\n'.encode())
    for policy in ('policy0', 'policy4'):
        governor = folder / 'sys/devices/system/cpu/cpufreq' / policy / 'scaling_governor'
        write(governor, b'performance\n')
    npu = folder / 'sys/class/devfreq/fdab0000.npu'
    write(npu / 'governor', b'performance\n')
    write(npu / 'cur_freq', b'1000000000\n')
    write(npu / 'available_frequencies', b'300000000 600000000 1000000000\n')
    write(folder / 'sys/class/devfreq/dmc/governor', b'performance\n')
    write(folder / 'dev/dri/renderD129', b'')
    (folder / 'usr/lib/python3/dist-packages/rknnlite').mkdir(parents=True, exist_ok=True)
    names = b'\0'.join(name.encode() for name in functions)
    marker = f'RKLLM SDK (version: {runtime} | target: RK3588 | build: simulated)'.encode()
    write(folder / 'usr/lib/librkllmrt.so', ELF_AARCH64 + b'\0' + names + b'\0' + marker + b'\0')
    return folder


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def use(monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    """Let the test, and what it starts, run on the board `tree` with the simulated RKNNLite."""
    monkeypatch.setenv('VLM_NPU_SYSROOT', str(tree))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tree / 'cache'))
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv('PYTHONPATH', str(HERE), prepend=os.pathsep)
    for name in ('rknnlite', 'rknnlite.api'):
        # Remembers whether it was there, so that it is not there after the test.
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
