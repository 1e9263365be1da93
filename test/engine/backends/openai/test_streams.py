# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Streams of all kinds of servers, over a connection; test/fuzz mixes more of them."""

from __future__ import annotations

from collections.abc import Callable
import random

from chat_server import ChatServer, Exchange
from server_streams import cut, DONE, ODD, STREAMS
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import FinishReason, GenerationRequest

QUESTION = GenerationRequest('what do you see?', ())


def test_streams_over_a_connection(
    make_engine: Callable[..., LocalEngine], server: ChatServer, lines: list[str]
) -> None:
    engine, chance = make_engine(), random.Random(1)
    for name, recording in STREAMS.items():
        for odd in (b'', chance.choice(ODD), chance.choice(ODD)):
            frames = list(recording.frames)
            frames.insert(chance.randrange(len(frames)), odd)

            def answer(exchange: Exchange, data: bytes = b''.join(frames)) -> None:
                exchange.begin()
                for part in filter(None, cut(data, chance)):
                    exchange.raw(part)
                exchange.wfile.write(b'0\r\n\r\n')

            server.answer = answer
            chunks = list(engine.generate(QUESTION))
            figures = chunks[-1].figures
            assert ''.join(chunk.text for chunk in chunks) == recording.text, (name, odd)
            assert ''.join(chunk.thought for chunk in chunks) == recording.thought, (name, odd)
            assert figures and figures.odd_events == bool(odd)
            assert bool(figures.thought_tokens) == bool(recording.thought)
            if recording.counts:
                assert (figures.prompt_tokens, figures.new_tokens) == recording.counts
    assert sum('events that cannot be read' in line for line in lines) == 2 * len(STREAMS)


def test_an_end_is_an_end_without_a_reason_or_a_marker(
    make_engine: Callable[..., LocalEngine], server: ChatServer
) -> None:
    engine = make_engine()
    for dropped in (b'"finish_reason": "stop"', DONE):
        frames = [f.replace(dropped, b'"x": 0') for f in STREAMS['LM Studio'].frames]
        if dropped == DONE:
            frames = [frame for frame in STREAMS['LM Studio'].frames if frame != DONE]

        def answer(exchange: Exchange, data: bytes = b''.join(frames)) -> None:
            exchange.begin()
            exchange.raw(data)
            exchange.wfile.write(b'0\r\n\r\n')

        server.answer = answer
        *_, last = engine.generate(QUESTION)
        assert last.finish_reason is FinishReason.EOS


def test_server_that_does_not_stream_is_read_at_once(
    make_engine: Callable[..., LocalEngine], server: ChatServer
) -> None:
    message = {'role': 'assistant', 'content': 'a blue cone', 'reasoning_content': 'cone?'}
    choice = {'index': 0, 'message': message, 'finish_reason': 'stop'}
    whole = {'object': 'chat.completion', 'choices': [choice]}
    server.answer = lambda exchange: exchange.reply(200, whole)
    first, *_ = chunks = list(make_engine().generate(QUESTION))
    assert ''.join(chunk.text for chunk in chunks) == 'a blue cone' and first.thought == 'cone?'
