# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The two models of a backend, behind one lock."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
import functools
import math
import threading
import time

import numpy as np
from vlm_npu_ros.engine.backends.base import Answer, LanguageModel, VisionEncoder
from vlm_npu_ros.engine.choices.deciding import decide
from vlm_npu_ros.engine.errors import (
    BackendCrashedError,
    InactiveError,
    NotSupportedError,
    RequestError,
    VlmError,
)
from vlm_npu_ros.engine.generation import Cancellation, Generation, StreamedGeneration
from vlm_npu_ros.engine.interface import Engine, FittedRequest
from vlm_npu_ros.engine.json_answers import answer_json
from vlm_npu_ros.engine.locating.finding import Finder, grounding_of
from vlm_npu_ros.engine.stream import Stream
from vlm_npu_ros.engine.thoughts import answer_of, Habits
from vlm_npu_ros.engine.types import (
    Chunk,
    FinishReason,
    GenerationFigures,
    GenerationRequest,
    ImageEmbedding,
    NOTHING_READ,
    ReadAhead,
    Sampling,
)


def evenly(count: int, wanted: int) -> list[int]:
    """Pick indices of `wanted` out of `count` things, evenly spaced from the first to the last."""
    if wanted == 1:
        return [count - 1]
    return [round(i * (count - 1) / (wanted - 1)) for i in range(wanted)]


class NpuLock:
    """
    Lets one model run at a time, because an encoder and a language model at once can hang an NPU.

    If both wait, the generation goes first, but an encoding that has waited for a generation goes
    before the next one: neither waits for more than one of the other kind.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy = False
        self._encodings_waiting = self._generations_waiting = 0
        self._encoder_is_next = False

    @contextmanager
    def encoding(self) -> Iterator[None]:
        """Hold the NPU for an encoding."""
        with self._changed:
            self._encodings_waiting += 1
            try:
                self._changed.wait_for(
                    lambda: not self._busy
                    and (self._encoder_is_next or not self._generations_waiting)
                )
            finally:
                self._encodings_waiting -= 1
            self._busy, self._encoder_is_next = True, False
        try:
            yield
        finally:
            self._release()

    @contextmanager
    def idle(self) -> Iterator[bool]:
        """Hold the NPU if nothing else wants it; tell whether that is so."""
        with self._changed:
            waiting = self._encodings_waiting + self._generations_waiting
            is_idle = not (self._busy or waiting)
            self._busy |= is_idle
        try:
            yield is_idle
        finally:
            if is_idle:
                self._release()

    @contextmanager
    def generating(self) -> Iterator[None]:
        """Hold the NPU for a generation."""
        with self._changed:
            self._generations_waiting += 1
            try:
                self._changed.wait_for(lambda: not self._busy and not self._encoder_is_next)
            finally:
                self._generations_waiting -= 1
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._encoder_is_next = self._encodings_waiting > 0
            self._release()

    def _release(self) -> None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()


class LocalEngine(Engine):
    """
    Answers questions with the models of one backend, in this process.

    The models are loaded already. Exceptions of a backend that are not VlmErrors become
    BackendCrashedError.
    """

    def __init__(self, encoder: VisionEncoder, language_model: LanguageModel) -> None:
        self._encoder = encoder
        self._language_model = language_model
        self._habits = Habits(language_model.unopened_thoughts)
        self._npu = NpuLock()
        self._running = Cancellation()  # of what the language model did last
        self._closed = False

    @property
    def model_name(self) -> str:
        return self._language_model.name

    @property
    def probabilities(self) -> str:
        return self._language_model.probabilities

    @property
    def picture_size(self) -> int:
        """Side in pixels of the square that pictures are fitted into; 0 = any size is read."""
        return self._encoder.size

    @property
    def read_ahead(self) -> ReadAhead:
        return self._language_model.read_ahead

    def encode(self, rgb: np.ndarray) -> ImageEmbedding:
        turn = self._npu.encoding() if self._encoder.needs_npu else nullcontext()
        with turn, _typed_errors('The vision encoder'):
            self._check_open()
            started = time.perf_counter()
            data = self._encoder.encode(rgb)
            if not self._encoder.embedding_type.is_sound(data):
                raise BackendCrashedError(
                    f'The vision encoder returned {data.dtype} {data.shape}, '
                    'expected float32 (tokens, outputs, dim)'
                )
            return self._encoder.embedding_type(data, time.perf_counter() - started)

    def prepare(
        self, images: tuple[ImageEmbedding, ...], cancelled: Cancellation
    ) -> GenerationFigures:
        with self._npu.idle() as is_idle, _typed_errors('The language model'):
            if not (is_idle and self.read_ahead.possible):
                return NOTHING_READ
            stop = self._running = Cancellation(cancelled)
            self._check_open()
            if stop.is_set():
                return NOTHING_READ
            return self._language_model.prepare(images, stop)

    def generate(self, request: GenerationRequest) -> Generation:
        """Write an answer, in a thread of its own."""
        def begin(chunks: Stream[Chunk], cancelled: Cancellation, _: float | None) -> None:
            chunks.run(lambda: self.write(request, cancelled), 'answer')

        return StreamedGeneration(begin)

    def write(
        self, request: GenerationRequest, cancelled: Cancellation
    ) -> Generator[Chunk, None, None]:
        # The NPU is held until the iterator is exhausted or closed.
        if not request.question.strip():
            raise RequestError('The question is empty')
        if request.max_new_tokens < 1:
            raise RequestError(f'max_new_tokens must be at least 1, not {request.max_new_tokens}')
        sampling = request.sampling
        if not math.isfinite(sampling.temperature) or (sampling.seed or 0) < 0:
            raise RequestError(f'temperature must be finite and seed not negative: {sampling}')
        if request.system_prompt and not self._language_model.takes_system_prompt:
            raise NotSupportedError(
                f'The prompts of {self.model_name} have no place for a system_prompt',
                'Say it in the question, or choose the backend llamacpp or openai',
            )
        with self._npu.generating(), _typed_errors('The language model'):
            stop = self._running = Cancellation(cancelled)
            self._check_open()
            if stop.is_set():
                yield Chunk('', FinishReason.CANCELLED)
                return
            thing, request = request.question, self._instructed(request)
            write: Answer = self._answer
            if request.schema is not None:
                write = functools.partial(answer_json, self._language_model, self._answer)
            elif request.is_typed:
                write = functools.partial(decide, self._language_model, self._answer)
            elif request.locate:
                write = Finder(self._language_model, self._encoder, thing, self._answer).find
            for chunk in write(request, stop):
                if chunk.finish_reason is FinishReason.CANCELLED:
                    self._check_open()  # closing may be the reason
                yield chunk

    @property
    def context(self) -> int:
        return self._language_model.context

    def tokens(self, request: GenerationRequest) -> int:
        return self._language_model.tokens(self._instructed(request))

    def fit(self, request: GenerationRequest, limit: int = 0) -> FittedRequest:
        room = self._room(request, limit)
        if not self.fits(request, limit):
            with self._npu.generating(), _typed_errors('The language model'):
                stop = self._running = Cancellation()
                self._check_open()
                self._language_model.learn(self._instructed(request), room, stop)
        fitted, count = request, len(request.images)
        while fitted.turns and self.tokens(fitted) > room:
            fitted = replace(fitted, turns=fitted.turns[1:])
        kept = list(range(count))

        def thinned(wanted: int) -> GenerationRequest:
            images = tuple(request.images[i] for i in evenly(count, wanted))
            return replace(fitted, images=images)

        if count > 1 and self.tokens(fitted) > room:
            most = bisect_right(range(1, count), room, key=lambda n: self.tokens(thinned(n)))
            kept = evenly(count, max(most, 1))
            fitted = thinned(len(kept))
        return FittedRequest(fitted, tuple(kept), len(request.turns) - len(fitted.turns))

    def fits(self, request: GenerationRequest, limit: int = 0) -> bool:
        """Tell whether nothing need be left out; False may also mean that it is not known yet."""
        return self.tokens(request) <= self._room(request, limit)

    def _room(self, request: GenerationRequest, limit: int) -> int:
        room = self.context - request.max_new_tokens
        return min(limit, room) if limit else room

    def _instructed(self, request: GenerationRequest) -> GenerationRequest:
        """Word the question so that it asks for what the answer is to be."""
        if request.schema is not None and not self._language_model.instructions.json:
            raise NotSupportedError(
                f'The model {self.model_name} writes no JSON',
                'Ask for choices or a number, or choose a larger model',
            )
        if request.locate:
            asked = grounding_of(self._language_model).ask(request.question)
            return replace(request, question=asked, sampling=Sampling())
        if not request.is_typed and request.schema is None:
            return request
        return replace(request, question=self._language_model.instructions.apply(request))

    def _answer(self, request: GenerationRequest, stop: Cancellation) -> Iterator[Chunk]:
        """Yield what the model answers, and apart from it what it thinks."""
        chunks = self._language_model.generate(request, stop)
        return answer_of(chunks, request, self._habits, stop)

    def pause(self) -> None:
        """Cancel the running generation or reading; an encoding cannot be stopped."""
        self._running.set()

    def close(self) -> None:
        """
        Free the models; may be called twice.

        Waits for a running encoding; the running generation and all waiting calls end with
        InactiveError.
        """
        self._closed = True
        self._running.set()
        with self._npu.generating():
            self._language_model.close()
            self._encoder.close()

    def _check_open(self) -> None:
        if self._closed:
            raise InactiveError('The engine is closed')


@contextmanager
def _typed_errors(part: str) -> Iterator[None]:
    try:
        yield
    except VlmError:
        raise
    except Exception as error:
        raise BackendCrashedError(f'{part} failed: {type(error).__name__}: {error}') from error
