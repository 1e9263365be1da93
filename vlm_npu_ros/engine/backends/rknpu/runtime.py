# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Identification of librkllmrt.so: the version of a file, and so its binary interface."""

from __future__ import annotations

from dataclasses import dataclass
import hashlib
import os
from pathlib import Path
import platform
import re

from vlm_npu_ros.engine.backends.rknpu.abi import Abi, ABIS, TELLING_FUNCTIONS
from vlm_npu_ros.engine.backends.rknpu.library_file import check_machine, mapped
from vlm_npu_ros.engine.errors import BackendUnavailableError, UnsupportedRuntimeError

# Where distributions and boards keep libraries, below the root of a system.
LIBRARY_FOLDERS = ('usr/lib', 'usr/local/lib', 'usr/lib/aarch64-linux-gnu', 'lib', 'lib64')
OLD_UNMARKED = '1.1.x'  # any release of class A without a marker


@dataclass(frozen=True)
class Release:
    """
    A release: its binary interface, and what tells the official file for aarch64.

    blob: git blob id of lib/Linux/librkllm_api/aarch64/librkllmrt.so in airockchip/rknn-llm.
    sha256: of the same file, where somebody has published it; '' = not known.
    """

    abi: Abi
    blob: str = ''
    sha256: str = ''

    def is_official(self, blob: str, sha256: str) -> bool:
        """Tell whether a file with these digests is the one that Rockchip published."""
        return blob == self.blob or sha256 == self.sha256


# By version, oldest first.
RUNTIMES = {
    '1.1.0': Release(ABIS['A'], '66dfdc7c25cdca9ccf9930798118e17abf7592ff'),
    OLD_UNMARKED: Release(ABIS['A']),
    '1.1.1': Release(ABIS['A'], 'bfca051375287d0f5aa754a7b8681b4ede52e259'),
    '1.1.2': Release(ABIS['A'], 'e8f4afc38c7394beeff83003dbc772412f649a44'),
    '1.1.3': Release(ABIS['A'], '68e79327e82f675413956be615f48c62ccd0f16e'),
    '1.1.4': Release(ABIS['A'], '3bb8cb6172c4c06e1c622c8f8c579888378784f4'),
    '1.2.0': Release(ABIS['B'], 'd45ee9b8dcb9ef27d7dd875ce3be3d5e6dfb654d'),
    '1.2.1b1': Release(ABIS['C'], 'db041c01bba5e0e8f624bb2ff50d48825dde1bfc'),
    '1.2.1': Release(ABIS['D'], '6b9439d59f2fe4bb8ef5ee2b09c102f1bf993da9'),
    '1.2.2': Release(ABIS['D'], '8ed9cca16f8d5ad8f7cdd7d393de6561182b3395'),
    '1.2.3': Release(ABIS['D'], '0084abc34ab43359cfa9fd5d4c92ece34127dbd0'),
    '1.3.0': Release(
        ABIS['E'], '34167b32f99cb7ab19e21fb579fb750d96b878f1',
        '6a9e4fc5324c68921c3a900340361e107af7599fe34dc8fa7759b2c5ae22a6e6',
    ),
    '1.3.1': Release(
        ABIS['F'], '', 'f25e9b099db08aaacd0a3ac62b4697d3951d6ae61ae41ea09f6702cfa89eb32c'
    ),
}

_MARKER = re.compile(rb'RKLLM SDK \(version: ([0-9][0-9A-Za-z.\-]*) \| target: (\w+) \| build:')


@dataclass(frozen=True)
class RuntimeLibrary:
    """
    An identified librkllmrt.so.

    evidence: how the version was found, for messages.
    """

    path: Path
    version: str
    abi: Abi
    evidence: str

    def is_older_than(self, version: str) -> bool:
        """Tell whether this release came before `version`, which must be one of RUNTIMES."""
        order = list(RUNTIMES)
        return order.index(self.version) < order.index(version)


def find_library(name_or_path: str, root: Path = Path('/')) -> Path:
    """
    Find the file of a library: a path is taken as it is, a name is looked up in the usual folders.

    root: of another machine's tree; LD_LIBRARY_PATH counts for this machine only.
    Raises BackendUnavailableError with the folders.
    """
    if '/' in name_or_path:
        found, looked = [Path(name_or_path)], ''
    else:
        own = os.environ.get('LD_LIBRARY_PATH', '') if root == Path('/') else ''
        usual = [root / folder for folder in LIBRARY_FOLDERS]
        found = [Path(f) / name_or_path for f in own.split(':') if f]
        found += [folder / name_or_path for folder in usual]
        looked = f' (in {"LD_LIBRARY_PATH, " if own else ""}{", ".join(map(str, usual))})'
    for path in found:
        if os.path.isfile(path):  # unlike Path.is_file, never an error
            return path.resolve()
    raise BackendUnavailableError(
        f'There is no {name_or_path}{looked}',
        'Copy librkllmrt.so of github.com/airockchip/rknn-llm '
        '(rkllm-runtime/Linux/librkllm_api/aarch64) to /usr/lib, or name its path',
    )


def identify(
    path: Path, version: str = '', machine: str = platform.machine()
) -> RuntimeLibrary:
    """
    Find out which runtime a file is, without running any of its code.

    version: assumed whatever its marker says; '' = find out.
    machine: the processor that the file must be made for, as platform.machine() names it.
    Raises UnsupportedRuntimeError with what was found and what is supported.
    """
    with mapped(path) as data:
        check_machine(path, data, machine)
        functions = [f for f in TELLING_FUNCTIONS if data.find(b'\0%b\0' % f.encode()) > 0]
        marker = _MARKER.search(data)
        # What `git hash-object` and `sha256sum` print.
        blob = hashlib.sha1(b'blob %d\0' % len(data) + data[:]).hexdigest()
        sha256 = hashlib.sha256(data).hexdigest()
        found, evidence = _version(marker, blob, sha256, functions)
    if version:
        found, evidence = version, 'set by parameter'
    if found not in RUNTIMES:
        raise UnsupportedRuntimeError(
            f'{path} is not a known librkllmrt.so '
            f'({f"version {found}" if found else "no version marker"}, {evidence}; of the '
            f'telling functions it has {", ".join(functions) or "none"}'
            f', git blob id {blob}, sha256 {sha256}). '
            f'Supported are {", ".join(RUNTIMES)}',
            'If it has the binary interface of one of these, name that version in the parameter '
            'rknpu.runtime_version',
        )
    abi = RUNTIMES[found].abi
    expected = [name for name, first in TELLING_FUNCTIONS.items() if first <= abi.name]
    if functions != expected:
        raise UnsupportedRuntimeError(
            f'{path} contradicts itself: version {found} ({evidence}) has '
            f'{", ".join(expected)}, the file has {", ".join(functions) or "none of these"}',
            'Replace it with an official release',
        )
    return RuntimeLibrary(path, found, abi, evidence)


def _version(
    marker: re.Match[bytes] | None, blob: str, sha256: str, functions: list[str]
) -> tuple[str, str]:
    """Find the version, or '', and say how it was found."""
    official = next((v for v, r in RUNTIMES.items() if r.is_official(blob, sha256)), '')
    if marker:
        version = marker[1].decode()
        same = ', the official file' if version == official else ''
        return version, f'from its marker{same}'
    if official:
        return official, 'by its digest, the official file'
    # All of class A share one layout, so the exact release does not matter.
    if functions == ['rkllm_load_lora']:
        return OLD_UNMARKED, 'by its functions'
    return '', 'unknown by its digest and functions'
