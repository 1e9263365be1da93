# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Failures of a server, as errors of this package that say what to do."""

from __future__ import annotations

from collections.abc import Collection
from email.utils import parsedate_to_datetime
import json
import os
import re
import ssl
import time
from typing import Any

import openai
from vlm_npu_ros.engine.backends.openai.complaints import Complaint, is_page, read_complaint
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.control_tags import whole
from vlm_npu_ros.engine.errors import (
    BackendCrashedError,
    BackendUnavailableError,
    ContextError,
    ModelFileError,
    NotSupportedError,
    RequestError,
    VlmError,
)

_NOT_ABOUT_QUESTIONS = (401, 402, 403, 429)
_LONGEST = 300  # characters of what a server says
# FastAPI's, which llama-cpp-python sends as a failure of its own.
_INVALID = re.compile(r'validation error', re.IGNORECASE)


class StreamError(Exception):
    """
    What a server sends within an answer instead of its next part.

    body: JSON of any shape, or a text.
    """

    def __init__(self, body: Any) -> None:
        super().__init__(str(body))
        self.body = body


class RefusedError(NotSupportedError):
    """
    A server does not take some arguments, so another one may answer.

    names: of these. values: whether it is only their values that it refuses.
    """

    names: frozenset[str] = frozenset()
    values = False


class Failures:
    """
    Turns what the client raises into errors of this package, none of which contains the key.

    key: of the server; '' = no key.
    """

    def __init__(self, settings: OpenAISettings, key: str) -> None:
        self._settings, self._key = settings, key
        self.where = settings.title

    def explain(
        self, error: Exception, begun: bool, pictures: bool = False, asked: Collection[str] = ()
    ) -> VlmError:
        """
        Find the error to raise instead of what the client raised.

        begun: whether a part of the answer had already come.
        pictures: whether the question has some.
        asked: names of the arguments that a server may refuse.
        """
        said, complaint = self.said(error), _complaint(error)
        status = getattr(error, 'status_code', 0) or (0 if begun else complaint.status)
        if status in (400, 422) and not complaint.about_context:
            refusal = _refusal(f'{self.where} answered {status}: {said}', complaint, asked)
            if isinstance(refusal, RefusedError):
                return refusal
        understood = self._understood(complaint, status, said, pictures)
        if understood:
            return understood
        if status:
            return self._refused(status, said, complaint, asked)
        if isinstance(error, openai.APIConnectionError) and not begun:
            remedy = 'Start it, or set openai.base_url'
            if 'CERTIFICATE' in said:
                remedy = 'Name its authority in SSL_CERT_FILE, or set openai.base_url'
            return BackendUnavailableError(f'{self.where} cannot be reached: {said}', remedy)
        remedy = 'Look into its log' if begun else 'Look into its log, or set openai.base_url'
        return BackendCrashedError(f'{self.where} did not send a whole answer: {said}', remedy)

    def page(self, text: str) -> BackendUnavailableError:
        """Make the error for what is no answer at all, such as a web page."""
        said = self._line(read_complaint(text).words)[:80]
        kind = 'web page' if is_page(text) else 'text'
        base = self._settings.base_url.rstrip('/')
        version = '' if base.endswith('/v1') else f': is /v1 missing? {base}/v1'
        return BackendUnavailableError(
            f'{self.where} answers with a {kind} ({said}) instead of JSON',
            f'Set openai.base_url to the address of its API{version}',
        )

    def _understood(
        self, complaint: Complaint, status: int, said: str, pictures: bool
    ) -> VlmError | None:
        """Find out what a server complains about, whatever the status."""
        if status in (*_NOT_ABOUT_QUESTIONS, 404) or status >= 500 and complaint.passes:
            return None
        most = complaint.most_pictures
        if most:
            return NotSupportedError(
                f'{self.where} takes fewer pictures in a question: {said}',
                'Ask about fewer frames or cameras, or let it take more (vLLM: '
                '--limit-mm-per-prompt)',
            )
        if most is None and complaint.about_context:
            error = ContextError(
                f'{self.where} has no room for that: {said}',
                'Ask less, lower max_new_tokens, or give the server a larger context',
            )
            error.size = complaint.context_size
            return error
        if complaint.about_vision(pictures):
            return ModelFileError(
                f'{self.where} shows its model no pictures: {said}',
                'Serve a model that sees, with its vision encoder (llama.cpp: --mmproj)',
            )
        return None

    def _refused(
        self, status: int, said: str, complaint: Complaint, asked: Collection[str]
    ) -> VlmError:
        answered = f'{self.where} answered {status}: {said}'
        if status in (401, 403) or complaint.about_key:
            settings = self._settings
            place = (
                f'the file {settings.api_key_file} (openai.api_key_file)' if settings.api_key_file
                else f'the environment variable {settings.api_key_env} (openai.api_key_env)'
            )
            return BackendUnavailableError(answered, f'Put a valid key into {place}')
        if status == 404:
            return ModelFileError(answered, 'Set openai.base_url and openai.model')
        if _INVALID.search(said):
            answered, status = f'{self.where} refuses that: {said}', 400
        if status == 413:
            return NotSupportedError(answered, 'Lower openai.image_size, or ask about less')
        if status in (400, 409, 415, 422):
            return _refusal(answered, complaint, asked)
        return BackendUnavailableError(answered, 'Look into its log, or ask again later')

    def said(self, error: Exception) -> str:
        """Put what an error says on one line, without the key."""
        if isinstance(error, openai.APITimeoutError):  # the other limits are the reader's
            seconds = self._settings.connect_timeout
            return f'no connection within {seconds:g} s (openai.connect_timeout)'
        return self._line(_words(error))

    def _line(self, text: str) -> str:
        text = whole(text)
        if self._key:
            text = text.replace(self._key, '***')
        return ' '.join(text.split())[:_LONGEST].rstrip('.')


def may_pass(error: Exception) -> bool:
    """Tell whether another attempt may succeed."""
    if isinstance(error, openai.APIStatusError):
        complaint, status = _complaint(error), error.status_code
        lasting = status not in _NOT_ABOUT_QUESTIONS and (
            complaint.about_context or complaint.about_vision(False)
            or complaint.most_pictures is not None or _INVALID.search(complaint.message)
        ) and not complaint.passes
        return (status in (408, 429) or status >= 500) and not lasting
    return isinstance(error, openai.APIConnectionError)


def retry_after(error: Exception) -> float:
    """Find how many seconds the server asks to wait; 0 = it does not ask."""
    headers: Any = getattr(getattr(error, 'response', None), 'headers', {})
    wanted = headers.get('retry-after', '')
    if wanted.isdecimal():
        return float(wanted)
    try:
        return max(parsedate_to_datetime(wanted).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _refusal(answered: str, complaint: Complaint, asked: Collection[str]) -> RequestError:
    """Make the error of a request that is refused, with the arguments that are the reason."""
    text = ' '.join((complaint.message, *complaint.codes))
    names = frozenset(name for name in asked if re.search(rf'(?<!\w){name}(?!\w)', text))
    if not names:
        return RequestError(answered)
    error = RefusedError(answered)
    error.names = names
    error.values = bool(re.search('value|should be|must be|one of', text, re.I))
    return error


def _complaint(error: Exception) -> Complaint:
    """Read what the server itself says about it; nothing if it could not say anything."""
    if isinstance(error, StreamError):
        return read_complaint(error.body)
    if not isinstance(error, openai.APIStatusError):
        return Complaint()
    try:
        text = error.response.text
    except RuntimeError:  # it was not read, or closed
        return read_complaint(error.body)
    try:
        return read_complaint(json.loads(text))
    except (ValueError, RecursionError):
        return read_complaint(text)


def _words(error: Exception) -> str:
    """Find the server's own words, or those of the innermost cause."""
    words = _complaint(error).words
    if words:
        return words
    if isinstance(error, openai.APIConnectionError):
        cause: BaseException = error
        while inner := cause.__cause__ or cause.__context__:
            cause = inner
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.errno:
            return os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
        return f'{type(cause).__name__} {cause}'.strip()
    return str(error)
