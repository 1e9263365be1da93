# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Answers of an engine in this process, about pictures that come with the questions."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
import hashlib
import json
import time
from typing import Any
import uuid

from vlm_npu_ros.client.answer import Answer
from vlm_npu_ros.client.fields import answer_type
from vlm_npu_ros.engine.choices.checking import (
    checked_choices,
    checked_confidence,
    checked_numbers,
)
from vlm_npu_ros.engine.errors import (
    AnswerTimeoutError,
    as_vlm_error,
    BackendUnavailableError,
    CancelledError,
    ImageError,
    NotSupportedError,
    RequestError,
    VlmError,
)
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.image_files import decode_image, MAX_PIXELS
from vlm_npu_ros.engine.image_formats import format_of
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.json_answers import checked_schema
from vlm_npu_ros.engine.types import (
    Chunk,
    FinishReason,
    GenerationRequest,
    ImageEmbedding,
    YES_NO,
)
from vlm_npu_ros.gateway.source import answered, failed, into, Item, Items, Question, Source

_KEPT = 16  # encoded pictures: a dialogue sends them again with each question
# Of AskFields; the others are about cameras and dialogues of a node.
_KNOWN = {
    'yes_no', 'choices', 'number', 'unit', 'minimum', 'maximum', 'never_ask_back',
    'min_confidence', 'max_new_tokens', 'timeout', 'backend', 'json_schema',
    'system_prompt',
}


class EngineSource(Source):
    """
    Asks an engine, one question at a time; others wait in the order in which they came.

    backend: its name, for the statistics. new_tokens: longest answer, if a question does not say.
    waiting: questions that may wait. timeout: seconds, if a question does not say.
    """

    def __init__(
        self, engine: Engine, backend: str, new_tokens: int, waiting: int = 8,
        timeout: float = 120.0,
    ) -> None:
        self._engine, self._backend = engine, backend
        self._new_tokens, self._timeout = new_tokens, timeout
        self.most_open = waiting + 1
        self._embeddings: OrderedDict[bytes, ImageEmbedding] = OrderedDict()
        self._worker = ThreadPoolExecutor(1, 'answers')
        self._open: set[Cancellation] = set()

    @property
    def model(self) -> str:
        return self._engine.model_name

    @property
    def ready(self) -> bool:
        return self._engine.is_ready and not self._engine.failure

    def state(self) -> Mapping[str, Any]:
        engine = self._engine
        text = engine.failure or ('Answering questions' if engine.is_ready else 'Restarting')
        return {
            'node': '', 'lifecycle': '', 'ready': self.ready, 'model': self.model, 'cameras': [],
            'parts': [{
                'name': 'engine', 'level': 0 if self.ready else 2, 'message': text,
                'values': {
                    'backend': self._backend, 'model': self.model, 'restarts': engine.restarts,
                    'memory of the engine, MiB': engine.memory >> 20,
                },
            }],
        }

    async def ask(self, question: Question) -> Items:
        try:
            request = self._request(question)
        except VlmError as error:
            yield failed(error)
            return
        if not self.ready:
            yield failed(BackendUnavailableError(
                f'The engine is not ready: {self._engine.failure or "it restarts"}',
                'Ask again in some seconds',
            ))
            return
        limit = question.fields.get('timeout') or self._timeout
        items: asyncio.Queue[Item] = asyncio.Queue()
        put, cancelled = into(items), Cancellation()
        self._open.add(cancelled)
        asked = time.monotonic()
        work = _Work(self._engine, self._backend, self._images, request, cancelled, asked)
        self._worker.submit(lambda: put(work.run(question.pictures, put)))
        try:
            while True:
                left = asked + limit - time.monotonic()
                item = await asyncio.wait_for(items.get(), max(left, 0.0))
                yield item
                if isinstance(item, Answer):
                    return
        except asyncio.TimeoutError:
            yield failed(AnswerTimeoutError(
                f'The answer was not complete after {limit:g} s',
                'Allow more time, or ask for less',
            ), finish_reason='timeout')
        finally:
            cancelled.set()
            self._open.discard(cancelled)

    def _request(self, question: Question) -> GenerationRequest:
        fields = question.fields
        unknown = fields.keys() - _KNOWN
        if unknown:
            raise NotSupportedError(
                f'{", ".join(sorted(unknown))} is for cameras and dialogues of a node',
                'Leave it out, or ask the gateway of a node',
            )
        longest = fields.get('max_new_tokens') or self._new_tokens
        if longest >= self._engine.context:
            raise RequestError(
                f'max_new_tokens is {longest}, the context has {self._engine.context} tokens'
            )
        try:
            kind = answer_type(fields)
        except ValueError as error:
            raise RequestError(str(error)) from None
        number = checked_numbers(
            fields.get('minimum', 0.0), fields.get('maximum', 0.0), fields.get('unit', ''),
        ) if kind == 'number' else None
        schema = fields['json_schema'] if kind == 'json_schema' else None
        if isinstance(schema, Mapping):
            schema = json.dumps(schema)
        choices = checked_choices(fields['choices']) if kind == 'choices' else ()
        return GenerationRequest(
            question.text,
            (), longest, question.sampling, question.turns, keep=True,
            choices=YES_NO if kind == 'yes_no' else choices,
            min_probability=checked_confidence(fields.get('min_confidence', 0.0)), number=number,
            schema=None if schema is None else checked_schema(schema),
            system_prompt=fields.get('system_prompt', ''),
            ask_back=not fields.get('never_ask_back', False), backend=fields.get('backend', ''),
        )

    def _images(self, pictures: tuple[bytes, ...]) -> tuple[ImageEmbedding, ...]:
        """Encode pictures, in the worker; the same bytes give the same embedding."""
        images = []
        for data in pictures:
            key = hashlib.sha256(data).digest()
            image = self._embeddings.pop(key, None)
            if image is None:
                image = self._engine.encode(decoded(data))
            self._embeddings[key] = image  # the newest now
            images.append(image)
        while len(self._embeddings) > _KEPT:
            self._embeddings.popitem(last=False)
        return tuple(images)

    async def close(self) -> None:
        for cancelled in list(self._open):
            cancelled.set()
        self._worker.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._engine.close)


class _Work:
    """One question, in the worker's thread."""

    def __init__(
        self, engine: Engine, backend: str,
        images: Callable[[tuple[bytes, ...]], tuple[ImageEmbedding, ...]],
        request: GenerationRequest, cancelled: Cancellation, asked: float,
    ) -> None:
        self._engine, self._backend, self._images = engine, backend, images
        self._request, self._cancelled, self._asked = request, cancelled, asked
        self._text = ''
        self._times: dict[str, float] = {}

    def run(self, pictures: tuple[bytes, ...], put: Callable[[str], None]) -> Answer:
        """Answer; never raises."""
        self._times['queue_seconds'] = time.monotonic() - self._asked
        try:
            if self._cancelled.is_set():
                raise CancelledError('The client has gone')
            started = time.monotonic()
            images = self._images(pictures)
            self._times['encode_seconds'] = time.monotonic() - started
            fitted = self._engine.fit(self._request.with_images(images))
            last = Chunk('')
            for last in self._engine.write_out(fitted.request, self._cancelled):
                self._take(last, put)
            return self._end(last, fitted.dropped_turns)
        except Exception as error:
            return failed(as_vlm_error(error), text=self._text, stats=self._stats(None))

    def _take(self, chunk: Chunk, put: Callable[[str], None]) -> None:
        self._text = chunk.text if chunk.retracts else self._text + chunk.text
        if chunk.text:
            self._times.setdefault('first_token_seconds', time.monotonic() - self._asked)
            put(chunk.text)

    def _end(self, last: Chunk, dropped: int) -> Answer:
        verdict, decided = last.verdict, {}
        if verdict:
            decided = {
                'choice': self._request.decided(verdict),
                'choice_index': -1 if verdict.index is None else verdict.index,
                'number': verdict.number or 0.0, 'confidence': verdict.probability or 0.0,
                'decided_by': verdict.decided_by.value,
            }
        reason = last.finish_reason or FinishReason.ERROR
        answer = {
            'text': self._text, 'dropped_turns': dropped, 'note': last.note,
            'request_id': uuid.uuid4().hex[:12], 'finish_reason': reason.value,
            'stats': self._stats(last), **decided,
        }
        if not reason.is_whole:
            return failed(CancelledError('The question was cancelled'), **answer)
        return answered(**answer)

    def _stats(self, last: Chunk | None) -> dict[str, Any]:
        source, figures = last and last.source, last and last.figures
        return {
            'backend': source.backend if source else self._backend,
            'model': source.model if source else self._engine.model_name,
            'total_seconds': time.monotonic() - self._asked,
            **self._times,
            **({**vars(figures), 'tokens_per_second': figures.tokens_per_second}
               if figures else {}),
        }


def decoded(data: bytes) -> Any:
    """Decode a picture file as a photograph; raise ImageError, also if it is huge."""
    form = format_of(data)
    if form:
        facts = form.read(data)
        if facts.width * facts.height > MAX_PIXELS:
            raise ImageError(
                f'The picture is {facts.width}x{facts.height}: up to {MAX_PIXELS} pixels are '
                'taken', 'Reduce it')
    return decode_image(data, photograph=True)
