# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Errors as HTTP knows them, in OpenAI's form."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse
from vlm_npu_ros.client.answer import Answer
from vlm_npu_ros.engine import errors
from vlm_npu_ros.engine.errors import VlmError

# By the error codes of questions: status, and OpenAI's name if it has one.
_STATUS: dict[int, tuple[int, str]] = {
    errors.NoFrameError.code: (503, 'no_frame'),
    errors.StaleFrameError.code: (503, 'stale_frame'),
    errors.ImageError.code: (400, 'invalid_image'),
    errors.RequestError.code: (400, 'invalid_request'),
    errors.ContextError.code: (400, 'context_length_exceeded'),
    errors.BusyError.code: (429, 'rate_limit_exceeded'),
    errors.InactiveError.code: (503, 'inactive'),
    errors.AnswerTimeoutError.code: (504, 'timeout'),
    errors.CancelledError.code: (409, 'cancelled'),
    errors.BackendCrashedError.code: (503, 'backend_crashed'),
    errors.BackendUnavailableError.code: (503, 'backend_unavailable'),
    errors.ModelFileError.code: (503, 'model_files'),
    errors.UnsupportedRuntimeError.code: (503, 'unsupported_runtime'),
    errors.NotSupportedError.code: (400, 'not_supported'),
    errors.AnswerFormError.code: (502, 'bad_answer'),
}
_TYPES = {400: 'invalid_request_error', 404: 'invalid_request_error', 429: 'rate_limit_error'}
_RETRY_SECONDS = {429: '1', 503: '2'}


class ApiError(Exception):
    """
    Ends a request with an error.

    param: name of the argument that is the reason; '' = none is.
    """

    def __init__(
        self, words: str, status: int = 400, code: str = 'invalid_request', param: str = ''
    ) -> None:
        super().__init__(words)
        self.words, self.status, self.code, self.param = words, status, code, param

    @property
    def body(self) -> dict[str, Any]:
        """Return it as OpenAI's servers write it."""
        kind = _TYPES.get(self.status, 'server_error')
        return {'error': {
            'message': self.words, 'type': kind, 'param': self.param or None, 'code': self.code,
        }}

    @property
    def response(self) -> JSONResponse:
        retry = _RETRY_SECONDS.get(self.status)
        return JSONResponse(self.body, self.status, {'Retry-After': retry} if retry else None)


def of_code(code: int, words: str) -> ApiError:
    """Make the error of a question that ended with this code."""
    return ApiError(words, *_STATUS.get(code, (500, 'internal')))


def of_answer(answer: Answer) -> ApiError:
    """Make the error of an answer that is not complete."""
    return of_code(answer.error_code, answer.error)


def of_error(error: VlmError) -> ApiError:
    """Make the error of an exception of this package."""
    return of_code(error.code, str(error))
