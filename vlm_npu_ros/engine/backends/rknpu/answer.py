# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""An answer of the runtime: its text, where it must end, and what it cost."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
import time

from vlm_npu_ros.engine.backends.rknpu import abi as rkllm
from vlm_npu_ros.engine.backends.rknpu.handle import Figures, Result
from vlm_npu_ros.engine.backends.rknpu.limits import RepetitionGuard, StopStrings
from vlm_npu_ros.engine.backends.rknpu.scorer import Step
from vlm_npu_ros.engine.errors import BackendCrashedError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.types import Chunk, FinishReason, GenerationFigures


class Answer:
    """Puts an answer together from results, and notices where it must end."""

    def __init__(
        self, max_new_tokens: int, stop: tuple[str, ...], has_logits: bool = False
    ) -> None:
        self.has_logits = has_logits
        self.reason: FinishReason | None = None
        self.text = ''
        self.tokens = 0
        self.steps: list[Step] = []
        self._max_new_tokens = max_new_tokens
        self._decoder = codecs.getincrementaldecoder('utf-8')('replace')
        self._stop = StopStrings(stop)
        self._loop = RepetitionGuard()
        self._finished = False
        self._figures: Figures | None = None
        self._started = self._first = time.perf_counter()

    @property
    def read(self) -> int:
        """How many tokens of the prompt were read, as the runtime counts."""
        return self._figures.prefill_tokens if self._figures else 0

    @property
    def is_whole(self) -> bool:
        """Whether the runtime ended the answer itself: then it holds just what was given."""
        return self._finished and self.reason is None

    @property
    def is_cut(self) -> bool:
        """Whether it has not gone on after its first token, and nothing says that it has ended."""
        return self.tokens < 2 and not self._finished and self.reason is None

    def pieces(
        self, results: Iterable[Result], cancelled: Cancellation, stop: Cancellation
    ) -> Iterator[str]:
        """
        Yield the text that results complete, and set `reason` and `stop` where it must end.

        With logits, the first token is held back until the runtime is seen to go on.
        """
        pending = ''
        for result in results:
            piece, pending = pending + self._add(result), ''
            if cancelled.is_set() and self.reason is None:
                self.reason = FinishReason.CANCELLED
            elif self.has_logits and self.is_cut:
                pending = piece
            elif piece:
                yield piece
            if self.reason is not None:
                stop.set()

    def _add(self, result: Result) -> str:
        if result.state == rkllm.RUN_ERROR:
            raise BackendCrashedError(
                f'The runtime reported an error after {self.tokens} tokens, see its log'
            )
        if result.state == rkllm.RUN_FINISH:
            self._finished, self._figures = True, result.figures
            return ''
        if self.reason is not None:  # it is to end, but still writing
            return ''
        if not self.tokens:
            self._first = time.perf_counter()
        self.tokens += 1
        self.steps.append(Step(len(self.text), result.token, result.row))
        said = self._decoder.decode(result.text)
        text = self._stop.push(said)
        if self._stop.found:
            self.reason = FinishReason.STOP
        elif self._loop.push(result.token, said):
            self.reason = FinishReason.REPETITION
        elif self.tokens == self._max_new_tokens:
            self.reason = FinishReason.LENGTH
        self.text += text
        return text

    def last(self, image_tokens: int, cancelled: bool) -> Chunk:
        """Give the rest of the text, why it ended and what it cost."""
        if not (self.tokens or cancelled):
            how = 'the answer before its first token' if self._finished else 'without an answer'
            raise BackendCrashedError(f'The runtime ended {how} and without an error, see its log')
        reason = self.reason or (FinishReason.CANCELLED if cancelled else FinishReason.EOS)
        rest = ''
        if not self._stop.found:
            rest = self._stop.push(self._decoder.decode(b'', final=True)) + self._stop.finish()
        return Chunk(rest, reason, self._cost(image_tokens))

    def _cost(self, image_tokens: int) -> GenerationFigures:
        """Take the runtime's figures where it has them, else what was seen from here."""
        ended = time.perf_counter()
        prefill, decode = self._first - self._started, ended - self._first
        prompt_tokens = image_tokens
        if self._figures and self._figures.prefill_tokens > 0:
            prefill, decode = self._figures.prefill_ms / 1000, self._figures.generate_ms / 1000
            prompt_tokens = max(self._figures.prefill_tokens, image_tokens)
        return GenerationFigures(image_tokens, prompt_tokens, self.tokens, prefill, decode)
