# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The functions of librkllmrt.so, with the signatures of its version."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_int, c_void_p, POINTER, sizeof
import logging
import math
import struct
from typing import Any

from vlm_npu_ros.engine.backends.rknpu.abi import Abi
from vlm_npu_ros.engine.backends.rknpu.runtime import RuntimeLibrary
from vlm_npu_ros.engine.errors import BackendUnavailableError, UnsupportedRuntimeError

_log = logging.getLogger(__name__)


class _Oversized(ctypes.Structure):
    """Room for the RKLLMParam of any version, so that a wrong guess overruns nothing."""

    _fields_ = [('data', ctypes.c_uint8 * 512)]


class RkllmLibrary:
    """
    A loaded librkllmrt.so.

    Functions return the runtime's code, 0 for success. Raises BackendUnavailableError if the
    file cannot be loaded, UnsupportedRuntimeError if it lacks a function of its version.
    """

    def __init__(self, runtime: RuntimeLibrary) -> None:
        self.runtime = runtime
        self.abi: Abi = runtime.abi
        try:
            # By its full path: the file that was identified, not another of that name.
            self._library = ctypes.CDLL(str(runtime.path))
        except OSError as error:
            raise BackendUnavailableError(
                f'{runtime.path} cannot be loaded: {error}', 'Install libgomp1 and libstdc++6'
            ) from error
        structs, abi, handle = self.abi.structs, self.abi, c_void_p
        # int rkllm_init(LLMHandle* handle, RKLLMParam* param, LLMResultCallback callback);
        # from 1.3.0 on the last one is RKLLMCallback*
        callback = POINTER(structs['RKLLMCallback']) if abi.has_request_limits else abi.callback
        self.init = self._typed(
            'rkllm_init', POINTER(handle), POINTER(structs['RKLLMParam']), callback
        )
        # int rkllm_run(LLMHandle, RKLLMInput* input, RKLLMInferParam* params, void* userdata);
        self.run = self._typed(
            'rkllm_run',
            handle, POINTER(structs['RKLLMInput']), POINTER(structs['RKLLMInferParam']), c_void_p,
        )
        # int rkllm_abort(LLMHandle handle);
        self.abort = self._typed('rkllm_abort', handle)
        # int rkllm_destroy(LLMHandle handle);
        self.destroy = self._typed('rkllm_destroy', handle)
        if abi.has_chat_template:
            # int rkllm_set_chat_template(LLMHandle handle, const char* system_prompt,
            #                             const char* prompt_prefix, const char* prompt_postfix);
            texts = [c_char_p] * 3
            self.set_chat_template = self._typed('rkllm_set_chat_template', handle, *texts)
            # int rkllm_clear_kv_cache(LLMHandle handle, int keep_system_prompt);
            # from 1.2.1 on also: int* start_pos, int* end_pos
            ranges = [POINTER(c_int)] * 2 if abi.has_figures else []
            self._clear = self._typed('rkllm_clear_kv_cache', handle, c_int, *ranges)

    def _typed(self, name: str, *arguments: Any) -> Any:
        try:
            function = getattr(self._library, name)
        except AttributeError as error:
            raise UnsupportedRuntimeError(
                f'{self.runtime.path} was taken for {self.runtime.version} '
                f'({self.runtime.evidence}), but has no {name}'
            ) from error
        function.restype, function.argtypes = c_int, arguments
        return function

    def clear_kv_cache(self, handle: c_void_p, keep_system: bool) -> int:
        """Forget all turns and images, and the system prompt if it is not to be kept."""
        ranges = (None, None) if self.abi.has_figures else ()
        return int(self._clear(handle, keep_system, *ranges))

    def default_param(self) -> Any:
        """Get the runtime's RKLLMParam; raise UnsupportedRuntimeError if it has another layout."""
        # RKLLMParam rkllm_createDefaultParam();
        create = self._library.rkllm_createDefaultParam
        create.restype, create.argtypes = _Oversized, ()
        data = bytes(create().data)
        fitting = _classes_of_defaults(data)
        if not fitting:
            _log.info('The defaults of %s are not the documented ones', self.runtime.path)
        elif self.abi.name not in fitting:
            raise UnsupportedRuntimeError(
                f'{self.runtime.path} was taken for {self.runtime.version} '
                f'({self.runtime.evidence}), but its default parameters lie where the interface '
                f'classes {"/".join(fitting)} have them, not class {self.abi.name}',
                'Replace it with an official release, or correct the parameter '
                'rknpu.runtime_version',
            )
        param = self.abi.structs['RKLLMParam']()
        ctypes.memmove(byref(param), data, sizeof(param))
        return param


def _classes_of_defaults(data: bytes) -> str:
    """Tell in the layouts of which classes the documented defaults appear; '' = in none."""
    def floats(offset: int) -> bool:
        tau, eta = struct.unpack_from('<ff', data, offset)
        return math.isclose(tau, 5.0, abs_tol=1e-4) and math.isclose(eta, 0.1, abs_tol=1e-4)

    if floats(44):
        return 'A'
    # enabled_cpus_num, an int8 documented as 4 by default; 0 in other layouts
    places = (('BCD', 93), ('EF', 65)) if floats(48) else ()
    return ''.join(classes for classes, offset in places if 1 <= data[offset] <= 8)
