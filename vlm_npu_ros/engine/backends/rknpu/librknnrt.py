# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Vision encoders by librknnrt.so itself: no Python package, any Python, every code reported."""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import byref, c_uint64, sizeof
import os
from pathlib import Path
from typing import Any

import numpy as np
from vlm_npu_ros.engine.backends.rknpu.board import Board
from vlm_npu_ros.engine.backends.rknpu.rknn_api import (
    CODES,
    FLOAT32,
    IN_OUT_NUM,
    InOutNum,
    Input,
    INPUT_ATTR,
    NCHW,
    NHWC,
    Output,
    OUTPUT_ATTR,
    PRIOR_MEDIUM,
    RknnLibrary,
    SDK_VERSION,
    SdkVersion,
    TensorAttr,
    UINT8,
)
from vlm_npu_ros.engine.errors import (
    BackendCrashedError,
    BackendError,
    BackendUnavailableError,
    ModelFileError,
    UnsupportedRuntimeError,
)
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.native_log import native_log


class LibrknnrtSession:
    """An RknnSession of librknnrt.so, which is given the path of the file, not its bytes."""

    def __init__(self, path: Path, file: RknnFile | None, core_mask: int) -> None:
        library = Board().librknnrt_path
        if library is None:
            raise BackendUnavailableError(
                'There is no librknnrt.so in the folders of libraries',
                'Copy the one of github.com/airockchip/rknn-toolkit2 (rknpu2/runtime/Linux) to '
                '/usr/lib; mount it into a container',
            )
        self._library, self._path = RknnLibrary(library), path
        context = c_uint64()
        with native_log() as lines:
            code = self._library.call(
                'rknn_init', byref(context), os.fsencode(path), 0, PRIOR_MEDIUM, None
            )
        if code:
            raise self._start_error('rknn_init', code, '; '.join(lines[-6:]))
        self._context: c_uint64 | None = context
        try:
            self._set_cores(core_mask)
            version = self._query(SDK_VERSION, SdkVersion())
            count = self._query(IN_OUT_NUM, InOutNum())
            if count.n_input != 1:
                raise ModelFileError(f'{path} takes {count.n_input} inputs, not only a picture')
            self._input = self._query(INPUT_ATTR, TensorAttr(index=0))
            self._outputs = [
                self._query(OUTPUT_ATTR, TensorAttr(index=i)) for i in range(count.n_output)
            ]
        except BaseException:
            self.release()
            raise
        api, driver = (t.decode(errors='replace') for t in (version.api_version,
                                                            version.drv_version))
        self.versions = f'librknnrt.so {api} ({library}), NPU driver {driver}'

    def described(self) -> Mapping[str, Mapping[str, Any]]:
        layout = 'nchw' if self._input.fmt == NCHW else 'nhwc'
        return {
            'input 0': {'shape': self._input.shape, 'layout': layout},
            **{
                f'output {i}': {'is_output': True, 'idx': i, 'shape': attr.shape}
                for i, attr in enumerate(self._outputs)
            },
        }

    def run(self, pixels: np.ndarray) -> list[np.ndarray]:
        if self._context is None:
            raise BackendCrashedError(f'{self._path} is closed')
        if pixels.size != self._input.n_elems:
            raise BackendCrashedError(
                f'librknnrt.so wants {self._input.n_elems} numbers for a picture in {self._path}, '
                f'not {pixels.size}'
            )
        pixels = np.ascontiguousarray(pixels)
        fed = Input(
            buf=pixels.ctypes.data, size=pixels.nbytes, fmt=NHWC,
            type=UINT8 if pixels.dtype == np.uint8 else FLOAT32,
        )
        # Zeros, so that a runtime that writes nothing is noticed.
        results = [np.zeros(attr.shape, np.float32) for attr in self._outputs]
        outputs = (Output * len(results))(*(
            Output(want_float=1, is_prealloc=1, index=i, buf=r.ctypes.data, size=r.nbytes)
            for i, r in enumerate(results)
        ))
        self._work('rknn_inputs_set', 1, fed)
        self._work('rknn_run', None)
        self._work('rknn_outputs_get', len(results), outputs, None)
        self._work('rknn_outputs_release', len(results), outputs)
        return results

    def release(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            self._library.call('rknn_destroy', context)

    def _set_cores(self, mask: int) -> None:
        code = self._library.call('rknn_set_core_mask', self._context, mask) if mask else 0
        if code:
            raise UnsupportedRuntimeError(
                f'rknn_set_core_mask returned {_name(code)} for the core_mask {mask}',
                'Leave core_mask at its default',
            )

    def _query(self, command: int, info: Any) -> Any:
        """Fill in a struct."""
        code = self._library.call(
            'rknn_query', self._context, command, byref(info), sizeof(info)
        )
        if code:
            raise self._start_error(f'rknn_query of {command}', code)
        return info

    def _start_error(self, function: str, code: int, said: str = '') -> BackendError:
        _, kind, remedy = CODES.get(code, CODES[-1])
        said = said and f'. It printed: {said}'
        return kind(f'{function} returned {_name(code)} for {self._path}{said}', remedy)

    def _work(self, function: str, *arguments: Any) -> None:
        code = self._library.call(function, self._context, *arguments)
        if code:
            raise BackendCrashedError(
                f'{function} returned {_name(code)} for a picture', 'The log above may say why'
            )


def _name(code: int) -> str:
    return f'{CODES[code][0]} ({code})' if code in CODES else f'the unknown code {code}'
