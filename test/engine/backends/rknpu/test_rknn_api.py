# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ctypes
import json
from pathlib import Path
import platform
import struct

import pytest
from simulated import board, runtime
from vlm_npu_ros.engine.backends.rknpu import rknn_api
from vlm_npu_ros.engine.errors import BackendUnavailableError, UnsupportedRuntimeError

# What rknn_api.h of each release declares, as a compiler for 64 bits lays it out.
RELEASES = json.loads((Path(__file__).parents[3] / 'data/rknn_api.json').read_text())


@pytest.mark.parametrize('release', RELEASES)
def test_structs_lie_where_every_release_has_them(release: str) -> None:
    known = RELEASES[release]['structs']
    assert set(known) == set(rknn_api.STRUCTS)
    for name, kind in rknn_api.STRUCTS.items():
        offsets = {field: getattr(kind, field).offset for field, _ in kind._fields_}
        assert (ctypes.sizeof(kind), offsets) == (known[name]['size'], known[name]['fields'])


@pytest.mark.parametrize('release', RELEASES)
def test_numbers_are_those_of_every_release(release: str) -> None:
    codes = {name: code for code, (name, _, _) in rknn_api.CODES.items()}
    assert codes == RELEASES[release]['errors']
    for name, value in RELEASES[release]['constants'].items():
        assert getattr(rknn_api, name) == value


def test_library_that_is_something_else_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / 'librknnrt.so'
    header = bytearray(board.ELF_AARCH64)
    machine = {'x86_64': 62, 'aarch64': 183}[platform.machine()]
    struct.pack_into('<H', header, 18, machine)
    path.write_bytes(header)
    with pytest.raises(BackendUnavailableError, match='cannot be loaded.*official one'):
        rknn_api.RknnLibrary(path)
    with pytest.raises(UnsupportedRuntimeError, match='has no rknn_init'):
        rknn_api.RknnLibrary(runtime.build('1.2.3', tmp_path))
