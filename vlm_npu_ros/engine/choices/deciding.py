# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Lets a model answer with a choice or a number, and says in which way it was decided.

The answer is read while it is written. If it begins with a choice, the model's own probabilities
decide, where it tells them, else these first words; if not, the model is asked back what it said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vlm_npu_ros.engine.backends.base import Answer, LanguageModel
from vlm_npu_ros.engine.choices.instructions import choice_of_letter
from vlm_npu_ros.engine.choices.reader import AnswerReader, Decision
from vlm_npu_ros.engine.errors import ContextError, EmptyAnswerError, NotSupportedError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.types import (
    Chunk,
    DecidedBy,
    FinishReason,
    GenerationFigures,
    GenerationRequest,
    Turn,
    Verdict,
)

_REPLY = 12  # tokens of the reply to a question asked back: a letter or a number
_ENOUGH = 0.5  # probability of all choices where an answer does not begin with one of them


def decide(
    model: LanguageModel, answer: Answer, request: GenerationRequest, stop: Cancellation
) -> Iterator[Chunk]:
    """
    Yield the answer until it decides, then stop the model; the last chunk has the verdict.

    answer: writes what the model answers to a request, without its thoughts.
    """
    def new_reader() -> AnswerReader:
        return AnswerReader(
            request.choices, request.number.unit if request.number else '',
            quick=model.tells_probabilities, in_sentences=model.instructions.in_sentences,
        )

    asked = replace(request, keep=request.keep or _asks_back(model, request))
    writing = Cancellation(stop)  # of the answer, not of the question asked back
    reader: AnswerReader | None = None
    said, decision = '', None
    for chunk in answer(asked, writing):
        reason = chunk.finish_reason
        if chunk.retracts or reader is None:  # while it writes, the model knows what it tells
            reader, said, decision = new_reader(), '', None
        if decision is None:
            said += chunk.text
            decision = reader.add(chunk.text)
            if reason is None:
                yield chunk
        elif reason is not None:
            chunk, reason = replace(chunk, text=''), FinishReason.STOP
        if reason is None:
            if decision:
                writing.set()
            continue
        if decision or reason is not FinishReason.CANCELLED:
            decision = decision or _at_end(reader, said, reason)
            verdict = _verdict(model, request, said, decision)
            figures = chunk.figures
            if verdict is None:
                verdict, figures = _ask_back(model, answer, request, said, stop, figures)
                reason = reason if verdict else FinishReason.CANCELLED
            chunk = replace(chunk, figures=figures, verdict=verdict)
        yield replace(chunk, finish_reason=reason)


def _at_end(reader: AnswerReader, said: str, reason: FinishReason | None) -> Decision | None:
    """Read an answer that goes no further; one that is cut in a word may mean something else."""
    found = reader.end()
    if found and reason is FinishReason.LENGTH and said[-1:].isalnum():
        is_whole = len(said) - found.start <= len(found.words) and not said[-1:].isdigit()
        return found if is_whole else None
    return found


def _verdict(
    model: LanguageModel, request: GenerationRequest, said: str, decision: Decision | None
) -> Verdict | None:
    """Say what was decided for by probability or words; None = nothing was."""
    if decision is None:
        return None
    value, way, probability = decision.value, DecidedBy.WORDS, None
    if value is not None:
        before = said[:decision.start].rstrip()
        space = said[len(before):decision.start]
        kinds = [{c, c.lower(), c.capitalize()} for c in request.choices] or [set()]
        # Also as it was written: "Sí" is a yes.
        written = said[decision.start:decision.start + len(decision.words)]
        kinds[int(value) if request.choices else 0].add(written)
        forms = [sorted(kind) for kind in kinds]
        endings = tuple(space + form for of_one in forms for form in of_one)
        scores = model.score(request, before, endings)
        if scores is not None and (decision.by_words or sum(scores) >= _ENOUGH):
            score = iter(scores)
            probabilities = [sum(next(score) for _ in of_one) for of_one in forms]
            way, probability = DecidedBy.PROBABILITY, max(probabilities)
            value = probabilities.index(probability) if request.choices else value
        elif model.tells_probabilities or not decision.by_words:  # not enough was read
            return None
    return _checked(request, value, way, probability)


def _checked(
    request: GenerationRequest, value: float | None, way: DecidedBy,
    probability: float | None = None,
) -> Verdict:
    """Make the verdict: unclear if the value is too improbable, or a number out of range."""
    wanted = request.number
    if probability is not None and probability < request.min_probability or (
            wanted and value is not None and not wanted.low <= value <= wanted.high):
        value = None
    if wanted and value is not None:
        return Verdict(0, probability, way, float(value))
    return Verdict(None if value is None else int(value), probability, way)


def _asks_back(model: LanguageModel, request: GenerationRequest) -> bool:
    return bool(
        request.ask_back and model.instructions.ask_back and model.may_displace(request))


def _ask_back(
    model: LanguageModel, answer: Answer, request: GenerationRequest, said: str,
    stop: Cancellation, figures: GenerationFigures | None,
) -> tuple[Verdict | None, GenerationFigures | None]:
    """Ask the model what its answer says; None = cancelled. Also give what all has cost."""
    if not said.strip() or not _asks_back(model, request):
        return Verdict(None), figures
    follow_up = replace(
        request, question=model.instructions.back(request), choices=(), number=None,
        turns=(*request.turns, Turn(request.question, said)), max_new_tokens=_REPLY,
    )
    reply = ''
    try:
        for chunk in answer(follow_up, stop):
            reply = chunk.text if chunk.retracts else reply + chunk.text
            if chunk.figures:
                figures = figures + chunk.figures if figures else chunk.figures
    except (ContextError, EmptyAnswerError, NotSupportedError):  # the answer itself stands
        return Verdict(None), figures
    if stop.is_set():
        return None, figures
    value: float | None = choice_of_letter(reply, request.choices)
    if request.number:
        reader = AnswerReader((), request.number.unit)
        found = reader.add(reply) or reader.end()
        value = found.value if found else None
    return _checked(request, value, DecidedBy.ASKED_BACK), figures
