"""A dialogue: what is looked at, and what was said about it."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
import time

from vlm_npu_ros.cli.answer import Answer
from vlm_npu_ros.cli.interruptible import generate
from vlm_npu_ros.cli.line import Line
from vlm_npu_ros.cli.screen import Screen
from vlm_npu_ros.cli.views import encoded, Pictures, read, View
from vlm_npu_ros.engine.errors import NotSupportedError, RequestError
from vlm_npu_ros.engine.interface import Engine, FittedRequest
from vlm_npu_ros.engine.types import FinishReason, GenerationRequest, Sampling, Turn


class Dialogue:
    """
    Remembers what was asked and answered.

    frames: to take from a video.
    """

    def __init__(
        self,
        engine: Engine,
        screen: Screen,
        frames: int,
        max_new_tokens: int,
        sampling: Sampling,
    ) -> None:
        self._engine, self._screen, self._frames = engine, screen, frames
        self._max_new_tokens, self._sampling = max_new_tokens, sampling
        self.view = View()
        self._turns: tuple[Turn, ...] = ()

    def show(self, pictures: Pictures) -> None:
        """Let the next questions be about these: what was said was about something else."""
        self.view = encoded(self._engine, pictures, self._screen)
        self._turns = ()
        self._screen.note(self.view.describe())

    def take(self, line: Line) -> Answer | None:
        """
        Do what a line asks for; return the answer, if it holds a question.

        Raises VlmError; after an ImageError the dialogue is as it was.
        """
        if 'image' in line.found:
            paths = (line.path,) if line.path else self.view.paths
            if not paths:
                raise RequestError('There is nothing to look at: name it, <image> PATH')
            self.show(read(paths, self._frames))
        if 'clear' in line.found:
            self._turns = ()
            self._screen.note('Forgot what was said')
        if line.found and not line.question:
            return None
        return self._ask(line.question)

    def _ask(self, question: str) -> Answer:
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
        """Say what had to be left out."""
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

    def _answer(self, request: GenerationRequest) -> Answer:
        asked = time.perf_counter()
        chunks = generate(self._engine, request)
        with self._screen.busy('Reading'):
            first = next(chunks)
        first_token = time.perf_counter() - asked
        last, text = first, ''
        with self._screen.answer() as push:
            for last in chain([first], chunks):
                text += last.text
                push(last.text)
        return Answer(
            request.question,
            text,
            last.finish_reason or FinishReason.ERROR,
            first_token if text else None,
            last.figures,
        )
