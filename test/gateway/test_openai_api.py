# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Chat completions of an engine in the process, asked for by real clients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
import contextlib
import json
import subprocess
import threading
import time
from typing import Any

import pytest
from served import asks, jpeg, PATIENCE, picture, scripted, served
from vlm_npu_ros.engine.backends.scripted import ScriptedTimings

openai = pytest.importorskip('openai')
ANSWERS = {
    'what do you see?': 'A red box stands on the table.',
    'and behind it?': 'A blue cone. END of all.',
    'is it red?': 'Yes, it is.',
    'which colour?': 'Blue.',
    'nothing?': '',
    'as JSON?': 'Here: ```json\n{"doors": 2}\n```',
}
CHOICE = {
    'type': 'json_schema',
    'json_schema': {'name': 'colour', 'strict': True, 'schema': {
        'type': 'object', 'properties': {'colour': {'enum': ['red', 'blue']}},
        'required': ['colour'], 'additionalProperties': False,
    }},
}


@pytest.fixture(scope='module')
def address() -> Iterator[str]:
    with served(scripted(ANSWERS)) as url:
        yield url


@pytest.fixture(scope='module')
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f'{address}/v1', api_key='none', max_retries=0) as made:
        yield made


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ['scripted']
    assert client.models.retrieve('scripted').id == 'scripted'
    with pytest.raises(openai.NotFoundError, match='choose one of scripted'):
        client.models.retrieve('camera/front')


def test_answers_whole_and_in_pieces_are_the_same(client: openai.OpenAI) -> None:
    messages: Any = asks('what do you see?', jpeg(), jpeg((0, 0, 0)))
    whole = client.chat.completions.create(model='scripted', messages=messages)
    assert whole.choices[0].message.content == ANSWERS['what do you see?']
    assert whole.choices[0].finish_reason == 'stop'
    assert whole.usage and whole.usage.completion_tokens == 7
    assert whole.usage.prompt_tokens == 2 * 64 + 4
    stream = client.chat.completions.create(
        model='scripted', messages=messages, stream=True, stream_options={'include_usage': True}
    )
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content or '' for chunk in chunks if chunk.choices]
    assert len(pieces) > 7 and ''.join(pieces) == ANSWERS['what do you see?']
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == 'stop'
    assert chunks[-1].usage == whole.usage
    role: Any = {'role': 'system', 'content': 'Be very brief.'}
    brief = client.chat.completions.create(model='scripted', messages=[role, *messages])
    assert brief.usage and brief.usage.prompt_tokens == whole.usage.prompt_tokens + 3


def test_an_answer_ends_where_it_is_told_to(client: openai.OpenAI) -> None:
    messages: Any = [
        *asks('what do you see?', jpeg()),
        {'role': 'assistant', 'content': ANSWERS['what do you see?']},
        {'role': 'user', 'content': 'and behind it?'},
    ]
    for options, text, reason in (
        ({'max_tokens': 2}, 'A blue', 'length'),
        ({'max_completion_tokens': 1}, 'A', 'length'),
        ({'stop': 'END'}, 'A blue cone. ', 'stop'),
        ({'stop': ['zzz', 'cone']}, 'A blue ', 'stop'),
        ({'stop': ['of all. but more']}, 'A blue cone. END of all.', 'stop'),
    ):
        for stream in (False, True):
            made = client.chat.completions.create(
                model='scripted', messages=messages, stream=stream, **options)
            choices = [c.choices[0] for c in made] if stream else [made.choices[0]]
            said = ''.join(
                (c.delta.content or '') if stream else c.message.content for c in choices)
            assert (said, choices[-1].finish_reason) == (text, reason), options


def test_an_enum_is_a_choice(client: openai.OpenAI) -> None:
    alone = {'type': 'json_schema', 'json_schema': {'name': 'a', 'schema': {
        'type': 'string', 'enum': ['yes', 'no', 'unclear']}}}
    spaced = {'type': 'json_schema', 'json_schema': {'schema': {'enum': ['red', 'blue ']}}}
    for question, form, content, choice in (
        ('which colour?', CHOICE, '{"colour": "blue"}', 'blue'),
        ('is it red?', alone, '"yes"', 'yes'),
        ('what do you see?', alone, '"unclear"', 'unclear'),
        ('which colour?', spaced, '"blue "', 'blue'),
    ):
        made = client.chat.completions.create(
            model='scripted', messages=asks(question, jpeg()), response_format=form)
        assert made.choices[0].message.content == content
        assert made.vlm['choice'] == choice  # type: ignore[attr-defined]
        stream = client.chat.completions.create(
            model='scripted', messages=asks(question, jpeg()), response_format=form, stream=True)
        assert ''.join(c.choices[0].delta.content or '' for c in stream) == content
    with pytest.raises(openai.InternalServerError, match='decides for none of red, blue'):
        client.chat.completions.create(
            model='scripted', messages=asks('is it red?', jpeg()), response_format=CHOICE)


def test_an_answer_fits_a_schema(client: openai.OpenAI) -> None:
    schema = {'type': 'object', 'properties': {'doors': {'type': 'integer'},
                                               'windows': {'type': 'integer'}}}
    for form in ({'type': 'json_object'},
                 {'type': 'json_schema', 'json_schema': {'name': 'a', 'schema': schema}}):
        for stream in (False, True):
            made = client.chat.completions.create(
                model='scripted', messages=asks('as JSON?', jpeg()), response_format=form,
                stream=stream)
            said = ''.join(c.choices[0].delta.content or '' for c in made) if stream else (
                made.choices[0].message.content)
            assert json.loads(said) == {'doors': 2}
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(
                model='scripted', messages=asks('is it red?'), response_format=form)
        assert caught.value.code == 'bad_answer'


def test_what_cannot_be_answered_is_told_in_openais_form(client: openai.OpenAI) -> None:
    good: Any = asks('what do you see?', jpeg())
    web: Any = [{'role': 'user', 'content': [
        {'type': 'image_url', 'image_url': {'url': 'http://127.0.0.1:1/a.jpg'}}]}]
    cut: Any = asks('what do you see?', jpeg()[:-400])
    sound: Any = [{'role': 'user', 'content': [{'type': 'input_audio', 'input_audio': {}}]}]
    for options, code, param in (
        ({'messages': web}, 'invalid_image_url', 'messages'),
        ({'messages': cut}, 'invalid_image', None),
        ({'messages': sound}, 'invalid_request', 'messages'),
        ({'messages': [{'role': 'assistant', 'content': 'a'}]}, 'invalid_request', 'messages'),
        ({'messages': []}, 'invalid_request', 'messages'),
        ({'logprobs': True}, 'invalid_request', 'logprobs'),
        ({'n': 2}, 'invalid_request', 'n'),
        ({'temperature': -1}, 'invalid_request', 'temperature'),
        ({'max_tokens': 100_000}, 'invalid_request', None),
        ({'messages': asks('word ' * 5000)}, 'context_length_exceeded', None),
        ({'response_format': {'type': 'json_schema'}}, 'invalid_request', 'response_format'),
        ({'response_format': {'type': 'json_schema', 'json_schema': {'schema': {'type': 7}}}},
         'invalid_request', None),
        ({'messages': asks(' ')}, 'invalid_request', None),
        ({'stop': 'a' * 1001}, 'invalid_request', 'stop'),
        ({'stop': ['a'] * 17}, 'invalid_request', 'stop'),
    ):
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError) as caught:
                client.chat.completions.create(
                    **{'model': 'scripted', 'messages': good, 'stream': stream, **options})
            assert (caught.value.code, caught.value.param) == (code, param), options
            assert caught.value.body['message']  # type: ignore[index]
    empty = client.chat.completions.create(model='scripted', messages=asks('nothing?'))
    assert empty.choices[0].message.content == ''


def test_langchain_shows_a_picture(address: str) -> None:
    langchain = pytest.importorskip('langchain_openai')
    model = langchain.ChatOpenAI(base_url=f'{address}/v1', api_key='none', model='scripted')
    content: Any = [{'type': 'text', 'text': 'what do you see?'}, picture(jpeg())]
    said = model.invoke([{'role': 'user', 'content': content}])
    assert said.content == ANSWERS['what do you see?']


def test_curl_asks(address: str) -> None:
    body = json.dumps({'model': 'scripted', 'messages': asks('is it red?', jpeg())})
    said = subprocess.run(
        ['curl', '-sS', f'{address}/v1/chat/completions', '-H', 'Content-Type: application/json',
         '-d', '@-'], input=body, text=True, capture_output=True, check=True,
    ).stdout
    assert json.loads(said)['choices'][0]['message']['content'] == 'Yes, it is.'


def test_a_client_that_leaves_frees_its_place() -> None:
    source = scripted(['word ' * 60], ScriptedTimings(decode_rate=0.5), waiting=0)
    with served(source) as url, openai.OpenAI(
            base_url=f'{url}/v1', api_key='-', max_retries=0) as client:
        def ask(stream: bool, **options: Any) -> Any:
            return client.with_options(**options).chat.completions.create(
                model='scripted', messages=asks('what?'), stream=stream)

        def refused() -> bool:
            try:
                with ask(stream=True) as stream:
                    next(iter(stream))
                return False
            except openai.RateLimitError as error:
                assert error.response.headers['retry-after'] == '1'
                return True

        def frees() -> None:
            deadline = time.monotonic() + PATIENCE
            while refused():
                assert time.monotonic() < deadline

        with ask(stream=True) as stream:  # in pieces
            next(iter(stream))
            assert refused()
        frees()
        with pytest.raises(openai.APITimeoutError):  # whole
            while True:
                with contextlib.suppress(openai.RateLimitError):  # the last of `frees` may linger
                    ask(stream=False, timeout=0.5)
        frees()


def test_async_clients_are_answered_in_turn(address: str) -> None:
    async def ask(client: openai.AsyncOpenAI, question: str) -> str:
        stream = await client.chat.completions.create(
            model='scripted', messages=asks(question, jpeg()), stream=True)
        return ''.join([chunk.choices[0].delta.content or '' async for chunk in stream])

    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f'{address}/v1', api_key='-') as client:
            return await asyncio.gather(*(ask(client, question) for question in ANSWERS))

    assert asyncio.run(all_of_them()) == list(ANSWERS.values())


def test_timeout_ends_an_answer() -> None:
    source = scripted(['word ' * 60], ScriptedTimings(decode_rate=5.0), timeout=0.3)
    with served(source) as url, openai.OpenAI(
            base_url=f'{url}/v1', api_key='-', max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model='scripted', messages=asks('what?'))
        assert caught.value.status_code == 504
        assert threading.active_count() < 50
