# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Vision encoders by rknn-toolkit-lite2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
import platform
import re
import sys
from typing import Any, TYPE_CHECKING

import numpy as np
from vlm_npu_ros.engine.errors import (
    BackendCrashedError,
    BackendError,
    BackendUnavailableError,
    ModelFileError,
    UnsupportedRuntimeError,
)
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.native_log import native_log
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


class RknnliteSession:
    """An RknnSession of RKNNLite, which hides failed runs and reads the whole file."""

    def __init__(self, path: Path, file: RknnFile | None, core_mask: int) -> None:
        rknnlite = _import()
        self._layout = 'nhwc' if file is None else file.layout
        self._rknn, failure = rknnlite(), None
        with native_log() as lines:
            try:
                options = {'core_mask': core_mask} if core_mask else {}
                failed = self._rknn.load_rknn(str(path)) or self._rknn.init_runtime(**options)
            except Exception as error:  # RKNNLite documents none
                failed, failure = -1, error
        # RKNNLite keeps the whole file, which the runtime has copied by now.
        self._rknn.rknn_data = None
        if failed:
            self.release()
            raise _start_error(path, file, failure, lines) from failure
        self.versions = ''  # it prints them

    def described(self) -> Mapping[str, Mapping[str, Any]]:
        try:
            # Private, but present in all versions and widely used; there is no public way.
            runtime = self._rknn.rknn_runtime
            inputs, outputs = runtime.get_in_out_num()
            described: dict[str, dict[str, Any]] = {}
            for i in range(inputs):
                tensor = runtime.get_tensor_attr(i)
                shape, layout = list(tensor.dims)[:tensor.n_dims], ('nchw', 'nhwc')[tensor.fmt]
                described[f'input {i}'] = {'shape': shape, 'layout': layout}
            for i in range(outputs):
                shape = list(runtime.get_output_shape(i))
                described[f'output {i}'] = {'is_output': True, 'idx': i, 'shape': shape}
            return described
        except Exception:  # a private interface may change in any way
            return {}

    def run(self, pixels: np.ndarray) -> list[np.ndarray]:
        fed = pixels if self._layout == 'nhwc' else pixels.transpose(0, 3, 1, 2)
        results: list[np.ndarray] | None = self._rknn.inference([fed], data_format=[self._layout])
        if results is None:
            raise BackendCrashedError(
                'RKNNLite returned no result for a picture', 'Read its log above'
            )
        return results

    def release(self) -> None:
        self._rknn.release()


def has_rknnlite() -> bool:
    """Whether rknn-toolkit-lite2 is there and can be imported."""
    try:
        _import()
    except BackendUnavailableError:
        return False
    return True


def _import() -> type[RKNNLite]:
    try:
        from rknnlite.api import RKNNLite
    except Exception as error:  # compiled modules raise others for a numpy that does not fit
        raise BackendUnavailableError(
            f'rknn-toolkit-lite2 cannot be imported: {error}. It is made for aarch64 and Python '
            f'3.7 to 3.12, this is {platform.machine()} and Python '
            f'{sys.version_info.major}.{sys.version_info.minor}',
            f'Install it (`{pip_install("rknn-toolkit-lite2")}`), or leave rknpu.encoder_runtime '
            'at auto: the encoder then runs on librknnrt.so itself',
        ) from error
    return RKNNLite


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
