"""Opening of .rknn files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
import platform
import re
import sys
from typing import TYPE_CHECKING

from vlm_npu_ros.engine.backends.rknpu.native_log import native_log
from vlm_npu_ros.engine.errors import (
    BackendError,
    BackendUnavailableError,
    ModelFileError,
    UnsupportedRuntimeError,
)
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.pip import pip_install

if TYPE_CHECKING:
    from rknnlite.api import RKNNLite

# A pattern of what RKNNLite printed, the error that it means, and its remedy.
_FAULTS: tuple[tuple[str, type[BackendError], str], ...] = (
    (
        'dynamic library|librknnrt.so is missing', BackendUnavailableError,
        'Put librknnrt.so into /usr/lib itself, not a folder below it; mount it into a container',
    ),
    (
        'specify the target|in the container', BackendUnavailableError,
        'Run it on a Rockchip board. In a container, mount /proc/device-tree/compatible and '
        '/dev/dri/renderD129',
    ),
    ('core_mask|core mode', UnsupportedRuntimeError, 'Leave core_mask at its default'),
    (
        'MODEL_INVALID|UNMATCH', ModelFileError,
        'Use a librknnrt.so that is not older than {toolkit} that made the file, and a file for '
        'this chip',
    ),
    ('', BackendUnavailableError, 'Is the NPU free, and is memory left?'),
)


def open_rknn(path: Path, core_mask: int, file: RknnFile | None) -> RKNNLite:
    """Load a model into a new runtime; raise BackendError with what to do if that fails."""
    try:
        from rknnlite.api import RKNNLite
    except (ImportError, OSError) as error:
        raise BackendUnavailableError(
            f'The backend rknpu needs rknn-toolkit-lite2, which cannot be imported: {error}. It is'
            f' made for aarch64 and Python 3.7 to 3.12, this is {platform.machine()} and Python '
            f'{sys.version_info.major}.{sys.version_info.minor}',
            f'Install it: `{pip_install("rknn-toolkit-lite2")}`',
        ) from error
    rknn, failure = RKNNLite(), None
    with native_log() as lines:
        try:
            failed = rknn.load_rknn(str(path)) != 0 or (
                rknn.init_runtime(core_mask=core_mask) if core_mask else rknn.init_runtime()
            ) != 0
        except Exception as error:  # RKNNLite documents none
            failed, failure = True, error
    # RKNNLite keeps the whole file, which the runtime has copied by now.
    rknn.rknn_data = None
    if failed:
        rknn.release()
        raise _start_error(path, file, failure, lines) from failure
    return rknn


def _start_error(
    path: Path, file: RknnFile | None, failure: Exception | None, lines: Sequence[str]
) -> BackendError:
    """Explain why RKNNLite did not load a model; lines: what it printed."""
    errors = re.compile(r'(?![WID] |E Traceback)[^\s*`]')
    said = [line for line in lines if errors.match(line)]
    text = '; '.join(line.rstrip('.') for line in said[-6:]) or 'it printed nothing'
    if failure is not None:
        return UnsupportedRuntimeError(
            f'RKNNLite failed to load {path}: {type(failure).__name__}: {failure}. '
            f'It printed: {text}',
            'An old /usr/lib/librknnrt.so leads to this: use the version of rknn-toolkit-lite2',
        )
    kind, remedy = next((k, r) for p, k, r in _FAULTS if re.search(p, '\n'.join(lines)))
    toolkit = f'rknn-toolkit2 {file.toolkit}' if file else 'the rknn-toolkit2'
    return kind(f'RKNNLite failed to load {path}: {text}', remedy.format(toolkit=toolkit))
