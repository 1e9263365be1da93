# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
import dataclasses
from pathlib import Path

import pytest
from vlm_npu_ros.engine.backends.rknpu.abi import ABIS
from vlm_npu_ros.engine.backends.rknpu.library import RkllmLibrary
from vlm_npu_ros.engine.backends.rknpu.runtime import identify, RuntimeLibrary
from vlm_npu_ros.engine.errors import BackendUnavailableError, UnsupportedRuntimeError

Identified = Callable[[str], RuntimeLibrary]
VERSIONS = ('1.1.4', '1.2.0', '1.2.1b1', '1.2.3', '1.3.0', '1.3.1')


@pytest.mark.parametrize('version', VERSIONS)
def test_defaults_are_read_in_the_layout_of_the_version(
    version: str, identified: Identified,
) -> None:
    param = RkllmLibrary(identified(version)).default_param()
    assert (param.top_k, param.mirostat) == (40, 0)
    floats = ('top_p', 'temperature', 'repeat_penalty', 'mirostat_tau', 'mirostat_eta')
    values = [round(getattr(param, name), 4) for name in floats]
    assert values == [0.9, 0.8, 1.1, 5.0, 0.1]
    assert param.extend_param.base_domain_id == 0
    if version != '1.1.4':
        assert param.extend_param.enabled_cpus_num == 4


@pytest.mark.parametrize('version, taken_for', [
    ('1.1.4', 'B'), ('1.2.0', 'A'), ('1.2.3', 'E'), ('1.3.0', 'D'), ('1.3.1', 'C'),
])
def test_defaults_in_another_layout_are_refused(
    version: str, taken_for: str, identified: Identified,
) -> None:
    # What a wrong rknpu.runtime_version, or a file with a wrong marker, leads to.
    right = identified(version)
    with pytest.raises(UnsupportedRuntimeError) as caught:
        RkllmLibrary(dataclasses.replace(right, abi=ABIS[taken_for])).default_param()
    assert str(right.path) in str(caught.value)


def test_file_that_does_not_load_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / 'librkllmrt.so'
    path.write_bytes(b'\x7fELF\x02' + bytes(100))
    runtime = RuntimeLibrary(path, '1.2.3', ABIS['D'], '')
    with pytest.raises(BackendUnavailableError, match='cannot be loaded'):
        RkllmLibrary(runtime)


def test_missing_function_is_an_error(tmp_path: Path, identified: Identified) -> None:
    oldest = dataclasses.replace(identified('1.1.4'), abi=ABIS['D'])
    with pytest.raises(UnsupportedRuntimeError, match='rkllm_set_chat_template'):
        RkllmLibrary(oldest)


@pytest.mark.parametrize('share', [0.99, 0.8, 0.5])
def test_library_that_is_cut_short_is_refused_before_it_is_loaded(
    share: float, tmp_path: Path, identified: Identified,
) -> None:
    whole = identified('1.2.3').path.read_bytes()
    path = tmp_path / 'librkllmrt.so'
    path.write_bytes(whole[:int(share * len(whole))])
    with pytest.raises(UnsupportedRuntimeError, match='is cut short'):
        identify(path)
