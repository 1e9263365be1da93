# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A dialogue: what it is about, and what was said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
import time
from typing import Any

from vlm_npu_ros.cli.interruptible import generate
from vlm_npu_ros.cli.lines import Line
from vlm_npu_ros.cli.screen import ChatScreen
from vlm_npu_ros.cli.views import encoded, Pictures, read, View
from vlm_npu_ros.engine.errors import NotSupportedError, RequestError
from vlm_npu_ros.engine.interface import Engine, FittedRequest
from vlm_npu_ros.engine.types import (
    Chunk,
    FinishReason,
    GenerationFigures,
    GenerationRequest,
    Sampling,
    Turn,
)


class Dialogue:
    """
    Asks about pictures, and remembers what was asked and answered.

    frames: how many to take from a video.
    """

    def __init__(
        self,
        engine: Engine,
        screen: ChatScreen,
        frames: int,
        max_new_tokens: int,
        sampling: Sampling,
    ) -> None:
        self._engine, self._screen, self._frames = engine, screen, frames
        self._max_new_tokens, self._sampling = max_new_tokens, sampling
        self.view = View()
        self._turns: tuple[Turn, ...] = ()

    def show(self, pictures: Pictures) -> None:
        """Let the next questions be about these pictures; forgets what was said about others."""
        self.view = encoded(self._engine, pictures, self._screen)
        self._turns = ()
        self._screen.note(self.view.describe())

    def take(self, line: Line) -> ChatAnswer | None:
        """
        Do what a line asks for; return the answer if it holds a question.

        Raises VlmError; an ImageError leaves the dialogue as it was.
        """
        if 'image' in line.found:
            sources = (line.source,) if line.source else self.view.sources
            if not sources:
                raise RequestError('There is nothing to look at', 'Name it: <image> PATH')
            self.show(read(sources, self._frames))
        if 'clear' in line.found:
            self._turns = ()
            self._screen.note('Forgot what was said')
        if line.found and not line.question:
            return None
        return self._ask(line.question)

    def _ask(self, question: str) -> ChatAnswer:
        request = GenerationRequest(
            question, self.view.images, self._max_new_tokens, self._sampling, self._turns,
            keep=True, video=self.view.video,
        )
        fitted = self._engine.fit(request)
        self._tell(fitted)
        request = fitted.request
        try:
            answer = self._answer(request)
        except NotSupportedError as error:
            if not request.turns:
                raise
            self._screen.note(f'Forgot what was said: {error}')
            request = replace(request, turns=())
            answer = self._answer(request)
        if answer.is_whole:
            # Without what did not fit: the next question then goes on from what the model holds.
            self.view = self.view.keep(fitted.images)
            self._turns = (*request.turns, Turn(question, answer.text))
        return answer

    def _tell(self, fitted: FittedRequest) -> None:
        """Report what had to be left out."""
        if fitted.dropped_turns:
            self._screen.note(
                f'Forgot the oldest {fitted.dropped_turns} of {len(self._turns)} questions with '
                'their answers: the context is full'
            )
        if len(fitted.images) < len(self.view.images):
            self._screen.note(
                f'Left out {len(self.view.images) - len(fitted.images)} of '
                f'{len(self.view.images)} frames: the context has no room for them'
            )

    def _answer(self, request: GenerationRequest) -> ChatAnswer:
        asked = time.perf_counter()
        chunks = generate(self._engine, request)
        with self._screen.busy('Reading'):
            thoughts, first = _first_text(chunks)
        first_token = time.perf_counter() - asked
        last, text = first, ''
        with self._screen.answer() as push:
            for last in chain([first], chunks):
                thoughts += text * last.retracts + last.thought
                text = last.text if last.retracts else text + last.text
                push('\n\n---\n\n' * last.retracts + last.text)  # what stands above was a thought
        if last.note:
            self._screen.note(last.note)
        return ChatAnswer(
            request.question,
            text,
            last.finish_reason or FinishReason.ERROR,
            first_token if text else None,
            last.figures,
            memory_bytes(self._engine.memory),
            thoughts,
        )


def _first_text(chunks: Iterator[Chunk]) -> tuple[str, Chunk]:
    """Wait until the model has thought; return its thoughts and the first chunk of its answer."""
    thoughts = ''
    for chunk in chunks:
        if chunk.text or chunk.finish_reason:
            return thoughts, chunk
        thoughts += chunk.thought
    return thoughts, Chunk('', FinishReason.ERROR)


@dataclass(frozen=True)
class ChatAnswer:
    """
    What the model said to a question, and what it cost.

    first_token_seconds: from the question to the first piece of text; None if there was no text.
    figures: None if it ended without any.
    memory_bytes: of all processes; None = unknown.
    thoughts: what the model thought before it answered.
    """

    question: str
    text: str
    finish_reason: FinishReason
    first_token_seconds: float | None
    figures: GenerationFigures | None
    memory_bytes: int | None = None
    thoughts: str = ''

    @property
    def is_whole(self) -> bool:
        """Return whether it ended by itself, so that a question can follow it up."""
        return self.finish_reason.is_whole

    def describe(self) -> str:
        """Format the figures as a line."""
        parts = []
        if self.finish_reason is FinishReason.REPETITION:
            parts.append('cut, because it repeated itself')
        if self.first_token_seconds is not None:
            parts.append(f'first token {1000 * self.first_token_seconds:.0f} ms')
        if self.figures:
            prefill, decode = rates(self.figures)
            parts.append(f'{self.figures.prompt_tokens} tokens read at {prefill:.0f}/s')
            thoughts = self.figures.thought_tokens
            of_them = f' ({thoughts} of them thoughts)' if thoughts else ''
            parts.append(f'{self.figures.new_tokens} written at {decode:.0f}/s{of_them}')
        if self.memory_bytes is not None:
            parts.append(f'memory {self.memory_bytes / 1e6:.0f} MB')
        return ', '.join(parts)

    def record(self) -> dict[str, Any]:
        """List everything as plain values, for JSON."""
        values: dict[str, Any] = {
            'question': self.question,
            'answer': self.text,
            'thoughts': self.thoughts,
            'finish_reason': self.finish_reason.value,
            'first_token_seconds': self.first_token_seconds,
            'memory_bytes': self.memory_bytes,
        }
        if self.figures:
            prefill, decode = rates(self.figures)
            values |= vars(self.figures)
            values |= {'prefill_tokens_per_second': prefill, 'decode_tokens_per_second': decode}
        return values


def rates(figures: GenerationFigures) -> tuple[float, float]:
    """Return tokens a second of reading and of writing; reading makes the first token."""
    prefill = figures.prompt_tokens / (figures.prefill_seconds or 1.0)
    decode = max(figures.new_tokens - 1, 0) / (figures.decode_seconds or 1.0)
    return prefill, decode


def memory_bytes(others: int) -> int | None:
    """
    Return the memory that this process holds (RSS), in bytes; None without psutil.

    others: bytes of other processes that count, too.
    """
    try:
        import psutil
    except ImportError:
        return None
    return int(psutil.Process().memory_info().rss) + others
