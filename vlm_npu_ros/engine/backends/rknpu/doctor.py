# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Checks of a board, and what to do about failures."""

from __future__ import annotations

from collections.abc import Iterator
import importlib.metadata
import importlib.util
import os
from pathlib import Path
import platform
import resource
import sys

from vlm_npu_ros.engine.backends.backend import Check
from vlm_npu_ros.engine.backends.rknpu.board import (
    Board,
    LIBRKNNRT,
    librknnrt_version,
    PLATFORMS,
)
from vlm_npu_ros.engine.backends.rknpu.model_checks import check_models, failed, number
from vlm_npu_ros.engine.backends.rknpu.rknnlite import has_rknnlite
from vlm_npu_ros.engine.backends.rknpu.runtime import find_library, identify, RuntimeLibrary
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.errors import BackendError, BackendUnavailableError
from vlm_npu_ros.engine.model_files.other_npus import RKNN3_CHIPS, RKNN3_WAY
from vlm_npu_ros.engine.pip import pip_install
from vlm_npu_ros.engine.settings import EngineSettings

OLDEST_DRIVER = (0, 9, 6)  # that can load a model
DRIVER_FOR_RKLLM = (0, 9, 8)  # required by the manual of runtimes from 1.2.2 on
OPEN_FILES = 1024  # with fewer, loading was seen to fail; the engine raises the limit if it may
_LITE = 'rknn-toolkit-lite2'
_RKNN_SOURCE = 'github.com/airockchip/rknn-toolkit2 (rknpu2/runtime/Linux)'
_PYTHONS = ((3, 7), (3, 12))  # that rknn-toolkit-lite2 is made for
_WITHOUT_LANGUAGE_MODELS = ('rk3566', 'rk3568')


def examine(board: Board, settings: EngineSettings) -> list[Check]:
    """
    Check everything that `backend: rknpu` needs on a board.

    settings: what to load; without model files only the board is checked.
    """
    runtime, rkllm = _rkllm(board, settings.options)
    lite, path = _uses_rknnlite(board, settings.options), encoder_library(board, settings.options)
    librknnrt = None if path is None else librknnrt_version(path)
    return [
        *_soc(board),
        *_driver(board),
        rkllm,
        _rknnlite_library(board) if lite else _own_library(board, path, librknnrt),
        _python(board) if lite else _unused_python(board),
        *check_models(board, settings, runtime, librknnrt),
        *_cpus(board, settings.options),
        *_clocks(board),
        *_device_files(board),
        *_open_files(board),
    ]


def _soc(board: Board) -> Iterator[Check]:
    soc, name = board.soc, board.model or 'board'
    if soc in PLATFORMS:
        yield Check('board', 'ok', f'{name} ({soc})')
    elif soc is None:
        yield Check(
            'board', 'fail',
            f'no Rockchip board ({"that tree" if board.is_foreign else platform.machine()})',
            'The backend rknpu runs on RK3588, RK3576, RK3562 and RV1126B; in a container mount '
            '/proc/device-tree/compatible. Without a board use backend: onnx',
        )
    elif soc in RKNN3_CHIPS:
        yield Check(
            'board', 'fail', f'{name} ({soc}), whose NPU is of another family (RKNN3)', RKNN3_WAY
        )
    elif soc in _WITHOUT_LANGUAGE_MODELS:
        yield Check(
            'board', 'fail', f'{name} ({soc}), whose NPU runs no language model (RKLLM)',
            'Ask a server on another machine (backend: openai, docs/remote.md), or take a board '
            f'with one of {", ".join(PLATFORMS)}',
        )
    else:
        yield Check(
            'board', 'fail', f'{name} ({soc})',
            f'Its NPU is not one of {", ".join(PLATFORMS)}: use backend: onnx, a server '
            '(backend: openai) or another board',
        )


def _driver(board: Board) -> Iterator[Check]:
    version, kernel = board.driver, board.kernel and f' (kernel {board.kernel})'
    if board.lacks_driver:
        yield _no_driver(board, kernel)
        return
    if version is None:
        yield _unknown_driver(board, kernel)
        return
    remedy = 'Install a kernel with RKNPU driver 0.9.8 (a recent vendor kernel 6.1 has it)'
    if number(version) < OLDEST_DRIVER:
        yield Check('NPU driver', 'fail', f'{version}, older than 0.9.6{kernel}', remedy)
    elif number(version) < DRIVER_FOR_RKLLM:
        yield Check('NPU driver', 'warn', f'{version}, older than 0.9.8{kernel}', remedy)
    else:
        yield Check('NPU driver', 'ok', f'{version}{kernel}')


def _no_driver(board: Board, kernel: str) -> Check:
    found = 'no RKNPU driver'
    if board.rocket:
        found += f', but rocket, that of the mainline kernel ({board.rocket})'
    if board.linked_device:
        found += f'; {board.linked_device} is only a link, which makes no driver'
    return Check(
        'NPU driver', 'fail', found + kernel,
        "Rockchip's runtimes need the vendor's driver: boot an image with a vendor kernel (6.1 or "
        '5.10), or build the rknpu 0.9.8 module for this kernel (DKMS) and keep rocket from '
        'loading. Without it, ask a server (backend: openai)',
        BackendUnavailableError,
    )


def _unknown_driver(board: Board, kernel: str) -> Check:
    if board.hides_driver:
        return Check(
            'NPU driver', 'warn', f'only root can read its version{kernel}',
            'See it with `sudo cat /sys/kernel/debug/rknpu/version`: 0.9.8 or later is needed',
        )
    return Check(
        'NPU driver', 'warn', f'no file tells its version{kernel}',
        'Look after `sudo mount -t debugfs none /sys/kernel/debug` with `sudo cat '
        '/sys/kernel/debug/rknpu/version`: if there is none, the kernel has no RKNPU driver, and '
        'a kernel of the vendor is needed',
    )


def _rkllm(board: Board, options: RknpuSettings) -> tuple[RuntimeLibrary | None, Check]:
    try:
        runtime = identified(board, options)
    except BackendError as error:
        return None, failed('librkllmrt.so', error)
    found = f'{runtime.version}, {runtime.evidence} ({runtime.path})'
    return runtime, Check('librkllmrt.so', 'ok', found)


def _uses_rknnlite(board: Board, options: RknpuSettings) -> bool:
    """Whether the encoder runs on RKNNLite, as open_rknn decides."""
    if options.encoder_runtime != 'auto':
        return options.encoder_runtime == 'rknnlite'
    return board.rknnlite is not None if board.is_foreign else has_rknnlite()


def encoder_library(board: Board, options: RknpuSettings) -> Path | None:
    """Return the librknnrt.so that the encoder will run on; None = there is none."""
    return board.root / LIBRKNNRT if _uses_rknnlite(board, options) else board.librknnrt_path


def _rknnlite_library(board: Board) -> Check:
    version, name = board.librknnrt, 'librknnrt.so'
    if version is not None:
        return _versioned(name, version)
    elsewhere = ', '.join(map(str, board.librknnrt_elsewhere))
    remedy = (
        f'RKNNLite looks nowhere else: `sudo cp {elsewhere or name} /usr/lib/`; the file is in '
        f'{_RKNN_SOURCE}'
    )
    if elsewhere:
        remedy += '. Or set rknpu.encoder_runtime to librknnrt, which takes it from there'
    return Check(
        name, 'fail',
        f'not at /{LIBRKNNRT}' + (elsewhere and f', but {elsewhere}') + _driver_beside(board),
        remedy, BackendUnavailableError,
    )


def _own_library(board: Board, path: Path | None, version: str | None) -> Check:
    """Check the library that the encoder runs on without RKNNLite."""
    name = 'librknnrt.so'
    if path is None or version is None:
        return Check(
            name, 'fail', f'in none of the folders of libraries{_driver_beside(board)}',
            f'Copy the one of {_RKNN_SOURCE} to /usr/lib', BackendUnavailableError,
        )
    return _versioned(name, version, '' if path == board.root / LIBRKNNRT else f' ({path})')


def _driver_beside(board: Board) -> str:
    return f'; the driver {board.driver} is there' if board.driver else ''


def _versioned(name: str, version: str, where: str = '') -> Check:
    if version:
        return Check(name, 'ok', version + where)
    return Check(name, 'warn', f'no version in it{where}', 'Replace it with an official one')


def identified(board: Board, options: RknpuSettings) -> RuntimeLibrary:
    """Return the runtime that the settings name; raise BackendError if it cannot be used."""
    library = options.library
    path = find_library(str(board.path(library)) if '/' in library else library, board.root)
    machine = 'aarch64' if board.is_foreign else platform.machine()
    return identify(path, options.runtime_version, machine)


def _python(board: Board) -> Check:
    name, version = _LITE, _installed(board)
    if board.is_foreign and not board.python_packages:
        return Check(name, 'ok', 'not checked: no Python packages in that tree')
    if version is not None:
        return _rknnlite(name, version, board.librknnrt)
    found, remedy = 'not installed', f'`{pip_install(name)}` (made for aarch64 only)'
    if not board.is_foreign and not _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]:
        found += f', and this is Python {platform.python_version()}'
        low, high = ('.'.join(map(str, version)) for version in _PYTHONS)
        remedy = f'It is made for Python {low} to {high}: use one of these'
    remedy += ', or leave rknpu.encoder_runtime at auto, which needs only librknnrt.so'
    return Check(name, 'fail', found, remedy, BackendUnavailableError)


def _unused_python(board: Board) -> Check:
    installed = 'not installed' if _installed(board) is None else 'installed'
    return Check(_LITE, 'ok', f'{installed}, not used: the encoder runs on librknnrt.so itself')


def _installed(board: Board) -> str | None:
    """Return the version of rknn-toolkit-lite2: '' if it is not told, None if it is not there."""
    if board.is_foreign:
        return board.rknnlite
    if importlib.util.find_spec('rknnlite') is None:
        return None
    try:
        return importlib.metadata.version('rknn-toolkit-lite2')
    except importlib.metadata.PackageNotFoundError:
        return ''


def _rknnlite(name: str, version: str, library: str | None) -> Check:
    """Compare the package with librknnrt.so, where both tell their versions."""
    if version and library and number(library)[:2] < number(version)[:2]:
        return Check(
            name, 'warn', f'{version}, newer than librknnrt.so {library}',
            'It may call functions that the library does not have: use the same version of both',
        )
    return Check(name, 'ok', version or 'installed')


def _cpus(board: Board, options: RknpuSettings) -> Iterator[Check]:
    """Check the CPUs that prepare the work of the NPU's cores."""
    known = PLATFORMS.get(board.soc or '')
    mask = board.complete(options).cpu_mask
    if known is None:
        return
    found = f'{_listed(mask)} for {known.npu_cores} NPU cores'
    remedy = f'Set the parameter rknpu.cpu_mask to 0, which takes {_listed(known.fast_cpus)}'
    if mask.bit_count() < known.npu_cores:
        yield Check(
            'CPUs', 'warn', f'{found}: a model that uses all of these needs as many CPUs', remedy
        )
    elif mask & ~known.fast_cpus:
        yield Check('CPUs', 'warn', f'{found}, slow ones among them: prompts are read up to '
                    '5 times slower', remedy)
    else:
        yield Check('CPUs', 'ok', found)


def _listed(mask: int) -> str:
    return ' '.join(str(cpu) for cpu in range(mask.bit_length()) if mask >> cpu & 1)


def _clocks(board: Board) -> Iterator[Check]:
    clocks = board.clocks
    free = [
        f'{name}: {clock.governor}'
        + (f' ({clock.current} of {clock.highest} MHz)' if clock.highest else '')
        for name, clock in clocks.items() if not clock.is_fixed
    ]
    if free:
        yield Check(
            'clocks', 'warn', ', '.join(free),
            'Answers come sooner and more evenly at fixed clocks: write performance to these '
            'governors (docs/board.md has the lines)',
        )
    elif clocks:
        yield Check('clocks', 'ok', 'fixed')


def _device_files(board: Board) -> Iterator[Check]:
    if board.lacks_driver:
        return  # those that are there are not the NPU's
    npu, heaps = board.npu_devices, board.dma_heaps
    closed = [d for d in npu + heaps if not os.access(d, os.R_OK | os.W_OK)]
    names = ', '.join(map(str, closed))
    if npu and set(npu) <= set(closed):
        yield Check(
            'device files', 'fail', f'{names} cannot be opened',
            '`sudo usermod -aG render,video $USER`, then log in again', BackendUnavailableError,
        )
    elif closed:
        # Vendor images reserve the heaps for root, and nothing says that the runtimes need them.
        yield Check(
            'device files', 'warn', f'{names} cannot be opened',
            'If a model does not load: `sudo usermod -aG render,video $USER`, and give these '
            'files to the group video (docs/board.md has the lines)',
        )
    elif npu:
        yield Check('device files', 'ok', f'{len(npu + heaps)} can be opened')
    elif not board.is_foreign:
        yield Check(
            'device files', 'warn', 'neither /dev/dri/renderD* nor /dev/rknpu exists',
            'Mount /dev/dri into a container; outside of one, install a kernel of the vendor',
        )


def _open_files(board: Board) -> Iterator[Check]:
    if board.is_foreign:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = 'no limit' if hard == resource.RLIM_INFINITY else f'at most {hard}'
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        remedy = 'Allow more: `ulimit -Hn 102400` as root, or LimitNOFILE=102400 in the service'
        yield Check('open files', 'warn', found, remedy)
    else:
        yield Check('open files', 'ok', found)
