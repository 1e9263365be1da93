# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Answers as JSON of a schema: cut out of what the model writes, checked, asked for once more.

What a model writes around it (a fence, a sentence) is left out. Nothing that does not fit the
schema is an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
import functools
import json
import math
import re
import reprlib
import subprocess
import sys
import time
from typing import Any
from urllib.parse import unquote

from vlm_npu_ros.engine.backends.base import Answer, LanguageModel
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
_SECONDS = 1.0  # of a processor to check an answer; references can multiply what is checked
# Tries all patterns on all texts, in a process that ends itself after so many seconds: `re` cannot
# be stopped, keeps all other threads waiting, and can take longer than anybody waits.
_MATCH = """
import json, re, signal, sys
patterns, texts = json.load(sys.stdin)
signal.setitimer(signal.ITIMER_VIRTUAL, 0.2)
for pattern in patterns:
    for text in texts:
        re.search(pattern, text)
"""
_REASON = 200  # characters that a model is told
_REFERENCES = {'$ref', '$dynamicRef', '$recursiveRef'}
_NAMES = {'$id', '$schema'}  # what they name may be fetched, or read by other rules
_FENCE = re.compile(r'```[\w-]*\n?(.*?)```', re.DOTALL)
_BRACKET = re.compile(r'[\[\]{}]')
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')  # brackets in it are text


class _MisfitError(Exception):
    """Why a text is not the JSON that is wanted."""


def checked_schema(text: str) -> str:
    """
    Return a JSON Schema as models are told it, without spaces; '' = any JSON.

    Raises RequestError unless the text is a schema, is bounded, and refers to nothing elsewhere.
    """
    schema = _read_schema(text).schema
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
    schema = _read_schema(request.schema or '')
    may_repeat = request.ask_back and model.may_displace(request)
    first = replace(request, keep=request.keep or may_repeat)
    said, last = yield from _collected(answer(first, stop))
    try:
        yield _checked(said, last, schema)
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
            yield _checked(said, replace(last, figures=both), schema)
            return
        except _MisfitError as error:
            misfit = error
        except (ContextError, EmptyAnswerError, NotSupportedError):
            pass  # what was wrong with the first answer is the reason
    raise _bad(misfit, said)


def _checked(said: str, last: Chunk, schema: _Schema) -> Chunk:
    """Return the last chunk with the JSON that the answer has; raise _MisfitError."""
    if last.finish_reason is FinishReason.CANCELLED:
        return replace(last, text=said)
    return replace(last, text=_find(said, schema, last.finish_reason))


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


def _find(said: str, schema: _Schema, reason: FinishReason | None) -> str:
    """Return the JSON in a text that fits the schema; raise _MisfitError, which says why not."""
    is_cut = reason is FinishReason.LENGTH
    whole = said.strip()
    if is_cut and whole[-1:].isalnum():  # a number may go on
        whole = ''
    candidates = [whole, *(fenced.strip() for fenced in _FENCE.findall(said)), *_embedded(said)]
    fitting: dict[str, None] = {}
    values: dict[str, Any] = {}
    why: list[_MisfitError] = []
    for candidate in filter(None, dict.fromkeys(candidates)):
        try:
            values[candidate] = _read(candidate)
        except (ValueError, RecursionError) as error:
            why.append(_MisfitError(f'it cannot be read ({_shortened(error)})'))
    _try_patterns(schema.patterns, values.values())
    validator = schema.validator()  # one for all, because its time is limited
    for candidate, value in values.items():
        try:
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


def _read(text: str) -> Any:
    """Parse JSON; raise ValueError or RecursionError, also for what is nested too deep."""
    def finite(number: str) -> float:
        value = float(number)
        if not math.isfinite(value):
            raise ValueError(f'{number} is not JSON, or too large')
        return value

    value = json.loads(text, parse_constant=finite, parse_float=finite)
    if _depth(value) > MAX_DEPTH:
        raise ValueError(f'it is nested more than {MAX_DEPTH} deep')
    return value


def _try_patterns(patterns: tuple[str, ...], values: Iterable[Any]) -> None:
    """Raise RequestError if a pattern takes too long with a text of the values."""
    if not patterns:
        return
    given = json.dumps([patterns, sorted({text for value in values for text in _texts(value)})])
    command = [sys.executable, '-I', '-S', '-c', _MATCH]
    if subprocess.run(command, input=given.encode(), check=False).returncode:
        raise RequestError(
            'A pattern of the json_schema takes too long to check an answer with',
            'Repeat nothing in it that has repetitions or alternatives itself',
        )


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a value, also names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value if isinstance(value, list) else (*value, *value.values()):
            yield from _texts(part)


def _check(value: Any, validator: Any) -> None:
    from jsonschema.exceptions import best_match

    try:
        found = best_match(validator.iter_errors(value))
    except (RecursionError, OverflowError) as error:
        raise RequestError(f'The json_schema cannot be checked: {_shortened(error)}') from None
    if found:
        raise _MisfitError(_told(found))


def _told(error: Any) -> str:
    """Say where a value or a schema is wrong, and in which way."""
    where = '.'.join(map(str, error.absolute_path))
    return (where and f'{where}: ') + _shortened(error.message)


@dataclass(frozen=True)
class _Schema:
    """A schema that can be used: its parts, its class of validators, and all its patterns."""

    schema: Any
    kind: Any
    patterns: tuple[str, ...]

    def validator(self) -> Any:
        """Make a validator, which raises RequestError when its time is over."""
        from jsonschema import validators

        end = time.thread_time() + _SECONDS

        def timed(keyword: Callable[..., Any]) -> Callable[..., Any]:
            def look(*arguments: Any) -> Iterator[Any]:
                if time.thread_time() > end:
                    raise RequestError('The json_schema takes too long to check an answer with')
                yield from keyword(*arguments) or ()

            return look

        keywords = {name: timed(keyword) for name, keyword in self.kind.VALIDATORS.items()}
        return validators.extend(self.kind, keywords)(self.schema)


@functools.lru_cache(maxsize=16)
def _read_schema(text: str) -> _Schema:
    """Read a schema; raise RequestError for one that cannot be used."""
    from jsonschema import exceptions, validators

    if len(text) > MAX_SCHEMA:
        raise RequestError(
            f'json_schema has {len(text)} characters, at most {MAX_SCHEMA} are read')
    try:
        schema = _read(text or '{}')
        is_named = isinstance(schema, dict) and isinstance(schema.get('$schema'), str)
        kind = validators.validator_for(schema if is_named else {})
        kind.check_schema(schema)
        if isinstance(schema, dict):
            schema = {name: part for name, part in schema.items() if name not in _NAMES}
        patterns = tuple(dict.fromkeys(_patterns(schema, schema)))
        for pattern in patterns:
            re.compile(pattern)
    except exceptions.SchemaError as wrong:
        raise RequestError(f'json_schema is no JSON Schema: {_told(wrong)}') from None
    except (re.error, OverflowError) as error:
        raise RequestError(f'json_schema has a wrong pattern: {error}') from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f'json_schema cannot be read: {_shortened(error)}') from None
    return _Schema(schema, kind, patterns)


def _patterns(part: Any, schema: Any) -> Iterator[str]:
    """Yield the patterns; raise RequestError for what leads elsewhere or nowhere."""
    parts = list(part.values()) if isinstance(part, dict) else part
    if isinstance(part, dict):
        texts = {name: value for name, value in part.items() if isinstance(value, str)}
        for name in _NAMES & texts.keys():
            raise RequestError(f'json_schema has {name} within it: leave it out')
        for name in _REFERENCES & texts.keys():
            _follow(texts[name], schema)
        if 'pattern' in texts:
            yield texts['pattern']
        named = part.get('patternProperties')
        yield from named if isinstance(named, dict) else ()
    for inner in parts if isinstance(parts, list) else ():
        yield from _patterns(inner, schema)


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
