"""Checks of a board, and what to do about failures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import importlib.util
import os
from pathlib import Path
import platform
import resource
import sys

from vlm_npu_ros.engine.backends.backend import Check
from vlm_npu_ros.engine.backends.rknpu.board import Board, LIBRKNNRT, PLATFORMS
from vlm_npu_ros.engine.backends.rknpu.runtime import find_library, identify, RuntimeLibrary
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.errors import BackendError, BackendUnavailableError, ModelFileError
from vlm_npu_ros.engine.model_files.agreement import check_agreement
from vlm_npu_ros.engine.model_files.profiles import find_model
from vlm_npu_ros.engine.model_files.rkllm import check_rkllm
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import ModelProfile
from vlm_npu_ros.engine.pip import pip_install
from vlm_npu_ros.engine.settings import EngineSettings

OLDEST_DRIVER = (0, 9, 6)  # that can load a model
DRIVER_FOR_RKLLM = (0, 9, 8)  # required by the manual of runtimes from 1.2.2 on
OPEN_FILES = 1024  # with fewer, loading was seen to fail; the engine raises the limit if it may
_SMALLEST_MODEL = 1_000_000  # bytes; the smallest language models have hundreds of millions
_PYTHONS = ((3, 7), (3, 12))  # that rknn-toolkit-lite2 is made for


def require(checks: Iterable[Check]) -> None:
    """Raise the error of the first check that failed, with the sentences of all that did."""
    failed = [check for check in checks if check.level == 'fail']
    if failed:
        lines = [f'{check.name}: {check.found}. {check.remedy}' for check in failed]
        raise failed[0].error('; '.join(lines))


def examine(board: Board, settings: EngineSettings) -> list[Check]:
    """
    Check everything that `backend: rknpu` needs on a board.

    settings: what to load; without model files only the board is checked.
    """
    return [
        *_soc(board),
        *_driver(board),
        *_runtimes(board, settings),
        *_python(board),
        *_models(board, settings),
        *_clocks(board),
        *_device_files(board),
        *_open_files(board),
    ]


def _soc(board: Board) -> Iterator[Check]:
    soc = board.soc
    if soc is None:
        yield Check(
            'board', 'fail',
            f'no Rockchip board ({"that tree" if board.is_foreign else platform.machine()})',
            'The backend rknpu runs on RK3588, RK3576, RK3562 and RV1126B; in a container mount '
            '/proc/device-tree/compatible. Without a board use backend: onnx',
        )
    elif soc not in PLATFORMS:
        yield Check(
            'board', 'fail', f'{board.model or soc} ({soc})',
            f'Its NPU is not one of {", ".join(PLATFORMS)}: use backend: onnx or another board',
        )
    else:
        yield Check('board', 'ok', f'{board.model or "board"} ({soc})')


def _driver(board: Board) -> Iterator[Check]:
    version, kernel = board.driver, board.kernel and f' (kernel {board.kernel})'
    if version is None:
        yield _unknown_driver(board, kernel)
        return
    number = tuple(map(int, version.split('.')))
    remedy = 'Install a kernel with RKNPU driver 0.9.8 (a recent vendor kernel 6.1 has it)'
    if number < OLDEST_DRIVER:
        yield Check('NPU driver', 'fail', f'{version}, older than 0.9.6{kernel}', remedy)
    elif number < DRIVER_FOR_RKLLM:
        yield Check('NPU driver', 'warn', f'{version}, older than 0.9.8{kernel}', remedy)
    else:
        yield Check('NPU driver', 'ok', version)


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


def _runtimes(board: Board, settings: EngineSettings) -> Iterator[Check]:
    try:
        runtime = identified(board, settings.options)
        found = f'{runtime.version}, {runtime.evidence} ({runtime.path})'
        yield Check('librkllmrt.so', 'ok', found)
    except BackendError as error:
        yield _failed('librkllmrt.so', error)
    version = board.librknnrt
    if version is None:
        elsewhere = ', '.join(map(str, board.librknnrt_elsewhere))
        yield Check(
            'librknnrt.so', 'fail', f'not at /{LIBRKNNRT}' + (elsewhere and f', but {elsewhere}'),
            f'RKNNLite looks nowhere else: `sudo cp {elsewhere or "librknnrt.so"} /usr/lib/`; the '
            'file is in github.com/airockchip/rknn-toolkit2 (rknpu2/runtime/Linux)',
            BackendUnavailableError,
        )
    elif not version:
        yield Check('librknnrt.so', 'warn', 'no version in it', 'Replace it with an official one')
    else:
        yield Check('librknnrt.so', 'ok', version)


def identified(board: Board, options: RknpuSettings) -> RuntimeLibrary:
    """Return the runtime that the settings name; raise BackendError if it cannot be used."""
    library = options.library
    path = find_library(str(board.path(library)) if '/' in library else library, board.root)
    machine = 'aarch64' if board.is_foreign else platform.machine()
    return identify(path, options.runtime_version, machine)


def _python(board: Board) -> Iterator[Check]:
    if not board.is_foreign:
        there = importlib.util.find_spec('rknnlite') is not None
    elif board.python_packages:
        there = any((folder / 'rknnlite').is_dir() for folder in board.python_packages)
    else:
        yield Check('rknn-toolkit-lite2', 'ok', 'not checked: no Python packages in that tree')
        return
    if there:
        yield Check('rknn-toolkit-lite2', 'ok', 'installed')
        return
    found, command = 'not installed', pip_install('rknn-toolkit-lite2')
    remedy = f'`{command}` (made for aarch64 only)'
    if not board.is_foreign and not _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]:
        found += f', and this is Python {platform.python_version()}'
        low, high = ('.'.join(map(str, version)) for version in _PYTHONS)
        remedy = f'It is made for Python {low} to {high}: use one of these'
    yield Check('rknn-toolkit-lite2', 'fail', found, remedy, BackendUnavailableError)


def _models(board: Board, settings: EngineSettings) -> Iterator[Check]:
    if not (settings.encoder_path and settings.language_model_path):
        yield Check(
            'model files', 'warn', 'not both are named',
            'Name a vision encoder (.rknn) and a language model (.rkllm)',
        )
        return
    encoder = board.path(settings.encoder_path)
    language_model = board.path(settings.language_model_path)
    checks = []
    for name, path, check in (('vision encoder', encoder, _encoder_file),
                              ('language model', language_model, _language_model_file)):
        try:
            _require_readable(path)
            checks.append(check(name, path, board))
        except BackendError as error:
            checks.append(_failed(name, error))
    yield from checks
    if any(check.level == 'fail' for check in checks):
        return
    file = RknnFile.try_read(encoder)
    try:
        profile = find_model(settings.model, encoder, language_model, file)
    except BackendError as error:
        yield _failed('model', error)
        return
    yield from _profile(profile, file, settings)
    yield from _runtime_age(board, profile, settings)
    yield from _memory(board, profile, encoder, language_model)


def _encoder_file(name: str, path: Path, board: Board) -> Check:
    file = RknnFile.try_read(path)
    if file is None:
        return Check(
            name, 'warn', f'{path} is encrypted and tells nothing',
            'Whether it fits will be known when it is loaded',
        )
    found = f'{path}: {file.size} pixels, {file.tokens} tokens of {len(file.outputs)} x {file.dim}'
    if board.soc and file.platform and file.platform != board.soc:
        return Check(
            name, 'fail', f'{found}, made for {file.platform}',
            f'This board has an {board.soc}: convert the model for it, or take a file made for it',
            ModelFileError,
        )
    return Check(name, 'ok', found)


def _language_model_file(name: str, path: Path, board: Board) -> Check:
    size = check_rkllm(path)
    found = f'{path}: {_amount(size)}'
    if size < _SMALLEST_MODEL:
        return Check(
            name, 'warn', f'{found}, which is little for a language model',
            'Copy or download it again and compare the sizes',
        )
    return Check(name, 'ok', found)


def _require_readable(path: Path) -> None:
    if not os.path.isfile(path):
        reason, remedy = 'there is no such file', 'Copy the file there, or name another one'
    elif not os.access(path, os.R_OK):
        reason, remedy = 'this user may not', f'`sudo chmod a+r {path}`'
    else:
        return
    raise ModelFileError(f'{path} cannot be read: {reason}', remedy)


def _profile(
    profile: ModelProfile, file: RknnFile | None, settings: EngineSettings
) -> Iterator[Check]:
    if profile.backend != 'rknpu':
        yield Check(
            'model', 'fail', f'{profile.name} is made for the backend {profile.backend}',
            'Set the parameter model to auto, or to one that `vlm-npu models` lists for rknpu',
            ModelFileError,
        )
        return
    try:
        if file is not None:
            check_agreement(file, 'the file', profile, file.platform, 0)
    except BackendError as error:
        yield Check(
            'model', 'fail', str(error),
            'Take the encoder of this model, or set the parameter model to the one that the files '
            'are of (`vlm-npu models` lists them)', type(error),
        )
        return
    yield Check('model', 'ok', profile.title or profile.name)
    context = settings.context or profile.context
    found, wanted = f'{context} tokens', ''
    if context > profile.max_context:
        found += f', {profile.name} holds {profile.max_context}'
        wanted = f'{profile.max_context} or less'
    elif context < 32 or context % 32:
        wanted = 'a multiple of 32'
    if wanted:
        remedy = f'Set the parameter context to {wanted}'
        yield Check('context', 'fail', found, remedy, ModelFileError)
    else:
        yield Check('context', 'ok', found)


def _runtime_age(board: Board, profile: ModelProfile, settings: EngineSettings) -> Iterator[Check]:
    try:
        runtime = identified(board, settings.options)
    except BackendError:
        return  # reported already
    if profile.min_runtime and runtime.is_older_than(profile.min_runtime):
        yield Check(
            'runtime for the model', 'fail',
            f'librkllmrt.so is {runtime.version}, {profile.name} needs {profile.min_runtime}',
            f'Install librkllmrt.so {profile.min_runtime} or later '
            '(github.com/airockchip/rknn-llm)',
        )


def _memory(
    board: Board, profile: ModelProfile, encoder: Path, language_model: Path
) -> Iterator[Check]:
    free = board.available_memory
    if free is None:
        return
    files = encoder.stat().st_size + language_model.stat().st_size
    published = profile.published.ram_gb if profile.published else None
    need = max(files, int((published or 0) * 1e9))
    found = f'{_amount(free)} free, {profile.name} needs about {_amount(need)}'
    remedy = 'Take a smaller model (`vlm-npu models` lists what they need)'
    if need <= (board.total_memory or need):
        remedy += ', or close other programs'
    if free < files:
        yield Check('memory', 'fail', found, remedy, BackendUnavailableError)
    elif free < need:
        yield Check('memory', 'warn', found, remedy)
    else:
        yield Check('memory', 'ok', found)


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


def _amount(size: float) -> str:
    return f'{size / 1e9:.1f} GB' if size >= 1e8 else f'{size / 1e6:.1f} MB'


def _failed(name: str, error: BackendError) -> Check:
    return Check(name, 'fail', error.what, error.remedy, type(error))
