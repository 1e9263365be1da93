# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Given answers at given speeds: for tests, dry runs of missions, and timing without a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
import itertools
import re
import time

import numpy as np
from vlm_npu_ros.engine.backends.backend import Backend, Models
from vlm_npu_ros.engine.backends.base import LanguageModel, VisionEncoder
from vlm_npu_ros.engine.choices.instructions import PLAIN
from vlm_npu_ros.engine.errors import ContextError, ImageError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.locating.grounding import Grounding
from vlm_npu_ros.engine.options import option
from vlm_npu_ros.engine.progress import Event, Progress
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import (
    Chunk,
    FinishReason,
    GenerationFigures,
    GenerationRequest,
    ImageEmbedding,
    ReadAhead,
    same_images,
)

_WORD = re.compile(r'\s*\S+\s*$|\s*\S+')


@dataclass(frozen=True)
class ScriptedTimings:
    """Speeds to imitate."""

    encode_seconds: float = option(0.0, 'Time of one encoding.', 0.0, 3600.0, unit='s')
    prefill_rate: float = option(
        0.0, 'Prompt tokens per second; 0 = at once.', 0.0, 1e9, least=0.001, unit='tokens/s'
    )
    decode_rate: float = option(
        0.0, 'New tokens per second; 0 = at once.', 0.0, 1e9, least=0.001, unit='tokens/s'
    )
    image_tokens: int = option(64, 'Tokens of one image.', 1, 100000, unit='tokens')
    context: int = 4096


@dataclass(frozen=True)
class ScriptedSettings(ScriptedTimings):
    """Settings of the backend scripted."""

    answers: tuple[str, ...] = option(
        ('I see what I was told to see.',), 'Answers of the scripted backend, given in turn.'
    )


AT_ONCE = ScriptedTimings()


class ScriptedEncoder(VisionEncoder):
    """Returns the picture's mean colour as every token, after the time that it is to take."""

    def __init__(self, timings: ScriptedTimings = AT_ONCE) -> None:
        self._timings = timings

    def encode(self, rgb: np.ndarray) -> np.ndarray:
        """Return (image_tokens, 1, 3)."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
            raise ImageError(f'An image must be height x width x 3, not {rgb.shape} {rgb.dtype}.')
        time.sleep(self._timings.encode_seconds)
        mean = rgb.reshape(-1, 3).mean(0, dtype=np.float32)
        return np.tile(mean, (self._timings.image_tokens, 1, 1))


class ScriptedLanguageModel(LanguageModel):
    """
    Answers with what it was given, one word a token.

    answers: question to answer, or answers to give one after the other, over and over.
    reads_ahead: it keeps the images that were read last, as a cache does.
    """

    name = 'scripted'
    instructions = PLAIN
    takes_system_prompt = True
    grounding = Grounding('{object}')  # answers are to be JSON, of 1000

    def __init__(
        self, answers: Mapping[str, str] | Sequence[str], timings: ScriptedTimings = AT_ONCE,
        reads_ahead: bool = False,
    ) -> None:
        self.context = timings.context
        self._answers = answers
        self._in_turn = itertools.cycle(() if isinstance(answers, Mapping) else answers)
        self._timings = timings
        self.read_ahead = ReadAhead.wanted(reads_ahead)
        self._cache: tuple[tuple[ImageEmbedding, ...], int] = (), 0  # images, tokens read of them

    def prepare(
        self, images: tuple[ImageEmbedding, ...], cancelled: Cancellation
    ) -> GenerationFigures:
        started = time.perf_counter()
        tokens = sum(image.tokens for image in images)
        missing = tokens - self._held(images)
        read = self._read(missing, cancelled)
        self._cache = images, tokens - missing + read
        return GenerationFigures(read, read, 0, time.perf_counter() - started, 0.0)

    def _held(self, images: tuple[ImageEmbedding, ...]) -> int:
        """Count the tokens of these images that need not be read again."""
        held, tokens = self._cache
        return tokens if self.read_ahead.possible and same_images(held, images) else 0

    def _read(self, tokens: int, cancelled: Cancellation) -> int:
        """Take the time of reading so many tokens; tell how many were read, if it is cancelled."""
        rate, started = self._timings.prefill_rate, time.perf_counter()
        if not cancelled.wait(_seconds(tokens, rate)):
            return tokens
        return min(int((time.perf_counter() - started) * rate), tokens)

    def generate(self, request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        prompt_tokens = self.tokens(request)
        if prompt_tokens + request.max_new_tokens > self._timings.context:
            raise ContextError(
                f'{prompt_tokens} prompt tokens and {request.max_new_tokens} new ones exceed the '
                f'context of {self._timings.context}: ask shorter or lower max_new_tokens'
            )
        started = time.perf_counter()
        held = self._held(request.images)
        read = held + self._read(prompt_tokens - held, cancelled)
        self._cache = request.images, min(read, request.image_tokens)
        prefilled = time.perf_counter()
        count, reason = 0, FinishReason.EOS
        for word in _WORD.findall(self._answer(request.question)):
            if count == request.max_new_tokens:
                reason = FinishReason.LENGTH
                break
            if count:
                cancelled.wait(_seconds(1, self._timings.decode_rate))
            if cancelled.is_set():
                reason = FinishReason.CANCELLED
                break
            count += 1
            yield Chunk(word)
        cost = prompt_tokens - held, count, prefilled - started, time.perf_counter() - prefilled
        yield Chunk('', reason, GenerationFigures(
            request.image_tokens - held, *cost, read_ahead_tokens=0 if request.turns else held,
        ))

    def tokens(self, request: GenerationRequest) -> int:
        said = [f'{turn.question} {turn.answer}' for turn in request.turns]
        said += [request.system_prompt, request.question]
        return request.image_tokens + sum(len(text.split()) for text in said)

    def _answer(self, question: str) -> str:
        if isinstance(self._answers, Mapping):
            return self._answers.get(question, '')
        return next(self._in_turn, '')


def _seconds(tokens: int, rate: float) -> float:
    return tokens / rate if rate else 0.0


def _load(settings: EngineSettings, progress: Progress) -> Models:
    options: ScriptedSettings = settings.options
    progress(Event(f'{len(options.answers)} scripted answers'))
    answers = ScriptedLanguageModel(options.answers, options, settings.read_ahead)
    return ScriptedEncoder(options), answers


BACKEND = Backend('scripted', 'given answers', _load, ScriptedSettings)
