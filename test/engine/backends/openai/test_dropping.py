# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Servers that drop the beginning of a dialogue and say nothing, as Ollama does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chat_server import ChatServer, Exchange
import numpy as np
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import Chunk, GenerationRequest, Turn

MakeEngine = Callable[..., LocalEngine]
WINDOW = 2048  # tokens
PICTURE = np.full((64, 64, 3), 90, np.uint8)
SAID = 'A shelf with boxes on it. ' * 60


def tokens(message: dict[str, Any]) -> int:
    content = message['content']
    return len(content) // 4 if isinstance(content, str) else 300


def forgetful(exchange: Exchange) -> None:
    messages = list(exchange.body['messages'])
    while len(messages) > 1 and sum(map(tokens, messages)) > WINDOW:
        messages.pop(0)
    exchange.begin()
    exchange.say('seen' if any(isinstance(m['content'], list) for m in messages) else 'blind')
    exchange.end(prompt=sum(map(tokens, messages)), new=1)


def talk(engine: LocalEngine, count: int) -> list[tuple[str, int, Chunk]]:
    """Ask one question after another; return answer, dropped turns and last chunk of each."""
    image, turns, made = engine.encode(PICTURE), (), []
    for number in range(count):
        request = GenerationRequest(f'question {number}?', (image,), 64, turns=turns)
        fitted = engine.fit(request)
        chunks = list(engine.generate(fitted.request))
        made.append((''.join(c.text for c in chunks), fitted.dropped_turns, chunks[-1]))
        turns = (*fitted.request.turns, Turn(request.question, SAID))
    return made


def test_known_server_has_the_picture_in_the_newest_message(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    entry = {'id': 'eye:3b', 'object': 'model', 'owned_by': 'library'}
    server.list_models = lambda exchange: exchange.reply(200, {'data': [entry]})
    server.answer = forgetful
    answers = talk(make_engine(), 10)
    assert [text for text, *_ in answers] == ['seen'] * 10
    notes = [last.note for *_, last in answers if last.note]
    assert len(notes) == 1 and 'has dropped the beginning of the dialogue' in notes[0]
    assert answers[-1][1] > 0  # its own turns are left out from then on


def test_other_server_is_noticed_by_its_count(
    make_engine: MakeEngine, server: ChatServer, lines: list[str]
) -> None:
    server.answer = forgetful
    engine = make_engine()
    answers = talk(engine, 10)
    blind = [number for number, (text, *_) in enumerate(answers) if text == 'blind']
    assert len(blind) == 1  # and never again
    assert answers[blind[0]][2].note and 'set the parameter context' in lines[-1]
    assert engine.context < WINDOW + 64


def test_shorter_dialogue_is_no_loss(make_engine: MakeEngine, server: ChatServer) -> None:
    server.answer = forgetful
    engine = make_engine()
    assert not any(last.note for *_, last in [*talk(engine, 3), *talk(engine, 3)])


def test_server_that_counts_only_what_is_new_has_dropped_nothing(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    counts = iter((1400, 500, 400, 0, 0, 600, 450))

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        exchange.say('seen')
        exchange.end(prompt=next(counts), new=1)

    server.answer = answer
    assert not any(last.note for *_, last in talk(make_engine(), 7))


def test_context_that_is_set_keeps_the_picture_first(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    entry = {'id': 'eye:3b', 'owned_by': 'library'}
    server.list_models = lambda exchange: exchange.reply(200, {'data': [entry]})
    server.answer = forgetful
    talk(make_engine(context=WINDOW), 3)
    bodies = [server.asked() for _ in range(3)]
    assert isinstance(bodies[-1]['messages'][0]['content'], list)
