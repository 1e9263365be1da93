# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Rockchip's rkllm3-server, found out by its list of models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chat_server import ChatServer, PATIENCE
import numpy as np
import pytest
from rkllm3_server import CONTEXT, Rkllm3Server
from vlm_npu_ros.engine.errors import ContextError, EmptyAnswerError
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import GenerationRequest, Sampling, Turn

MakeEngine = Callable[..., LocalEngine]
PICTURE = np.full((32, 32, 3), 90, np.uint8)


def seen(messages: list[dict[str, Any]]) -> str:
    pictures = sum(isinstance(message['content'], list) for message in messages)
    return f'{pictures} pictures in|  {len(messages)} messages<|im_end|>'


def test_each_question_stands_for_itself(make_engine: MakeEngine, server: ChatServer) -> None:
    Rkllm3Server(server, seen)
    engine = make_engine()
    assert engine.model_name == '/userdata/eye.rknn'
    request = GenerationRequest('what is it?', (engine.encode(PICTURE),), 100)
    for _ in range(20):  # without a fresh slot, the context would be full after four
        assert engine.answer(request) == '1 pictures in  1 messages'
    request = replace(request, turns=(Turn('what?', 'that'),))
    assert engine.answer(request) == '1 pictures in  3 messages'
    body = server.asked()
    assert body['cache_prompt'] is False and body['temperature'] == 0 and body['top_k'] == 1
    while not server.requests.empty():
        server.requests.get(timeout=PATIENCE)
    engine.answer(replace(request, sampling=Sampling(0.7, top_k=5)))
    assert server.asked()['top_k'] == 5


def test_context_is_not_that_of_the_training(
    make_engine: MakeEngine, server: ChatServer, lines: list[str]
) -> None:
    Rkllm3Server(server, seen)
    engine = make_engine()
    assert 'a context of unknown size' in lines[-1]
    with pytest.raises(ContextError):
        engine.answer(GenerationRequest('why ' * CONTEXT, (), 100))
    assert make_engine(context=CONTEXT).context == CONTEXT


def test_choices_are_asked_for_in_words(make_engine: MakeEngine, server: ChatServer) -> None:
    Rkllm3Server(server, lambda messages: 'Yes|.')
    *_, last = make_engine().generate(GenerationRequest('is it?', (), choices=('yes', 'no')))
    assert last.verdict and last.verdict.index == 0
    assert not {'logprobs', 'response_format'} & server.asked().keys()
    assert server.questions() == 1


def test_server_that_loads_is_waited_for_and_silence_is_an_error(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    Rkllm3Server(server, lambda messages: '', loading=1)
    engine = make_engine(retries=1)
    with pytest.raises(EmptyAnswerError):
        engine.answer(GenerationRequest('is it?', ()))
