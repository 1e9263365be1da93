# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A model that librkllmrt.so holds: loaded, run, cancelled, freed."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ctypes import byref, c_void_p
from dataclasses import dataclass
import functools
import logging
import os
from pathlib import Path
import re
import threading
from typing import Any, NamedTuple

import numpy as np
from vlm_npu_ros.engine.backends.rknpu.abi import INFER_GENERATE, INFER_LOGITS, RUN_FINISH
from vlm_npu_ros.engine.backends.rknpu.library import RkllmLibrary
from vlm_npu_ros.engine.backends.rknpu.runtime import RUNTIMES
from vlm_npu_ros.engine.backends.rknpu.shared_npu import SharedNpu
from vlm_npu_ros.engine.errors import (
    BackendCrashedError,
    ModelFileError,
    UnsupportedRuntimeError,
)
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.models import ChatTemplate
from vlm_npu_ros.engine.native_log import native_log
from vlm_npu_ros.engine.stream import Stream

_log = logging.getLogger(__name__)
_BANNER = re.compile(r'rkllm-runtime version: ([^,\s]+), rknpu driver version: ([^,\s]+)')
# What 1.1.x prints when it has loaded nothing and returns 0 (airockchip/rknn-llm #129, #156).
_SILENT_FAILURE = re.compile(r'invalid rknn llm model|load model file error|rknn_init fail')
_COMPLAINT = re.compile(r'^E |error|fail|invalid|must|lower than|mismatch', re.IGNORECASE)


class Figures(NamedTuple):
    """RKLLMPerfStat."""

    prefill_ms: float
    prefill_tokens: int
    generate_ms: float
    generate_tokens: int
    memory_mb: float


@dataclass(frozen=True)
class Result:
    """What one callback told, copied: the runtime's memory is gone when the callback returns."""

    state: int  # RUN_*
    text: bytes
    token: int
    figures: Figures | None
    rows: np.ndarray | None = None  # (n, width), the last that INFER_HIDDEN or INFER_LOGITS gave

    @property
    def row(self) -> np.ndarray | None:
        """Return the last one."""
        return None if self.rows is None else self.rows[-1]


class RkllmHandle:
    """
    Owns one loaded model.

    param: RKLLMParam of the library's version, filled.
    template: to put around questions; None = the model's own.
    npu: is held during each run.
    Raises ModelFileError with what the runtime printed if it does not load the model.
    """

    def __init__(
        self, library: RkllmLibrary, path: Path, param: Any, template: ChatTemplate | None,
        npu: SharedNpu,
    ) -> None:
        self._library, self._npu = library, npu
        self._handle = c_void_p()
        self._results: Stream[Result | BaseException] = Stream()  # of the last run
        self._mode, self._most = INFER_GENERATE, 1
        self._running = threading.Lock()  # held while a flag and an abort must agree
        self._is_running = self._is_aborted = False
        param.model_path = os.fsencode(path)
        # The runtime keeps the pointers: they must live as long as the model.
        self.param = param
        self._callback = library.abi.callback(self._on_result)
        with native_log() as lines:
            code = library.init(byref(self._handle), byref(param), self._callback_argument())
        self._check_loaded(path, code, lines)
        self.driver = self._check_banner(lines)
        self._template = template
        try:
            self._frame()
        except BackendCrashedError:
            self.close()
            raise

    def _frame(self, said: str = '') -> None:
        """Set the template, if it is not the model's own, and the beginning of the answer."""
        template = self._template
        if template is not None and self._library.abi.has_chat_template:
            parts = (template.system, template.prefix, template.postfix + said)
            encoded = (part.encode('utf-8', 'replace') for part in parts)
            code = self._library.set_chat_template(self._handle, *encoded)
            if code != 0:
                raise BackendCrashedError(f'rkllm_set_chat_template returned {code}')

    def frame(self, template: ChatTemplate) -> None:
        """Set what is put around questions; what has been read must be cleared then."""
        self._template = template
        self._frame()

    @contextmanager
    def begun(self, said: str) -> Iterator[None]:
        """Let answers begin with a text, where there is one; the template must be our own."""
        if said:
            self._frame(said)
        try:
            yield
        finally:
            if said:
                self._frame()

    def _callback_argument(self) -> Any:
        if not self._library.abi.has_request_limits:
            return self._callback
        self._callbacks = self._library.abi.structs['RKLLMCallback'](self._callback)
        return byref(self._callbacks)

    def _check_loaded(self, path: Path, code: int, lines: Sequence[str]) -> None:
        complaints = [line.strip() for line in lines if _COMPLAINT.search(line)]
        silent = next((line for line in complaints if _SILENT_FAILURE.search(line)), '')
        if code == 0 and self._handle and not silent:
            return
        # Not freed: rkllm_destroy of a model that is half there crashes.
        self._handle = c_void_p()
        raise ModelFileError(
            f'{path} could not be loaded by the runtime {self._library.runtime.version} '
            f'(rkllm_init returned {code}): {"; ".join(complaints[-4:]) or "it gave no reason"}',
            'Run `vlm-npu doctor` to compare model, runtime, driver and memory',
        )

    def _check_banner(self, lines: Sequence[str]) -> str:
        """Check the runtime's version, give the driver's; '' if it was not printed."""
        banner = next(filter(None, map(_BANNER.search, lines)), None)
        if banner is None:
            return ''
        printed, runtime = banner[1], self._library.runtime
        if printed in RUNTIMES and RUNTIMES[printed].abi is not runtime.abi:
            self.close()
            raise UnsupportedRuntimeError(
                f'{runtime.path} was taken for {runtime.version} ({runtime.evidence}), but calls '
                f'itself {printed}',
                'Replace it with an official release',
            )
        return banner[2]

    def _on_result(self, result: Any, userdata: int | None, state: int) -> int:
        # An exception or None would reach the runtime as garbage, which it takes for 'pause'.
        try:
            self._results.put(_copied(result, state, self._mode, self._most))
        except BaseException as error:  # noqa: B902
            self._results.put(error)
        return 0

    def run(
        self, request: Any, infer: Any, cancelled: Cancellation,
        patience: float | None = None, rows: int = 1,
    ) -> Generator[Result, None, None]:
        """
        Yield what the callbacks tell until the run has ended.

        request, infer: RKLLMInput and RKLLMInferParam, alive until then. An iterator that is
        closed early aborts the run and waits for its end. patience: seconds without a result
        after which the run is aborted. rows: to copy at most from each result.
        """
        results = self._results = Stream()
        self._is_running, self._is_aborted = True, False
        self._mode, self._most = infer.mode, rows
        cancelled.add_callback(functools.partial(self._abort, results))
        results.run(functools.partial(self._run, request, infer), 'rkllm')
        try:
            while True:
                try:
                    result = results.next(patience)
                except StopIteration:
                    break
                except TimeoutError:
                    self._abort(results)
                    continue
                if isinstance(result, BaseException):
                    raise BackendCrashedError(f'A result could not be read: {result!r}')
                yield result
                if cancelled.is_set():
                    self._abort(results)  # again: one while the prompt is read may be lost
        finally:
            self._abort(results)
            with suppress(BackendCrashedError):  # whoever has left does not want to know
                for _ in results:
                    self._abort(results)

    def _run(self, request: Any, infer: Any) -> Iterable[Result]:
        """Run; nothing comes from here but errors, the results come from the callback."""
        code = 0
        with self._npu.held(lambda: self._is_aborted):
            if not self._is_aborted:  # while it waited for another program
                code = self._library.run(self._handle, byref(request), byref(infer), None)
        with self._running:
            self._is_running = False
        if code != 0 and not self._is_aborted:
            raise BackendCrashedError(
                f'rkllm_run returned {code}: the runtime refused the request, see its log'
            )
        return ()

    def _abort(self, results: Stream[Result | BaseException]) -> None:
        """Ask the run that these results are of to end, if it has not; from any thread."""
        with self._running:
            if self._is_running and self._results is results:
                self._is_aborted = True
                if self._library.abort(self._handle) != 0:
                    _log.debug('rkllm_abort did not take effect')

    def clear(self, keep_system: bool = True) -> None:
        """Forget what earlier runs left behind, images included; the system prompt may stay."""
        if self._library.abi.has_chat_template:
            code = self._library.clear_kv_cache(self._handle, keep_system)
            if code != 0:
                raise BackendCrashedError(
                    f'rkllm_clear_kv_cache returned {code}: the next answer could be about an '
                    'earlier image'
                )

    def close(self) -> None:
        """Free the model; may be called twice, but not while it runs."""
        self._npu.close()
        handle, self._handle = self._handle, c_void_p()
        if handle:
            code = self._library.destroy(handle)
            if code != 0:
                _log.warning('rkllm_destroy returned %d: its memory may be lost', code)


def _copied(result: Any, state: int, mode: int, most: int) -> Result:
    if not result:
        return Result(state, b'', -1, None)
    content = result.contents
    figures = None
    if state == RUN_FINISH and hasattr(content, 'perf'):
        figures = Figures(*(getattr(content.perf, name) for name, _ in content.perf._fields_))
    rows = None if mode == INFER_GENERATE else _last_rows(content, mode, most)
    return Result(state, content.text or b'', content.token_id, figures, rows)


def _last_rows(content: Any, mode: int, most: int) -> np.ndarray | None:
    if mode == INFER_LOGITS:
        data, width = content.logits.logits, content.logits.vocab_size
        count = content.logits.num_tokens
    else:
        hidden = content.last_hidden_layer
        data, width, count = hidden.hidden_states, hidden.embd_size, hidden.num_tokens
    if not data or width < 1 or count < 1:
        return None
    return np.ctypeslib.as_array(data, (count, width))[-most:].copy()
