# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
The interface of librknnrt.so (rknn_api.h), as far as a vision encoder needs it.

Structs of 64-bit systems: they are the same in all releases from 1.6.0 to 2.3.2.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    c_char,
    c_char_p,
    c_float,
    c_int,
    c_int8,
    c_uint32,
    c_uint64,
    c_void_p,
    POINTER,
)
from pathlib import Path
import platform
from typing import Any

from vlm_npu_ros.engine.backends.rknpu.library_file import check_machine, mapped
from vlm_npu_ros.engine.errors import (
    BackendError,
    BackendUnavailableError,
    ModelFileError,
    UnsupportedRuntimeError,
)

# rknn_query_cmd
IN_OUT_NUM, INPUT_ATTR, OUTPUT_ATTR, SDK_VERSION = 0, 1, 2, 5
# rknn_tensor_type, rknn_tensor_format
FLOAT32, UINT8 = 0, 3
NCHW, NHWC = 0, 1
PRIOR_MEDIUM = 1  # RKNNLite's choice
_NAME = 256


class InOutNum(ctypes.Structure):
    """rknn_input_output_num."""

    _fields_ = [('n_input', c_uint32), ('n_output', c_uint32)]


class TensorAttr(ctypes.Structure):
    """rknn_tensor_attr; the caller sets the index."""

    _fields_ = [
        ('index', c_uint32), ('n_dims', c_uint32), ('dims', c_uint32 * 16),
        ('name', c_char * _NAME), ('n_elems', c_uint32), ('size', c_uint32),
        ('fmt', c_int), ('type', c_int), ('qnt_type', c_int),
        ('fl', c_int8), ('zp', c_int), ('scale', c_float),
        ('w_stride', c_uint32), ('size_with_stride', c_uint32),
        ('pass_through', ctypes.c_uint8), ('h_stride', c_uint32),
    ]

    @property
    def shape(self) -> list[int]:
        return list(self.dims[:self.n_dims])


class SdkVersion(ctypes.Structure):
    """rknn_sdk_version."""

    _fields_ = [('api_version', c_char * _NAME), ('drv_version', c_char * _NAME)]


class Input(ctypes.Structure):
    """rknn_input: size in bytes."""

    _fields_ = [
        ('index', c_uint32), ('buf', c_void_p), ('size', c_uint32),
        ('pass_through', ctypes.c_uint8), ('type', c_int), ('fmt', c_int),
    ]


class Output(ctypes.Structure):
    """rknn_output: with is_prealloc, buf and its size in bytes are the caller's."""

    _fields_ = [
        ('want_float', ctypes.c_uint8), ('is_prealloc', ctypes.c_uint8), ('index', c_uint32),
        ('buf', c_void_p), ('size', c_uint32),
    ]


STRUCTS = {
    'rknn_input_output_num': InOutNum,
    'rknn_tensor_attr': TensorAttr,
    'rknn_sdk_version': SdkVersion,
    'rknn_input': Input,
    'rknn_output': Output,
}

# rknn_context is uint64_t; rknn_init takes a pointer to one.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    # model: a path if its size is 0; the last one is rknn_init_extend*
    'rknn_init': (POINTER(c_uint64), c_char_p, c_uint32, c_uint32, c_void_p),
    'rknn_destroy': (c_uint64,),
    'rknn_query': (c_uint64, c_int, c_void_p, c_uint32),
    'rknn_set_core_mask': (c_uint64, c_int),
    'rknn_inputs_set': (c_uint64, c_uint32, POINTER(Input)),
    'rknn_run': (c_uint64, c_void_p),
    'rknn_outputs_get': (c_uint64, c_uint32, POINTER(Output), c_void_p),
    'rknn_outputs_release': (c_uint64, c_uint32, POINTER(Output)),
}

_BUSY = 'Is the NPU free, and is memory left?'
_FITTING = (
    'Use a librknnrt.so that is not older than the rknn-toolkit2 that made the file, and a file '
    'for this chip'
)
_UPDATE = 'Use a librknnrt.so and an NPU driver that fit this chip'
# Each code, the error that it means when a model is loaded, and the remedy.
CODES: dict[int, tuple[str, type[BackendError], str]] = {
    -1: ('RKNN_ERR_FAIL', BackendUnavailableError, _BUSY),
    -2: ('RKNN_ERR_TIMEOUT', BackendUnavailableError, _BUSY),
    -3: (
        'RKNN_ERR_DEVICE_UNAVAILABLE', BackendUnavailableError,
        'Run `vlm-npu doctor`: it looks for the driver and its device files',
    ),
    -4: ('RKNN_ERR_MALLOC_FAIL', BackendUnavailableError, 'Close other programs: memory is full'),
    -5: ('RKNN_ERR_PARAM_INVALID', UnsupportedRuntimeError, _UPDATE),
    -6: ('RKNN_ERR_MODEL_INVALID', ModelFileError, _FITTING),
    -7: ('RKNN_ERR_CTX_INVALID', BackendUnavailableError, _BUSY),
    -8: ('RKNN_ERR_INPUT_INVALID', ModelFileError, _FITTING),
    -9: ('RKNN_ERR_OUTPUT_INVALID', ModelFileError, _FITTING),
    -10: ('RKNN_ERR_DEVICE_UNMATCH', UnsupportedRuntimeError, _UPDATE),
    -11: ('RKNN_ERR_INCOMPATILE_PRE_COMPILE_MODEL', ModelFileError, _FITTING),
    -12: ('RKNN_ERR_INCOMPATILE_OPTIMIZATION_LEVEL_VERSION', ModelFileError, _FITTING),
    -13: ('RKNN_ERR_TARGET_PLATFORM_UNMATCH', ModelFileError, _FITTING),
}


class RknnLibrary:
    """
    A loaded librknnrt.so.

    Raises BackendUnavailableError if the file cannot be loaded, UnsupportedRuntimeError if it
    lacks a function or is cut short.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with mapped(path) as data:
            check_machine(path, data, platform.machine())
        try:
            library = ctypes.CDLL(str(path))
        except OSError as error:
            raise BackendUnavailableError(
                f'{path} cannot be loaded: {error}',
                'Replace it with the official one for this processor',
            ) from error
        self._functions = {}
        for name, arguments in _FUNCTIONS.items():
            try:
                function = getattr(library, name)
            except AttributeError as error:
                raise UnsupportedRuntimeError(
                    f'{path} has no {name}', 'Replace it with an official one, 1.6.0 or later'
                ) from error
            function.restype, function.argtypes = c_int, arguments
            self._functions[name] = function

    def call(self, name: str, *arguments: Any) -> int:
        """Call a function; return its code, 0 for success."""
        return int(self._functions[name](*arguments))
