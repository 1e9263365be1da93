# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Servers whose models think: in fields, in tags, in log-probabilities, and for too long."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log
import time

from chat_server import Answer, ChatServer, Exchange
import pytest
from vlm_npu_ros.engine.errors import EmptyAnswerError
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import GenerationRequest

MakeEngine = Callable[..., LocalEngine]
FREE = GenerationRequest('what is it?', ())
TYPED = GenerationRequest('is it wet?', (), 32, choices=('yes', 'no'))
# The thought is sure of no, the answer of yes.
NO = {'No': log(0.9), 'Yes': log(0.05)}
YES = {'Yes': log(0.97), 'No': log(0.02)}


def end(exchange: Exchange, reason: str = 'stop') -> None:
    exchange.end(reason, prompt=50, new=20)


def thinking(field: str) -> Answer:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for word in ('No', ' puddle', ' there.'):
            top = [{'token': t, 'logprob': p} for t, p in NO.items()]
            token = {'token': word, 'logprob': -0.1, 'top_logprobs': top}
            exchange.event({field: word}, logprobs={'content': [token]})
        exchange.say('Yes', YES)
        end(exchange)

    return answer


@pytest.mark.parametrize('field', ['reasoning', 'reasoning_content', 'thinking', 'thought'])
def test_thoughts_in_a_field(make_engine: MakeEngine, server: ChatServer, field: str) -> None:
    server.answer = thinking(field)
    for typed in ('logprobs', 'parse'):
        chunks = list(make_engine(typed=typed).generate(TYPED))
        assert ''.join(chunk.thought for chunk in chunks) == 'No puddle there.'
        assert ''.join(chunk.text for chunk in chunks) == 'Yes'
        verdict = chunks[-1].verdict
        assert verdict and verdict.index == 0
        if typed == 'logprobs':
            assert verdict.probability == pytest.approx(exp(YES['Yes']))
        figures = chunks[-1].figures
        assert figures and figures.thought_tokens == 3


def test_log_probabilities_of_thoughts_within_the_text(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for word in ('No', ' puddle', ' there'):  # the prompt has opened it
            exchange.say(word, {**NO, word: -0.1})
        exchange.say('</think>', {'</think>': 0.0})
        exchange.say('\n\n', {'\n\n': 0.0})
        exchange.say('Yes', YES)
        end(exchange)

    server.answer = answer
    engine = make_engine(typed='logprobs')
    for _ in range(2):
        *_, last = engine.generate(TYPED)
        assert last.verdict and last.verdict.index == 0
        assert last.verdict.probability == pytest.approx(exp(YES['Yes']))


def test_thoughts_and_answer_in_one_event(make_engine: MakeEngine, server: ChatServer) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        tokens = [
            {'token': text, 'logprob': -0.1,
             'top_logprobs': [{'token': t, 'logprob': p} for t, p in tops.items()]}
            for text, tops in (('No', NO), ('.', {}), ('Yes', YES))
        ]
        exchange.event({'reasoning': 'No.', 'content': 'Yes'}, logprobs={'content': tokens})
        end(exchange)

    server.answer = answer
    *_, last = make_engine(typed='logprobs').generate(TYPED)
    assert last.verdict and last.verdict.probability == pytest.approx(exp(YES['Yes']))


def test_thoughts_are_a_sign_of_life(make_engine: MakeEngine, server: ChatServer) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for _ in range(6):
            exchange.event({'reasoning': 'hm '})
            time.sleep(0.4)
        exchange.say('a cone')
        end(exchange)

    server.answer = answer
    assert make_engine(first_token_timeout=2.0, token_timeout=2.0).answer(FREE) == 'a cone'


@pytest.mark.parametrize(
    ('delta', 'reason', 'says'),
    [
        ({'reasoning': 'hm'}, 'length', 'only thought up to max_new_tokens: about 1 tokens'),
        ({'content': '<think>hm'}, 'length', 'only thought up to max_new_tokens'),
        ({'refusal': 'I will not.'}, 'stop', 'refuses to answer: I will not. Ask'),
        ({}, 'content_filter', 'content filter has withheld'),
        ({}, 'stop', 'ended without an answer'),
        ({'content': ' \n'}, 'stop', 'ended without an answer'),
    ],
)
def test_nothing_is_an_error(
    make_engine: MakeEngine, server: ChatServer, delta: dict[str, str], reason: str, says: str
) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        exchange.event(delta)
        end(exchange, reason)

    server.answer = answer
    engine = make_engine(typed='parse')
    for question in (FREE, TYPED):
        with pytest.raises(EmptyAnswerError, match=says):
            engine.answer(question)


def test_model_with_a_name_of_thinkers_is_waited_for(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    models = [{'id': 'Eye-8B-Thinking'}]
    server.list_models = lambda exchange: exchange.reply(200, models)
    words = ['It is', ' wet?', '\n</think>\n\n', 'A', ' cone']

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for word in words:
            exchange.say(word)
        end(exchange)

    server.answer = answer
    chunks = list(make_engine().generate(FREE))
    assert not any(chunk.retracts for chunk in chunks)
    assert ''.join(chunk.text for chunk in chunks) == 'A cone'
    words = ['A', ' dog']  # it did not think this time
    assert make_engine().answer(FREE) == 'A dog'
