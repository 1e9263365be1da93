# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Answers as JSON of a schema: cut out of what the model writes, checked, asked for once more.

What a model writes around it (a fence, a sentence) is left out. Nothing that does not fit the
schema is an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
import functools
import json
import re
import reprlib
from typing import Any
from urllib.parse import unquote

from vlm_npu_ros.engine.backends.base import LanguageModel
from vlm_npu_ros.engine.errors import (
    AnswerFormError,
    ContextError,
    EmptyAnswerError,
    NotSupportedError,
    RequestError,
)
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.types import Chunk, FinishReason, GenerationRequest, Turn

MAX_SCHEMA = 8192  # characters
MAX_DEPTH = 24  # of a schema, and of an answer
_STEPS = 20_000  # keywords looked at to check an answer; references can multiply them without end
_REASON = 200  # characters that a model is told
_REFERENCES = {'$ref', '$dynamicRef', '$recursiveRef'}
_NAMES = {'$id', '$schema'}  # what they name may be fetched, or read by other rules
_FENCE = re.compile(r'```[\w-]*\n?(.*?)```', re.DOTALL)
_BRACKET = re.compile(r'[\[\]{}]')
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')  # brackets in it are text

Answer = Callable[[GenerationRequest, Cancellation], Iterator[Chunk]]


class _MisfitError(Exception):
    """Why a text is not the JSON that is wanted."""


def checked_schema(text: str) -> str:
    """
    Return a JSON Schema as models are told it, without spaces; '' = any JSON.

    Raises RequestError unless the text is a schema, is bounded, and refers to nothing elsewhere.
    """
    schema = _validator(text)().schema
    if schema in ({}, True):
        return ''
    told = json.dumps(schema, ensure_ascii=False, separators=(',', ':'))
    return told.encode(errors='replace').decode()


def answer_json(
    model: LanguageModel, answer: Answer, request: GenerationRequest, stop: Cancellation
) -> Iterator[Chunk]:
    """
    Yield thoughts while they come, and in the last chunk the whole answer, which is valid JSON.

    If it does not fit the schema, the model is told why and asked once more, unless the request
    forbids it (ask_back). Raises AnswerFormError, whose `text` is what the model wrote.

    answer: writes what the model answers to a request, without its thoughts.
    """
    validator = _validator(request.schema or '')
    # A dialogue that cannot be taken up again must not be displaced by the second question.
    may_repeat = request.ask_back and (model.takes_up_dialogues or not request.keep)
    first = replace(request, keep=request.keep or may_repeat)
    said, last = yield from _collected(answer(first, stop))
    try:
        yield _checked(said, last, validator)
        return
    except _MisfitError as error:
        misfit = error
    if may_repeat:
        again = replace(
            request, question=model.instructions.correct(str(misfit)),
            turns=(*request.turns, Turn(request.question, said)),
        )
        figures = last.figures
        try:
            said, last = yield from _collected(answer(again, stop))
            both = figures + last.figures if figures and last.figures else figures
            yield _checked(said, replace(last, figures=both), validator)
            return
        except _MisfitError as error:
            misfit = error
        except (ContextError, EmptyAnswerError, NotSupportedError):
            pass  # what was wrong with the first answer is the reason
    raise _bad(misfit, said)


def _checked(said: str, last: Chunk, validator: Callable[[], Any]) -> Chunk:
    """Return the last chunk with the JSON that the answer has; raise _MisfitError."""
    if last.finish_reason is FinishReason.CANCELLED:
        return replace(last, text=said)
    return replace(last, text=_find(said, validator, last.finish_reason))


def _bad(misfit: _MisfitError, said: str) -> AnswerFormError:
    error = AnswerFormError(
        f'The answer is not the JSON that was asked for: {misfit}',
        'Ask for less, allow more max_new_tokens, or take a larger model',
    )
    error.text = said
    return error


def _collected(chunks: Iterator[Chunk]) -> Generator[Chunk, None, tuple[str, Chunk]]:
    """Yield the thoughts of an answer; return its text and the last chunk."""
    said, last = '', Chunk('')
    for chunk in chunks:
        said = chunk.text if chunk.retracts else said + chunk.text
        last = chunk
        if chunk.thought and chunk.finish_reason is None:
            yield Chunk('', thought=chunk.thought, source=chunk.source)
    return said, last


def _find(said: str, validator: Callable[[], Any], reason: FinishReason | None) -> str:
    """Return the JSON in a text that fits the schema; raise _MisfitError, which says why not."""
    is_cut = reason is FinishReason.LENGTH
    whole = said.strip()
    if is_cut and whole[-1:].isalnum():  # a number may go on
        whole = ''
    candidates = [whole, *(fenced.strip() for fenced in _FENCE.findall(said)), *_embedded(said)]
    fitting: dict[str, None] = {}
    why: list[_MisfitError] = []
    for candidate in filter(None, dict.fromkeys(candidates)):
        try:
            value = _parsed(candidate)
            _check(value, validator)
            fitting.setdefault(candidate)
            if candidate == whole:
                break
        except _MisfitError as misfit:
            why.append(misfit)
    if len(fitting) == 1:
        return next(iter(fitting))
    if fitting:
        raise _MisfitError(f'it has {len(fitting)} different values that fit')
    if is_cut:
        raise _MisfitError('it was cut, because it is too long')
    # The last reason is that of a whole value, if there was one.
    raise why[-1] if why else _MisfitError('it has no JSON')


def _embedded(said: str) -> Iterator[str]:
    """Yield the outermost objects and lists within a text; one that is not closed ends it."""
    depth = start = 0
    for found in _BRACKET.finditer(_STRING.sub(lambda text: '.' * len(text[0]), said)):
        if found[0] in '{[':
            start = start if depth else found.start()
            depth += 1
        elif depth:
            depth -= 1
            if not depth:
                yield said[start:found.end()]


def _parsed(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f'{constant} is not JSON')

    try:
        value = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise _MisfitError(f'it cannot be read ({_shortened(error)})') from None
    if _depth(value) > MAX_DEPTH:
        raise _MisfitError(f'it is nested more than {MAX_DEPTH} deep')
    return value


def _check(value: Any, validator: Callable[[], Any]) -> None:
    from jsonschema.exceptions import best_match

    try:
        found = best_match(validator().iter_errors(value))
    except (RecursionError, OverflowError) as error:
        raise RequestError(f'The json_schema cannot be checked: {_shortened(error)}') from None
    if found:
        raise _MisfitError(_told(found))


def _told(error: Any) -> str:
    """Say where a value or a schema is wrong, and in which way."""
    where = '.'.join(map(str, error.absolute_path))
    return (where and f'{where}: ') + _shortened(error.message)


@functools.lru_cache(maxsize=16)
def _validator(text: str) -> Callable[[], Any]:
    """Return what makes validators of a schema; raise RequestError for one that cannot be used."""
    from jsonschema import exceptions, validators

    if len(text) > MAX_SCHEMA:
        raise RequestError(
            f'json_schema has {len(text)} characters, at most {MAX_SCHEMA} are read')
    try:
        schema = json.loads(text or '{}')
        if _depth(schema) > MAX_DEPTH:
            raise RequestError(f'json_schema is nested more than {MAX_DEPTH} deep')
        kind = validators.validator_for(schema)
        kind.check_schema(schema)
        if isinstance(schema, dict):
            schema = {name: part for name, part in schema.items() if name not in _NAMES}
        _check_parts(schema, schema)
    except exceptions.SchemaError as wrong:
        raise RequestError(f'json_schema is no JSON Schema: {_told(wrong)}') from None
    except re.error as error:
        raise RequestError(f'json_schema has a wrong pattern: {error}') from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f'json_schema is not JSON: {_shortened(error)}') from None

    def new() -> Any:
        left = iter(range(_STEPS))

        def counted(keyword: Callable[..., Any]) -> Callable[..., Any]:
            def look(*arguments: Any) -> Iterator[Any]:
                if next(left, None) is None:
                    raise RequestError('The json_schema takes too long to check an answer with')
                yield from keyword(*arguments) or ()

            return look

        keywords = {name: counted(keyword) for name, keyword in kind.VALIDATORS.items()}
        return validators.extend(kind, keywords)(schema)

    return new


def _check_parts(part: Any, schema: Any) -> None:
    """Raise RequestError for what leads elsewhere or nowhere, re.error for a wrong pattern."""
    parts = list(part.values()) if isinstance(part, dict) else part
    if isinstance(part, dict):
        texts = {name: value for name, value in part.items() if isinstance(value, str)}
        for name in _NAMES & texts.keys():
            raise RequestError(f'json_schema has {name} within it: leave it out')
        for name in _REFERENCES & texts.keys():
            _follow(texts[name], schema)
        re.compile(texts.get('pattern', ''))
        patterns = part.get('patternProperties')
        for pattern in patterns if isinstance(patterns, dict) else ():
            re.compile(pattern)
    for inner in parts if isinstance(parts, list) else ():
        _check_parts(inner, schema)


def _follow(reference: str, schema: Any) -> None:
    """Raise RequestError unless a reference leads to a part of the schema."""
    if not re.fullmatch('#(/.*)?', reference):
        raise RequestError(
            f'json_schema refers to {reprlib.repr(reference)}, which is not fetched: write it '
            'below $defs, and refer to it as #/$defs/...'
        )
    target = schema
    for part in unquote(reference).split('/')[1:]:
        name = part.replace('~1', '/').replace('~0', '~')
        try:
            target = target[int(name) if isinstance(target, list) else name]
        except (KeyError, IndexError, TypeError, ValueError):
            raise RequestError(f'json_schema has nothing at {reprlib.repr(reference)}') from None


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_depth, inner), default=0) if isinstance(value, (dict, list)) else 0


def _shortened(reason: object) -> str:
    text = ' '.join(str(reason).split())
    return text if len(text) <= _REASON else f'{text[:_REASON]}...'
