# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Checks of a machine before llama.cpp is loaded, which dies on a CPU that is too old."""

from __future__ import annotations

from collections.abc import Iterator
import importlib.metadata
from pathlib import Path
import re

from vlm_npu_ros.engine.backends.backend import Check
from vlm_npu_ros.engine.errors import BackendUnavailableError, ModelFileError, VlmError
from vlm_npu_ros.engine.model_files.gguf import GgufFile
from vlm_npu_ros.engine.pip import pip_install
from vlm_npu_ros.engine.settings import EngineSettings

PACKAGES = ('xllamacpp', 'openai')
_NEEDED = ('avx2', 'fma', 'f16c')  # by the wheel of xllamacpp for x86_64
_OTHER_WAY = 'Ask a server (backend: openai), or build xllamacpp on this machine'


def examine(settings: EngineSettings, root: Path | None) -> list[Check]:
    """
    Check what `backend: llamacpp` needs.

    settings: what to load; without model files only the machine is checked.
    root: the tree of another machine, whose packages are not looked at; None = this machine.
    """
    return [
        _cpu(root or Path('/')),
        *([] if root else _packages()),
        *_files(settings),
        *_memory(root or Path('/'), settings),
    ]


def _cpu(root: Path) -> Check:
    try:
        text = (root / 'proc/cpuinfo').read_text(errors='replace')
    except OSError as error:
        return Check('CPU', 'warn', f'not known: {error}', 'Look at it with `lscpu`')
    flags = re.search(r'^flags\s*:(.*)', text, re.MULTILINE)  # of x86 alone
    missing = [name for name in _NEEDED if flags and name not in flags[1].split()]
    if missing:
        found = f'lacks {", ".join(missing).upper()}, which llama.cpp is built for'
        return Check('CPU', 'fail', found, _OTHER_WAY, BackendUnavailableError)
    return Check('CPU', 'ok', ', '.join(_NEEDED).upper() if flags else 'not x86')


def _packages() -> Iterator[Check]:
    for name in PACKAGES:
        try:
            yield Check(name, 'ok', importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            remedy = f'Install it: `{pip_install(name)}` (extra: vlm_npu_ros[llamacpp])'
            yield Check(name, 'fail', 'not installed', remedy, BackendUnavailableError)


def _files(settings: EngineSettings) -> Iterator[Check]:
    for name, path, sees in (
        ('vision encoder', settings.encoder_path, True),
        ('language model', settings.language_model_path, False),
    ):
        if not path:
            continue
        try:
            yield Check(name, 'ok', _described(Path(path), sees))
        except VlmError as error:
            yield Check(name, 'fail', error.what, error.remedy, ModelFileError)


def _described(path: Path, sees: bool) -> str:
    """Describe a file; raise ModelFileError if it is not whole, or is the other one."""
    file = GgufFile.read(path)
    if file.is_encoder != sees or sees and not file.sees:
        kinds = {True: 'a vision encoder (mmproj)', False: 'a language model'}
        found = 'an encoder of sound' if file.is_encoder and not file.sees else kinds[
            file.is_encoder]
        raise ModelFileError(
            f'{path} is {found}, not {kinds[sees]}',
            'Are encoder and language model swapped?' if file.is_encoder != sees else
            'Name the mmproj file of a model that sees',
        )
    return f'{path}: {file.architecture}, {file.parameters:,} parameters'


def _memory(root: Path, settings: EngineSettings) -> Iterator[Check]:
    paths = [Path(p) for p in (settings.encoder_path, settings.language_model_path) if p]
    try:
        size = sum(path.stat().st_size for path in paths)
        text = (root / 'proc/meminfo').read_text()
        available = int(re.findall(r'^MemAvailable:\s*(\d+) kB', text, re.MULTILINE)[0]) * 1024
    except (OSError, IndexError):
        return
    if paths and size > available:
        yield Check(
            'memory', 'warn',
            f'{available / 1e9:.1f} GB available, and the files have {size / 1e9:.1f} GB',
            'Take a smaller model or quantisation (Q4_K_M, Q8_0): parts of it would be read from '
            'storage again and again',
        )
    elif paths:
        yield Check('memory', 'ok', f'{available / 1e9:.1f} GB available for {size / 1e9:.1f} GB')
