"""Failures of a server, as errors of this package that say what to do."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
import re
import time
from typing import Any

import openai
from vlm_npu_ros.engine.backends.openai.messages import whole
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.errors import (
    BackendCrashedError,
    BackendUnavailableError,
    ContextError,
    ModelFileError,
    RequestError,
    VlmError,
)

_LONGEST = 300  # characters of what a server says
# llama.cpp, vLLM and OpenAI, llama-cpp-python, Ollama.
_CONTEXT = re.compile(
    r'exceed_context_size|context_length_exceeded|exceeds? (the )?(available |maximum )?context'
    r'|maximum context length|input length and|prompt is too long|too long.{0,40}context',
    re.IGNORECASE,
)
_CONTEXT_SIZE = re.compile(r'context (?:length|size|window)\D{0,10}(\d{2,9})', re.IGNORECASE)
_NO_VISION = re.compile(
    r'(image|vision|multimodal).{0,40}(not supported|not enabled|unsupported)'
    r'|(not a multimodal|(does not|doesn.t|not) support.{0,40}(image|vision|multimodal))',
    re.IGNORECASE,
)
# FastAPI's, which llama-cpp-python sends as a failure of its own.
_INVALID = re.compile(r'validation error', re.IGNORECASE)


class Failures:
    """
    Turns what the client raises into errors of this package, none of which contains the key.

    key: of the server; '' = no key.
    """

    def __init__(self, settings: OpenAISettings, key: str) -> None:
        self._settings, self._key = settings, key
        self.where = f'The server {settings.base_url}'

    def explain(self, error: Exception, begun: bool) -> VlmError:
        """
        Find the error to raise instead of what the client raised.

        begun: whether a part of the answer had already come.
        """
        said = self.said(error)
        if isinstance(error, openai.APIError) and _CONTEXT.search(said):
            return ContextError(
                f'{self.where} has no room for that: {said}',
                'Ask less, lower max_new_tokens, or give the server a larger context',
            )
        if isinstance(error, openai.APIError) and _NO_VISION.search(said):
            return ModelFileError(
                f'{self.where} shows its model no pictures: {said}',
                'Serve a model that sees, with its vision encoder (llama.cpp: --mmproj)',
            )
        if isinstance(error, openai.APIStatusError):
            if _INVALID.search(said):
                return RequestError(f'{self.where} refuses that: {said}')
            return self._refused(error.status_code, said)
        if isinstance(error, openai.APIConnectionError) and not begun:
            remedy = 'Start it, or set openai.base_url'
            if 'CERTIFICATE' in said:
                remedy = 'Name its authority in SSL_CERT_FILE, or set openai.base_url'
            return BackendUnavailableError(f'{self.where} cannot be reached: {said}', remedy)
        remedy = 'Look into its log' if begun else 'Look into its log, or set openai.base_url'
        return BackendCrashedError(f'{self.where} did not send a whole answer: {said}', remedy)

    def _refused(self, status: int, said: str) -> VlmError:
        answered = f'{self.where} answered {status}: {said}'
        if status in (401, 403):
            settings = self._settings
            place = (
                f'the file {settings.api_key_file} (openai.api_key_file)' if settings.api_key_file
                else f'the environment variable {settings.api_key_env} (openai.api_key_env)'
            )
            return BackendUnavailableError(answered, f'Put a valid key into {place}')
        if status == 404:
            return ModelFileError(answered, 'Set openai.base_url and openai.model')
        if status in (400, 409, 413, 415, 422):
            return RequestError(answered)
        return BackendUnavailableError(answered, 'Look into its log, or ask again later')

    def said(self, error: Exception) -> str:
        """Put what an error says on one line, without the key."""
        text = whole(_message(error))
        if self._key:
            text = text.replace(self._key, '***')
        return ' '.join(text.split())[:_LONGEST].rstrip('.')


def context_size(text: str) -> int:
    """Find how many tokens the context has by an error message; 0 = it does not say."""
    found = _CONTEXT_SIZE.search(text)
    return int(found[1]) if found else 0


def may_pass(error: Exception) -> bool:
    """Tell whether another attempt may succeed."""
    if isinstance(error, openai.APIStatusError):
        said = _message(error)
        lasting = any(known.search(said) for known in (_CONTEXT, _NO_VISION, _INVALID))
        return (error.status_code in (408, 429) or error.status_code >= 500) and not lasting
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


def _message(error: Exception) -> str:
    """Find the server's own words, or those of the innermost cause."""
    if isinstance(error, openai.APIConnectionError):
        cause: BaseException = error
        while inner := cause.__cause__ or cause.__context__:
            cause = inner
        return f'{type(cause).__name__} {cause}'.strip()
    body = getattr(error, 'body', None)
    if isinstance(body, dict):
        told = body.get('error', body)
        kind = told.get('type') or told.get('code') if isinstance(told, dict) else ''
        message = told.get('message') if isinstance(told, dict) else told
        if message:
            return f'{message} ({kind})' if kind else str(message)
    return str(error)
