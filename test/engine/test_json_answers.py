# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from vlm_npu_ros.engine.backends.scripted import ScriptedEncoder, ScriptedLanguageModel
from vlm_npu_ros.engine.errors import AnswerFormError, NotSupportedError, RequestError
from vlm_npu_ros.engine.json_answers import checked_schema, MAX_DEPTH, MAX_SCHEMA
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import Chunk, FinishReason, GenerationRequest

COUNT = {
    'type': 'object', 'properties': {'count': {'type': 'integer', 'minimum': 0}},
    'required': ['count'], 'additionalProperties': False,
}


class Scripted(ScriptedLanguageModel):
    """Counts how often it is asked, and keeps the last request."""

    def __init__(self, *answers: str) -> None:
        super().__init__(answers)
        self.requests: list[GenerationRequest] = []

    def generate(self, request: GenerationRequest, cancelled: Any) -> Any:
        self.requests.append(request)
        return super().generate(request, cancelled)


def ask(model: Scripted, schema: Any, **options: Any) -> list[Chunk]:
    """Ask a model for JSON; return the chunks of its answer."""
    engine = LocalEngine(ScriptedEncoder(), model)
    text = checked_schema(json.dumps(schema))
    request = GenerationRequest('what?', (), **{'schema': text, 'max_new_tokens': 99, **options})
    return list(engine.generate(request))


def test_json_is_cut_out_of_its_wrapping() -> None:
    deep = {'type': 'array', 'items': {'type': 'string'}}
    for said, schema, expected in (
        ('{"count": 3}', COUNT, '{"count": 3}'),
        (' {"count":\n 3}\n', COUNT, '{"count":\n 3}'),
        ('```json\n{"count": 3}\n```', COUNT, '{"count": 3}'),
        ('Sure! Here it is:\n```\n{"count": 3}\n```\nAnything else?', COUNT, '{"count": 3}'),
        ('I see {some} things: {"count": 3}. Good.', COUNT, '{"count": 3}'),
        ('{"count": 3} {"count": 3}', COUNT, '{"count": 3}'),  # the same again
        ('{"wrong": 1} no: {"count": 3}', COUNT, '{"count": 3}'),
        ('["a } b", "]"]', deep, '["a } b", "]"]'),
        ('It is "é\\u00e9".\n["é\\u00e9"]', deep, '["é\\u00e9"]'),
        ('4.5', {'type': 'number'}, '4.5'),
        ('```\n"red"\n```', {'enum': ['red', 'blue']}, '"red"'),
        ('null', {}, 'null'),
        ('{"a": [1, {"b": 2}]}', {}, '{"a": [1, {"b": 2}]}'),
    ):
        model = Scripted(said)
        chunks = ask(model, schema)
        assert ''.join(chunk.text for chunk in chunks) == chunks[-1].text == expected, said
        assert chunks[-1].finish_reason is FinishReason.EOS and chunks[-1].figures
        assert len(model.requests) == 1, said


def test_what_does_not_fit_is_asked_for_once_more_with_the_reason() -> None:
    for said, schema, reason in (
        ('There are three.', COUNT, 'it cannot be read'),
        ('{"count": -3}', COUNT, 'count: -3 is less than the minimum of 0'),
        ('{"count": "3"}', COUNT, "count: '3' is not of type 'integer'"),
        ('{}', COUNT, "'count' is a required property"),
        ('{"count": 3', COUNT, 'it cannot be read'),
        ("{'count': 3}", COUNT, 'it cannot be read'),
        ('{"count": 3} or {"count": 4}', COUNT, '2 different values'),
        ('{"count": NaN}', {}, 'NaN is not JSON'),
        ('{"a": [{"b": 1}, {"b": 2}', {}, 'it cannot be read'),  # parts of it are no answer
        ("{'a': {\"b\": 1}}", {}, 'it cannot be read'),
        ('[' * 100 + ']' * 100, {}, f'nested more than {MAX_DEPTH} deep'),
        ('[' * 100_000, {}, 'it cannot be read'),
        ('[' * 800 + ']' * 800, {}, 'it cannot be read'),
        ('{"count": 1e999}', {}, 'too large'),
        ('1' * 5000, {'type': 'integer'}, 'it cannot be read'),
    ):
        model = Scripted(said, 'Oh. {"count": 3}')
        if schema is not COUNT:
            model = Scripted(said, '{"count": 3}' if schema == {} else '3')
        chunks = ask(model, schema)
        assert json.loads(chunks[-1].text) in ({'count': 3}, 3), said[:50]
        first, second = model.requests
        assert reason in second.question, said[:50]
        assert len(second.question) < 400
        assert second.turns[-1].answer == said and first.keep
        assert chunks[-1].figures and chunks[-1].figures.new_tokens > 1


def test_an_answer_that_never_fits_is_an_error_with_its_text() -> None:
    for options in ({}, {'ask_back': False}, {'keep': True}):
        model = Scripted('no', 'still no')
        model.takes_up_dialogues = 'keep' not in options
        with pytest.raises(AnswerFormError, match='not the JSON that was asked for') as raised:
            ask(model, COUNT, **options)
        assert len(model.requests) == (1 if options else 2)
        assert raised.value.text == ('no' if options else 'still no')
        assert raised.value.remedy


def test_a_cut_answer_is_not_taken_for_a_whole_one() -> None:
    for said, tokens in (('{"count": 3}', 1), ('12 34', 1)):
        with pytest.raises(AnswerFormError, match='it was cut'):
            ask(Scripted(said), {}, max_new_tokens=tokens)


def test_schemas_are_bounded_and_stand_alone() -> None:
    nested: Any = {}
    for _ in range(MAX_DEPTH + 1):
        nested = {'not': nested}
    circle = {'$defs': {'a': {'$ref': '#/$defs/a'}}, '$ref': '#/$defs/a'}
    for schema, words in (
        ('{', 'cannot be read'),
        ('[]', 'no JSON Schema'),
        ('null', 'no JSON Schema'),
        ('7', 'no JSON Schema'),
        ('{"$schema": 5}', 'no JSON Schema: $schema'),
        ('{"const": NaN}', 'NaN is not JSON'),
        ('{"multipleOf": 1e999}', 'too large'),
        ('{"type": "colour"}', 'no JSON Schema: type'),
        ('{"a": "' + 'x' * MAX_SCHEMA + '"}', f'at most {MAX_SCHEMA}'),
        (json.dumps(nested), f'more than {MAX_DEPTH} deep'),
        ('[' * 5000, 'cannot be read'),
        ('{"$ref": "https://example.org/schema"}', 'which is not fetched'),
        ('{"$ref": "other.json#/a"}', 'which is not fetched'),
        ('{"$ref": "#/$defs/a"}', 'nothing at'),
        ('{"properties": {"a": {"$id": "http://example.org/a"}}}', '$id within it'),
        ('{"properties": {"a": {"pattern": "("}}}', 'wrong pattern|regex'),
        ('{"patternProperties": {"[": {}}}', 'wrong pattern|regex'),
        ('{"pattern": "a{99999999999}"}', 'wrong pattern'),
    ):
        with pytest.raises(RequestError, match=words.replace('$', r'\$')):
            checked_schema(schema)
    doubling: dict[str, Any] = {f'd{i}': {'allOf': 2 * [{'$ref': f'#/$defs/d{i + 1}'}]}
                                for i in range(40)}
    for endless in (circle, {'$defs': {**doubling, 'd40': {'type': 'object'}},
                             '$ref': '#/$defs/d0'}):
        with pytest.raises(RequestError, match='json_schema (cannot be checked|takes too long)'):
            ask(Scripted('{}'), endless)
    for schema in ('', '{}', 'true', '{"$schema": "http://json-schema.org/draft-07/schema#"}'):
        assert checked_schema(schema) == ''
    assert checked_schema(' {"type": "object",  "title": "é"}') == '{"type":"object","title":"é"}'
    model = Scripted('{}')
    ask(model, {'$defs': {'a/b': {'type': 'object'}}, '$ref': '#/$defs/a~1b'})
    assert len(model.requests) == 1


def test_patterns_are_tried_for_a_limited_time() -> None:
    name = {'patternProperties': {'^(a|aa)+$': {}}, 'additionalProperties': False}
    long = 'a' * 50
    for schema, said in (({'pattern': '(a+)+$'}, f'"{long}!"'), (name, f'{{"{long}!": 1}}')):
        with pytest.raises(RequestError, match='takes too long') as raised:
            ask(Scripted(said), schema)
        assert raised.value.remedy
        right = said.replace('!', '')
        assert ask(Scripted(right), schema)[-1].text == right
    model = Scripted('"red 4"', '"4"')
    assert ask(model, {'pattern': '^[0-9]+$'})[-1].text == '"4"' and len(model.requests) == 2


def test_the_model_is_told_the_schema() -> None:
    model = Scripted('{"count": 3}')
    model.instructions = type(model.instructions)()
    ask(model, COUNT)
    question = model.requests[0].question
    assert question.startswith('what? Reply with JSON only. It must fit this JSON Schema: {"type"')
    model.instructions = type(model.instructions)(json='')
    with pytest.raises(NotSupportedError, match='writes no JSON'):
        ask(model, COUNT)
    model.takes_system_prompt = False
    with pytest.raises(NotSupportedError, match='no place for a system_prompt'):
        ask(model, COUNT, system_prompt='You are a guard.')


def test_200_schemas_never_give_invalid_json() -> None:
    """Models that answer right, wrapped, cut or wrong: what is given out fits, or is an error."""
    rng, ended = random.Random(23), {'whole': 0, 'error': 0}
    for _ in range(200):
        schema, value = drawn(rng, 3)
        right = json.dumps(value)
        answers = [rng.choice([
            right, f'```json\n{right}\n```', f'Here: {right}',
            right[:rng.randrange(len(right))] or '{',
            right.replace('"', "'"), 'I cannot.', json.dumps(drawn(rng, 2)[1]), f'{right},',
        ]) for _ in range(2)]
        model = Scripted(*answers)
        try:
            text = ask(model, schema)[-1].text
        except AnswerFormError:
            ended['error'] += 1
        else:
            ended['whole'] += 1
            assert right_kind(json.loads(text), schema), (text, schema)
        assert len(model.requests) <= 2
    assert min(ended.values()) > 20, ended


def drawn(rng: random.Random, depth: int) -> tuple[dict[str, Any], Any]:
    """Draw a schema and a value that fits it."""
    kind = rng.choice(['object', 'array', 'string', 'integer', 'boolean', 'enum'][
        0 if depth else 2:])
    if kind == 'object':
        parts = {f'k{i}': drawn(rng, depth - 1) for i in range(rng.randrange(1, 4))}
        properties = {name: schema for name, (schema, _) in parts.items()}
        return ({'type': kind, 'properties': properties, 'required': [*parts]},
                {name: value for name, (_, value) in parts.items()})
    if kind == 'array':
        schema, value = drawn(rng, depth - 1)
        return {'type': kind, 'items': schema}, [value] * rng.randrange(3)
    value: Any = {'string': rng.choice(['', 'a "b"', '}', 'é']), 'integer': rng.randrange(-9, 99),
                  'boolean': rng.random() < 0.5, 'enum': rng.choice(['red', 'blue'])}[kind]
    return {'enum': ['red', 'blue']} if kind == 'enum' else {'type': kind}, value


def right_kind(value: Any, schema: dict[str, Any]) -> bool:
    """Check a value against a schema of `drawn`, without a library."""
    if 'enum' in schema:
        return value in schema['enum']
    if schema['type'] == 'object':
        return isinstance(value, dict) and all(
            name in value and right_kind(value[name], part)
            for name, part in schema['properties'].items())
    if schema['type'] == 'array':
        return isinstance(value, list) and all(right_kind(v, schema['items']) for v in value)
    kind = {'string': str, 'integer': int, 'boolean': bool}[schema['type']]
    return type(value) is kind
