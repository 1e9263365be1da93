# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ctypes
from itertools import product
import json
from pathlib import Path
from typing import Any

import pytest
from vlm_npu_ros.engine.backends.rknpu.abi import ABIS
from vlm_npu_ros.engine.backends.rknpu.runtime import RUNTIMES

# Sizes and offsets of every struct of every release's rkllm.h, as its compilers for x86_64 and
# aarch64 lay them out (from their debug information; both the same).
MEASURED = json.loads(Path(__file__).with_name('rkllm_abi.json').read_text())


def offset_of(struct: Any, path: str) -> int:
    """Return the offset of a field, or of a field of a field: 'image.n_image'."""
    total = 0
    for name in path.split('.'):
        total += getattr(struct, name).offset
        struct = dict(field[:2] for field in struct._fields_).get(name)
    return total


def test_structs_are_as_the_compiler_lays_them_out() -> None:
    wrong = []
    for group in MEASURED:
        for version, (name, measured) in product(group['versions'], group['structs'].items()):
            struct = RUNTIMES[version].abi.structs[name]
            offsets = {path: offset_of(struct, path) for path in measured['offsets']}
            if {'size': ctypes.sizeof(struct), 'offsets': offsets} != measured:
                wrong.append(f'{name} of {version}: {ctypes.sizeof(struct)} {offsets}')
    assert MEASURED and not wrong, '\n'.join(wrong)


@pytest.mark.parametrize('group', MEASURED, ids=lambda group: group['versions'][0])
def test_no_struct_and_no_field_is_missing(group: dict[str, Any]) -> None:
    abi = RUNTIMES[group['versions'][0]].abi
    names = {name for name in abi.structs if not name.startswith('_')}
    assert names == set(group['structs'])
    for name, measured in group['structs'].items():
        top_level = {path for path in measured['offsets'] if '.' not in path}
        fields = {field[0] for field in abi.structs[name]._fields_} - {'_union'}
        assert fields <= top_level


def test_every_known_runtime_is_measured() -> None:
    versions = {version for group in MEASURED for version in group['versions']}
    assert set(RUNTIMES) - versions == {'1.1.x'}  # any of 1.1.0 to 1.1.4


@pytest.mark.parametrize('abi', ABIS.values(), ids=ABIS)
def test_callback_returns_an_int_from_class_d_on(abi: Any) -> None:
    expected = ctypes.c_int if abi.name >= 'D' else None
    assert abi.callback._restype_ is expected
