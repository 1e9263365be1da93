# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Probabilities on the NPU: in which way they are had, and what they are.

The answer itself is run in a mode in which the runtime hands out the logits of each token
(ANSWER), or a run of its own follows it, which reads the same again and hands out the logits
(LOGITS) or the hidden states (HIDDEN) behind it. What is handed out counts only if it names the
token that the model wrote. A way is used after it has proved itself (proof.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
import re
from typing import NamedTuple

import numpy as np
from vlm_npu_ros.engine.backends.rknpu.first_tokens import FirstTokens
from vlm_npu_ros.engine.backends.rknpu.notes import Notes
from vlm_npu_ros.engine.backends.rknpu.row import Row, RowError
from vlm_npu_ros.engine.errors import BackendCrashedError
from vlm_npu_ros.engine.model_files.lm_head import LmHead
from vlm_npu_ros.engine.trials import trial
from vlm_npu_ros.engine.types import GenerationRequest

_MOST_FAILURES = 3  # in a row


class Way(str, Enum):
    """How probabilities are had, in the order of preference."""

    ANSWER = 'logits, with the answer'
    LOGITS = 'logits, in a run of their own'
    HIDDEN = 'hidden states, in a run of their own'
    OFF = 'none'


class Step(NamedTuple):
    """
    A token of an answer.

    at: characters of the answer before it. row: handed out with it; None = nothing was.
    """

    at: int
    token: int
    row: np.ndarray | None = None


class Scorer:
    """
    Tells how probable the endings of an answer are.

    run: reads a request and beginnings of its answer again, in a way, and returns the row behind
        each of them or, where that takes too long, behind the first.
    way, why: the way in use, and why no better one is.
    head: for hidden states. patience: seconds to wait for a row.
    """

    def __init__(
        self, run: Callable[[GenerationRequest, Sequence[str], Way], Sequence[np.ndarray]],
        tokens: FirstTokens, notes: Notes,
    ) -> None:
        self.way, self.why = Way.OFF, 'not tried'
        self.tokens = tokens
        self.head: LmHead | None = None
        self.patience: float | None = None
        self._run, self._notes = run, notes
        self._failures = 0

    def __str__(self) -> str:
        return f'{self.way.value} ({self.why})' if self.why else self.way.value

    def note(self, way: Way) -> Path:
        """Return the file that says that a process died in this way."""
        return self._notes.died('hidden' if way is Way.HIDDEN else 'logits')

    def keep(self) -> None:
        """Keep on disk what was found out, for the doctor."""
        self._notes.found = str(self)

    @contextmanager
    def trying(self, way: Way, durable: bool = False) -> Iterator[None]:
        """Keep a note on disk while a way is gone; raise RowError if there can be none."""
        try:
            with trial(self.note(way), durable=durable):
                yield
        except OSError as error:
            raise RowError(f'{self.note(way)} cannot be written: {error}') from error

    def failed(self, reason: RowError) -> None:
        """Count a failure; after some in a row no probabilities are told until the next load."""
        self._failures += 1
        if self._failures >= _MOST_FAILURES:
            self.why = f'{self.way.value}: {reason}, {_MOST_FAILURES} times in a row'
            self.way = Way.OFF

    def score(
        self, request: GenerationRequest, said: str, endings: tuple[str, ...],
        text: str, steps: list[Step],
    ) -> tuple[float, ...] | None:
        """
        Tell how probable each ending is after the beginning of an answer; None = unknown.

        text, steps: the whole answer, which goes on with one of the endings.
        """
        ending = next((e for e in endings if text.startswith(said + e)), '')
        begun = {step.at: step for step in reversed(steps)}
        step = begun.get(len(said))
        # What only begins with a number is another number.
        is_whole = len(said + ending) in (*begun, len(text))
        if self.way is Way.OFF or not (ending and step and (request.choices or is_whole)):
            return None
        try:
            known = self.tokens.of(ending)
            if known not in (None, step.token):
                raise RowError(f'{ending!r} begins with the token {step.token}, not {known}')
            if self.way is Way.ANSWER:
                rows = {at: Row(begun[at].row) for at in begun}
            else:
                inside = [begun[at] for at in sorted(begun) if 0 <= at - len(said) < len(ending)]
                rows = self._read_again(request, text, inside)
            for at in rows:
                rows[at].check(begun[at].token)
            shares = self._shares(endings, len(said), text, begun, rows)
        except (RowError, BackendCrashedError) as error:
            self.failed(RowError(str(error)))
            return None
        self._failures = 0
        return shares

    def _read_again(
        self, request: GenerationRequest, text: str, steps: list[Step]
    ) -> dict[int, Row]:
        """
        Return the rows of these steps of an answer by where in it they begin.

        Of the first one alone where more are not handed out; without those the LM head lacks.
        """
        with self.trying(self.way):
            values = self._run(request, [text[:step.at] for step in steps], self.way)
        if not values:
            raise RowError('nothing came')
        head = self.head if self.way is Way.HIDDEN else None
        return {
            step.at: Row(row, head) for step, row in zip(steps, values)  # noqa: B905
            if step is steps[0] or not head or step.token in head.index
        }

    def _shares(
        self, endings: tuple[str, ...], start: int, text: str, begun: dict[int, Step],
        rows: dict[int, Row],
    ) -> tuple[float, ...] | None:
        """
        Give the probability of each ending up to where it is not that of the answer.

        start: of the ending in the text of the answer. begun, rows: by where in it a token begins.
        None if that does not tell that ending from others.
        """
        shares: dict[str, float] = {}
        branches: dict[str, tuple[int, int]] = {}
        for ending in endings:
            share, at = 1.0, start
            for word in re.findall(r'\s*\S+', ending):
                goes_on = text.startswith(word, at)
                alike = text[at:at + 1].isupper() == word[:1].isupper()
                token = begun[at].token if goes_on else self.tokens.of(word, learn=alike)
                probability = None if token is None else rows[at].probability(token)
                if token is None or probability is None:
                    break
                share, branches[ending] = share * probability, (at, token)
                at += len(word)
                if not goes_on or at not in rows:
                    shares[ending] = share
                    break
            else:
                shares[ending] = share
        said = next(ending for ending in endings if text.startswith(ending, start))
        rivals = [e for e in shares if e.casefold() != said.casefold()]
        is_shared = any(branches[rival] == branches[said] for rival in rivals)
        known = {ending.casefold() for ending in shares}
        if is_shared or max(shares.values()) > shares[said] or known != {
                ending.casefold() for ending in endings}:
            return None
        once = dict(zip(reversed(branches.values()), reversed(branches), strict=True))
        return tuple(shares[e] if e in shares and once[branches[e]] == e else 0.0 for e in endings)
