# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
The proof that probabilities can be had: two questions about a test picture.

Ordinary runs tell the answers. Then the same is asked in each way, the best first: what is handed
out must name the tokens of the answers, differ from question to question, be the same when the
first question comes again, and not cost too much. No public program reads logits of a question
about a picture, so that nothing is taken for granted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from vlm_npu_ros.engine.backends.rknpu import abi as rkllm
from vlm_npu_ros.engine.backends.rknpu.handle import Result
from vlm_npu_ros.engine.backends.rknpu.row import Row, RowError
from vlm_npu_ros.engine.backends.rknpu.scorer import Scorer, Way
from vlm_npu_ros.engine.errors import BackendError
from vlm_npu_ros.engine.progress import Progress, Trial
from vlm_npu_ros.engine.trials import has_failed
from vlm_npu_ros.engine.types import GenerationRequest, ImageEmbedding

_QUESTIONS = ('Is there a red square?', 'What do you see?')
_TOKENS = 3  # of each answer
_SLACK = 0.2  # seconds more than twice those of an answer: less is not worth anything
_SPARE = 2.0  # seconds beside three times those of an answer, until a run counts as hung
_JITTER = 0.05  # of a probability: 1.3.1 computes a little differently each time
_ALIKE = 0.5  # logits of different questions that differ less are of the same one


class _Told(NamedTuple):
    """What a run told, and the seconds until then."""

    results: list[Result]
    seconds: float


Run = Callable[..., tuple[list[Result], float]]  # RkllmLanguageModel.run_apart


def picture() -> np.ndarray:
    """Draw a red square on grey, (128, 128, 3) uint8 RGB."""
    drawn = np.full((128, 128, 3), 160, np.uint8)
    drawn[40:90, 40:90] = 200, 20, 20
    return drawn


class Proof:
    """
    Lets a scorer use the first way that proves itself.

    run: runs a request apart from dialogues. image: the test picture.
    """

    def __init__(
        self, scorer: Scorer, run: Run, image: ImageEmbedding, progress: Progress
    ) -> None:
        self._scorer, self._run, self._progress = scorer, run, progress
        self._asked = [GenerationRequest(q, (image,), _TOKENS) for q in _QUESTIONS]

    def prove(self, ways: tuple[Way, ...]) -> None:
        """Try these ways, in their order; each may crash the process, or hang."""
        scorer = self._scorer
        scorer.way, reasons = Way.OFF, list[str]()
        try:
            answers = [
                self._told(request, rkllm.INFER_GENERATE, fresh=True) for request in self._asked
            ]
            if not all(answer.results for answer in answers):
                raise RowError('the test questions got no answers')
            scorer.patience = 3 * max(answer.seconds for answer in answers) + _SPARE
        except (BackendError, RowError) as error:
            scorer.why = str(error)
            return
        for way in ways:
            self._progress(Trial(f'{way.value}, for probabilities'))
            try:
                self._try(way, answers)
            except (BackendError, RowError) as error:
                reasons.append(f'{way.value}: {error}')
            else:
                scorer.way = way
                break
        scorer.why = '; '.join(reasons)

    def _try(self, way: Way, answers: list[_Told]) -> None:
        """Raise RowError, which says why not, unless a way works."""
        note = self._scorer.note(way)
        if has_failed(note):
            raise RowError(f'the runtime crashed or hung; delete {note} to try again')
        if way is Way.HIDDEN and self._scorer.head is None:
            raise RowError('there is no file with rows of the LM head (vlm-npu convert head)')
        mode = rkllm.INFER_HIDDEN if way is Way.HIDDEN else rkllm.INFER_LOGITS
        asked, patience = [*self._asked, self._asked[0]], self._scorer.patience
        with self._scorer.trying(way, durable=True):
            # As later on: the first run reads all, the others what the cache does not hold.
            told = [self._told(each, mode, patience, not i) for i, each in enumerate(asked)]
        pairs = [*zip(told, (*answers, answers[0]), strict=True)]
        rows = [self._checked(way, *pair) for pair in pairs]
        if np.abs(rows[0].logits - rows[1].logits).max() < _ALIKE:
            raise RowError('two questions were told the same')
        if np.abs(rows[0].probabilities - rows[2].probabilities).max() > _JITTER:
            raise RowError('the same question was told something else')
        seconds, answered = told[0].seconds, answers[0].seconds
        if way is not Way.ANSWER:  # an answer comes before it
            seconds += answered
        if seconds > 2 * answered + _SLACK:
            raise RowError(f'a choice would take {seconds:.2f} s instead of {answered:.2f} s')

    def _checked(self, way: Way, told: _Told, answer: _Told) -> Row:
        """Return what comes first in an answer; raise RowError if it is not that of the answer."""
        head = self._scorer.head if way is Way.HIDDEN else None
        if way is Way.ANSWER:
            if len(told.results) != len(answer.results):
                raise RowError(f'{len(told.results)} of {len(answer.results)} tokens came')
            for result in told.results:
                Row(result.row).check(result.token)
        first = Row(told.results[0].row if told.results else None, head)
        first.check(answer.results[0].token)
        return first

    def _told(
        self, request: GenerationRequest, mode: int, patience: float | None = None,
        fresh: bool = False,
    ) -> _Told:
        return _Told(*self._run(request, mode, patience=patience, fresh=fresh))
