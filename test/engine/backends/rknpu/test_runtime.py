# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
import struct

import pytest
from vlm_npu_ros.engine.backends.rknpu.abi import TELLING_FUNCTIONS
from vlm_npu_ros.engine.backends.rknpu.runtime import (
    find_library,
    identify,
    RuntimeLibrary,
    RUNTIMES,
)
from vlm_npu_ros.engine.errors import BackendUnavailableError, UnsupportedRuntimeError

AARCH64, X86_64 = 183, 62


def functions_of(level: str) -> list[str]:
    return [name for name, first in TELLING_FUNCTIONS.items() if first <= level]


def write_library(
    path: Path, version: str = '', functions: list[str] | None = None, machine: int = AARCH64
) -> Path:
    """Write what tells a version, and nothing that could be run."""
    header = b'\x7fELF\x02\x01\x01'.ljust(16, b'\0') + struct.pack('<HH', 3, machine)
    names = functions_of(RUNTIMES[version].abi.name) if functions is None else functions
    marker = f'RKLLM SDK (version: {version} | target: rk3588 | build: 0 2026)' if version else ''
    # What else a real file holds that looks like a version.
    noise = b'\x000.9.7\x002.3.3b0\x00127.0.0.1\0'
    symbols = b'\0' + b'\0'.join(name.encode() for name in names) + b'\0'
    path.write_bytes(header.ljust(64, b'\0') + symbols + noise + marker.encode() + b'\0')
    return path


@pytest.mark.parametrize('version', [v for v in RUNTIMES if v != '1.1.x'])
def test_marker_tells_the_version(version: str, tmp_path: Path) -> None:
    runtime = identify(write_library(tmp_path / 'lib.so', version), machine='aarch64')
    assert (runtime.version, runtime.abi) == (version, RUNTIMES[version].abi)
    assert runtime.evidence == 'from its marker'


def test_functions_tell_the_oldest_class_where_there_is_no_marker(tmp_path: Path) -> None:
    path = write_library(tmp_path / 'lib.so', functions=['rkllm_load_lora'])
    runtime = identify(path, machine='aarch64')
    assert (runtime.version, runtime.abi.name) == ('1.1.x', 'A')


@pytest.mark.parametrize('version, digest', [('1.2.2', 'blob'), ('1.3.1', 'sha256')])
def test_digest_tells_an_official_file(
    version: str, digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    functions = functions_of('F')
    paths = [write_library(tmp_path / 'unmarked.so', functions=functions),
             write_library(tmp_path / 'marked.so', version)]
    evidence = ['by its digest, the official file', 'from its marker, the official file']
    for path, expected in zip(paths, evidence, strict=True):
        data = path.read_bytes()
        # The official files are not here: take this one for it.
        digests = {
            'blob': hashlib.sha1(b'blob %d\0' % len(data) + data).hexdigest(),
            'sha256': hashlib.sha256(data).hexdigest(),
        }
        official = dataclasses.replace(RUNTIMES[version], **{digest: digests[digest]})
        with monkeypatch.context() as patch:
            patch.setitem(RUNTIMES, version, official)
            runtime = identify(path, machine='aarch64')
        assert (runtime.version, runtime.evidence) == (version, expected)
    assert identify(paths[1], machine='aarch64').evidence == 'from its marker'


@pytest.mark.parametrize('version', ['1.0.1', '1.3.2', '1.3.1b1', '1.2.1b2', '2.0.0'])
def test_unknown_version_is_refused_with_all_that_is_known(version: str, tmp_path: Path) -> None:
    path = write_library(tmp_path / 'lib.so', version, functions_of('D'))
    with pytest.raises(UnsupportedRuntimeError) as caught:
        identify(path, machine='aarch64')
    message = str(caught.value)
    for fact in (str(path), f'version {version}', '1.1.0', '1.3.0', 'rknpu.runtime_version'):
        assert fact in message


def test_unmarked_library_of_a_later_class_is_refused_with_its_blob_id(tmp_path: Path) -> None:
    path = write_library(tmp_path / 'lib.so', functions=functions_of('B'))
    data = path.read_bytes()
    blob = hashlib.sha1(b'blob %d\0' % len(data) + data).hexdigest()
    with pytest.raises(UnsupportedRuntimeError, match=f'no version marker.*{blob}'):
        identify(path, machine='aarch64')


@pytest.mark.parametrize('version, level', [('1.1.4', 'B'), ('1.2.0', 'D'), ('1.3.0', 'B')])
def test_functions_that_contradict_the_marker_are_refused(
    version: str, level: str, tmp_path: Path,
) -> None:
    path = write_library(tmp_path / 'lib.so', version, functions_of(level))
    with pytest.raises(UnsupportedRuntimeError, match=f'contradicts itself: version {version}'):
        identify(path, machine='aarch64')


def test_parameter_overrides_the_marker_but_not_the_functions(tmp_path: Path) -> None:
    path = write_library(tmp_path / 'lib.so', '1.3.9', functions_of('E'))
    runtime = identify(path, '1.3.0', machine='aarch64')
    assert (runtime.version, runtime.evidence) == ('1.3.0', 'set by parameter')
    with pytest.raises(UnsupportedRuntimeError, match='contradicts itself'):
        identify(path, '1.2.0', machine='aarch64')


def test_library_for_another_machine_is_refused(tmp_path: Path) -> None:
    path = write_library(tmp_path / 'lib.so', '1.2.3', machine=X86_64)
    with pytest.raises(UnsupportedRuntimeError, match='made for x86_64, this machine is aarch64'):
        identify(path, machine='aarch64')


@pytest.mark.parametrize('content', [b'', b'\x7fELF', b'<html>' * 20, b'\x7fELF\x01' * 20])
def test_file_that_is_no_library_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'librkllmrt.so'
    path.write_bytes(content)
    with pytest.raises(UnsupportedRuntimeError, match='opy '):
        identify(path)


def test_unreadable_library_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match='cannot be read'):
        identify(tmp_path / 'librkllmrt.so')


def test_library_is_found_by_name_below_a_root(tmp_path: Path) -> None:
    folder = tmp_path / 'usr' / 'lib'
    folder.mkdir(parents=True)
    path = write_library(folder / 'librkllmrt.so', '1.2.3')
    assert find_library('librkllmrt.so', tmp_path) == path.resolve()
    with pytest.raises(BackendUnavailableError, match='There is no libother.so .*usr/lib'):
        find_library('libother.so', tmp_path)


def test_library_path_counts_for_this_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_library(tmp_path / 'librkllmrt.so', '1.2.3')
    monkeypatch.setenv('LD_LIBRARY_PATH', f'/nowhere:{tmp_path}')
    assert find_library('librkllmrt.so') == path.resolve()
    assert find_library(str(path)) == path.resolve()
    with pytest.raises(BackendUnavailableError, match='There is no .*/none.so'):
        find_library(str(tmp_path / 'none.so'))


def test_order_of_releases(tmp_path: Path) -> None:
    runtime = RuntimeLibrary(tmp_path, '1.2.1b1', RUNTIMES['1.2.1b1'].abi, '')
    assert runtime.is_older_than('1.2.1')
    assert not runtime.is_older_than('1.2.0')
    assert not runtime.is_older_than('1.2.1b1')
