# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Events of all shapes, through the real client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chat_server import ChatServer, Exchange
import pytest
from vlm_npu_ros.engine.errors import RequestError
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import Chunk, FinishReason, GenerationRequest

QUESTION = GenerationRequest('is it red?', (), choices=('yes', 'no'))
FREE = GenerationRequest('what is it?', ())


def send(*events: object) -> Callable[[Exchange], None]:

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for event in events:
            exchange.data(event)
        exchange.body.pop('stream_options')  # what it has cost is in the events
        exchange.end()

    return answer


def choice(**fields: Any) -> dict[str, Any]:
    return {'choices': [{'index': 0, 'delta': {'content': 'a'}, **fields}]}


def logprobs(**fields: Any) -> dict[str, Any]:
    top = [{'token': 'a', 'logprob': -1.0, **fields}]
    return {'content': [{'token': 'a', 'logprob': -1.0, 'top_logprobs': top}]}


@pytest.mark.parametrize(
    'event',
    [
        {'choices': []}, choice(delta={}), choice(delta={'content': None}), choice(logprobs=None),
        choice(logprobs={'content': None}), choice(logprobs=logprobs(logprob=-9999.0)),
        choice(logprobs=logprobs(logprob=1e-7)), choice(delta={'reasoning_content': 'hm'}),
        {'choices': [], 'usage': None}, {**choice(), 'more': [1, 2]},
    ],
)
def test_events_of_all_shapes_are_taken(
    make_engine: Callable[..., LocalEngine], server: ChatServer, event: object
) -> None:
    server.answer = send(event, choice())
    chunks: list[Chunk] = list(make_engine().generate(QUESTION))
    assert chunks[-1].finish_reason is FinishReason.EOS
    assert chunks[-1].figures and not chunks[-1].figures.odd_events


def test_tokens_that_are_held_are_not_counted_again(
    make_engine: Callable[..., LocalEngine], server: ChatServer
) -> None:
    usage = {
        'prompt_tokens': 600, 'completion_tokens': 2, 'total_tokens': 602,
        'prompt_tokens_details': {'cached_tokens': 590},
    }
    server.answer = send(choice(), {'choices': [], 'usage': usage})
    *_, last = make_engine().generate(FREE)
    assert last.figures and (last.figures.prompt_tokens, last.figures.new_tokens) == (10, 2)


@pytest.mark.parametrize(('prompt', 'new'), [(5, -1), (10**30, 1), (5, 10**30)])
def test_counts_that_can_not_be_are_estimated(
    make_engine: Callable[..., LocalEngine], server: ChatServer, prompt: int, new: int
) -> None:
    usage = {'prompt_tokens': prompt, 'completion_tokens': new}
    server.answer = send(choice(), {'choices': [], 'usage': usage})
    *_, last = make_engine().generate(FREE)
    assert last.figures and 0 < last.figures.prompt_tokens < 100
    assert last.figures.new_tokens == 1


def test_half_a_character_is_a_question_mark(
    make_engine: Callable[..., LocalEngine], server: ChatServer
) -> None:
    server.list_models = lambda exchange: exchange.reply(200, {'data': [{'id': 'tiny\ud800'}]})
    server.answer = send(choice(delta={'content': 'a \ud800 b'}))
    engine = make_engine(model='')
    assert engine.answer(GenerationRequest('what is it?', ())) == 'a ? b'
    assert engine.model_name == 'tiny?'
    server.answer = lambda exchange: exchange.reply(400, {'error': {'message': 'no \udfff'}})
    with pytest.raises(RequestError, match=r'no \?'):
        engine.answer(GenerationRequest('what is it?', ()))
