# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Questions about the pictures of a recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
import time
from typing import Any, Callable

from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.types import Chunk, GenerationRequest, Verdict
from vlm_npu_ros.recordings.recording import Frame, Recording

# Writes an answer: its chunks.
Write = Callable[[GenerationRequest], Iterator[Chunk]]


@dataclass(frozen=True)
class Finding:
    """
    What was said about a picture.

    frame: None if it could not be read; `error` says why then. number: of the picture.
    choice: that the answer decides for; '' = the question had none. took: seconds, without the
    encoding.
    """

    number: int
    seconds: float
    question: str
    frame: Frame | None = None
    answer: str = ''
    choice: str = ''
    verdict: Verdict | None = None
    took: float = 0.0
    error: str = ''

    def record(self) -> dict[str, Any]:
        """List everything but the picture as plain values, for JSON."""
        stamp, verdict = self.frame and self.frame.stamp, self.verdict
        return {
            'number': self.number,
            'seconds': self.seconds,
            'stamp': dict(zip(('sec', 'nanosec'), stamp, strict=True)) if stamp else None,
            'name': self.frame.name if self.frame else '',
            'question': self.question,
            'answer': self.answer,
            'choice': self.choice,
            'confidence': verdict.probability if verdict else None,
            'decided_by': verdict.decided_by.told if verdict else '',
            'answer_seconds': self.took,
            'error': self.error,
        }


def findings(
    engine: Engine, recording: Recording, numbers: Iterator[int] | Sequence[int],
    requests: Sequence[GenerationRequest], write: Write,
) -> Iterator[Finding]:
    """
    Ask each question about each picture, in that order; a damaged picture is a finding, too.

    requests: questions without images.
    """
    for number in numbers:
        seconds = recording.times[number]
        try:
            frame = recording.frame(number)
            images = (engine.encode(frame.rgb),)
        except ImageError as error:
            yield Finding(number, seconds, '', error=str(error))
            continue
        for request in requests:
            started = time.perf_counter()
            text, last = _text(write(request.with_images(images)))
            yield _finding(
                Finding(number, seconds, request.question, frame), request, text, last,
                time.perf_counter() - started)


def _text(chunks: Iterator[Chunk]) -> tuple[str, Chunk]:
    text, last = '', Chunk('')
    for last in chunks:
        text = last.text if last.retracts else text + last.text
    return text.strip(), last


def _finding(
    begun: Finding, request: GenerationRequest, text: str, last: Chunk, took: float
) -> Finding:
    choice = request.decided(last.verdict) if request.is_typed and last.verdict else ''
    return replace(begun, answer=text, choice=choice, verdict=last.verdict, took=took)
