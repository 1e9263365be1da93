"""A simulated board: a tree of the files that tell what it is."""

from __future__ import annotations

from pathlib import Path
import sys

import pytest

HERE = Path(__file__).resolve().parent
RKNN_VERSION = b'librknnrt version: 2.3.2 (429f97ae6b@2025-04-09T09:09:27)'


def rknn_tree(folder: Path, soc: str = 'rk3588') -> Path:
    """Write what the simulated RKNNLite wants to see on a board; return the folder."""
    write(folder / 'proc/device-tree/compatible', f'radxa,rock-5b\0rockchip,{soc}\0'.encode())
    write(folder / 'usr/lib/librknnrt.so', b'\x7fELF\0' + RKNN_VERSION + b'\0')
    return folder


def write(path: Path, data: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def use(monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    """Let the test run on the board `tree`, with the simulated RKNNLite."""
    monkeypatch.setenv('VLM_NPU_SYSROOT', str(tree))
    monkeypatch.syspath_prepend(str(HERE))
    for name in ('rknnlite', 'rknnlite.api'):
        # Remembers whether it was there, so that it is not there after the test.
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
