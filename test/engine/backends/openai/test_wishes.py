# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What a server refuses is not asked for again, and a picture is not sent again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chat_server import Answer, ChatServer, Exchange, say_words
import numpy as np
import pytest
from vlm_npu_ros.engine.errors import (
    BackendUnavailableError,
    ContextError,
    ModelFileError,
    NotSupportedError,
    RequestError,
    VlmError,
)
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import GenerationRequest, Sampling

MakeEngine = Callable[..., LocalEngine]
PICTURE = np.full((32, 32, 3), 90, np.uint8)


def about_a_picture(engine: LocalEngine, **fields: Any) -> GenerationRequest:
    return GenerationRequest('what is it?', (engine.encode(PICTURE),), **fields)


def posted(server: ChatServer) -> list[dict[str, Any]]:
    """Return the bodies of all questions so far."""
    bodies = []
    while not server.requests.empty():
        body = server.requests.get().body
        bodies += [body] if body else []
    return bodies


def with_picture(body: dict[str, Any]) -> bool:
    return any(isinstance(message['content'], list) for message in body['messages'])


def fussy(**refused: Callable[[Any], bool]) -> Answer:
    """Refuse arguments for which a function is true, and name them in the way of OpenAI."""
    def answer(exchange: Exchange) -> None:
        for name, refuses in refused.items():
            if name in exchange.body and refuses(exchange.body[name]):
                error = {'message': 'This value is not supported.', 'param': name,
                         'type': 'invalid_request_error', 'code': 'unsupported_value'}
                return exchange.reply(400, {'error': error})
        say_words('a', ' cone')(exchange)

    return answer


def always(_: object) -> bool:
    return True


def test_arguments_with_newer_names_or_fewer_values(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    server.answer = fussy(
        max_tokens=always, temperature=lambda value: value != 1,
        reasoning_effort=lambda value: value in ('none', 'minimal'), chat_template_kwargs=always,
    )
    engine = make_engine(thinking='off')
    question = about_a_picture(engine, max_new_tokens=50)
    assert engine.answer(question) == 'a cone'
    posted(server)
    assert engine.answer(question) == 'a cone'
    (body,) = posted(server)
    assert {n: v for n, v in body.items() if n != 'messages'} == {
        'model': 'tiny', 'stream': True, 'max_completion_tokens': 50, 'reasoning_effort': 'low',
        'stream_options': {'include_usage': True},
    }


def test_refusal_that_stays_is_another_backends_business(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    server.answer = fussy(max_tokens=always, max_completion_tokens=always, temperature=always)
    engine = make_engine()
    assert engine.answer(GenerationRequest('what?', ())) == 'a cone'  # without any of them
    error = {'message': 'seed: not here', 'code': 400}
    server.answer = lambda exchange: exchange.reply(400, {'error': error})
    question = GenerationRequest('what?', (), sampling=Sampling(0.5, seed=3))
    with pytest.raises(NotSupportedError, match='seed: not here'):
        engine.answer(question)


@pytest.mark.parametrize(
    ('status', 'error', 'expected'),
    [
        (400, 'This one cannot take pictures: the model reads text', ModelFileError),
        (500, 'no image projector is loaded', ModelFileError),
        (422, 'content: must be a string', ModelFileError),
        (400, 'up to 0 images in a prompt', ModelFileError),
        (400, 'up to 1 image in a prompt', NotSupportedError),
        (400, 'the prompt has 900 tokens, but only 512 of context', ContextError),
        (413, 'too much', NotSupportedError),
        (400, 'API key missing', BackendUnavailableError),
        (400, 'hocus pocus', RequestError),
    ],
)
def test_picture_is_sent_once(
    make_engine: MakeEngine, server: ChatServer, status: int, error: str,
    expected: type[VlmError],
) -> None:
    def answer(exchange: Exchange) -> None:
        if with_picture(exchange.body):
            return exchange.reply(status, {'error': error})
        say_words('yes')(exchange)

    server.answer = answer
    engine = make_engine(retries=2)
    question = about_a_picture(engine, choices=('yes', 'no'))
    for _ in range(2):
        with pytest.raises(expected) as caught:
            engine.answer(question)
        assert type(caught.value) is expected
        assert sum(map(with_picture, posted(server))) == 1


def test_server_that_does_not_say_what_it_refuses_gets_the_picture_twice(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    def answer(exchange: Exchange) -> None:
        if {'logprobs', 'stream_options'} & set(exchange.body):
            return exchange.reply(400, {'error': 'hocus pocus'})
        say_words('yes')(exchange)

    server.answer = answer
    engine = make_engine()
    question = about_a_picture(engine, choices=('yes', 'no'))
    *_, last = engine.generate(question)
    assert last.verdict and last.verdict.index == 0
    assert sum(map(with_picture, posted(server))) == 2
    engine.answer(question)
    (body,) = posted(server)
    assert 'response_format' in body and 'stream_options' not in body


# --- thinking, and arguments of one's own ---


@pytest.mark.parametrize(
    ('thinking', 'sent'),
    [
        ('auto', {}),
        ('off', {'chat_template_kwargs': {'enable_thinking': False, 'thinking': False},
                 'reasoning_effort': 'none'}),
        ('on', {'chat_template_kwargs': {'enable_thinking': True, 'thinking': True},
                'reasoning_effort': 'medium'}),
    ],
)
def test_thinking_is_switched(
    make_engine: MakeEngine, server: ChatServer, thinking: str, sent: dict[str, Any]
) -> None:
    make_engine(thinking=thinking).answer(GenerationRequest('what?', ()))
    (body,) = posted(server)
    names = ('chat_template_kwargs', 'reasoning_effort')
    assert {name: body[name] for name in names if name in body} == sent


def test_arguments_of_ones_own(make_engine: MakeEngine, server: ChatServer) -> None:
    extra = '{"top_k": 7, "max_tokens": 9, "temperature": null, "n_keep": 4}'
    engine = make_engine(extra_body=extra)
    engine.answer(GenerationRequest('what?', ()))
    (body,) = posted(server)
    assert (body['top_k'], body['max_tokens'], body['n_keep']) == (7, 9, 4)
    assert 'temperature' not in body
    # They are not left out in silence.
    server.answer = fussy(top_k=always)
    with pytest.raises(NotSupportedError):
        engine.answer(GenerationRequest('what?', ()))


@pytest.mark.parametrize('text', ['{', '[]', '7', 'top_k: 3'])
def test_arguments_that_are_no_json(make_engine: MakeEngine, text: str) -> None:
    with pytest.raises(BackendUnavailableError, match='openai.extra_body is not a JSON object'):
        make_engine(extra_body=text)


def test_trifle_is_not_asked_where_the_wishes_are_known(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    engine = make_engine()
    question = about_a_picture(engine)
    engine.answer(question)
    server.answer = lambda exchange: exchange.reply(400, {'error': 'hocus pocus'})
    posted(server)
    with pytest.raises(RequestError):
        engine.answer(replace(question, question='why?'))
    assert len(posted(server)) == 1
