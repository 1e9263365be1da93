# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The node with a server: partial answers as fast as they come, errors as they are."""

from __future__ import annotations

import statistics
import threading
import time
from typing import Any

from asked_node import asked_node
from bars import timing, within
from chat_server import ChatServer, Exchange, list_one, PATIENCE
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import QoSProfile
from robot import wait_until
from vlm_npu_ros.msg import ErrorCode, PartialAnswer, Sentence

WORDS = 40
BAR = 0.010  # seconds from the server to the topic


@timing
def test_partial_answers_come_at_once(server: ChatServer) -> None:
    arrivals: dict[str, float] = {}
    sent: dict[str, float] = {}
    arrived = threading.Semaphore(0)

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for i in range(WORDS):
            word = f' w{i}'
            sent[word] = time.monotonic()
            exchange.say(word)
            assert arrived.acquire(timeout=PATIENCE)
        exchange.end(prompt=500, new=WORDS)

    def on_partial(message: PartialAnswer) -> None:
        if message.delta:
            arrivals[message.delta] = time.monotonic()
            arrived.release()

    server.answer = answer
    with asked_node(backend='openai', openai__base_url=server.url) as (_, robot):
        robot.node.create_subscription(
            PartialAnswer, '/vlm/partial_answer', on_partial, QoSProfile(depth=100)
        )
        wait_until(lambda: robot.node.count_subscribers('/vlm/partial_answer') > 1)
        robot.publish()
        response = robot.ask(question='count')
    assert response.success, response.error_msg
    assert response.answer == ''.join(sent)
    assert response.stats.backend == 'openai' and response.stats.model == 'tiny'
    assert (response.stats.prompt_tokens, response.stats.new_tokens) == (500, WORDS)
    delays = [arrivals[word] - sent[word] for word in sent]
    print(f'from the server to the topic: first {delays[0] * 1e3:.1f} ms, median '
          f'{statistics.median(delays) * 1e3:.1f} ms, longest {max(delays) * 1e3:.1f} ms')
    assert statistics.median(delays) < within(BAR)


@timing
def test_cancelled_question_frees_the_server(server: ChatServer) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        exchange.say('a')
        exchange.wait_for_disconnect()

    server.answer = answer
    begun = threading.Event()

    def on_feedback(message: object) -> None:
        if getattr(message, 'feedback').partial_answer:  # noqa: B009
            begun.set()

    with asked_node(backend='openai', openai__base_url=server.url) as (_, robot):
        robot.publish()
        goal = robot.send_goal(on_feedback, question='what do you see?')
        assert begun.wait(PATIENCE)
        cancelled = time.monotonic()
        robot.cancel(goal)
        assert server.gone.get(timeout=PATIENCE) - cancelled < within(2.0)
        assert robot.result_of(goal)().result.error_code == ErrorCode.CANCELLED


def test_error_reaches_who_asked(server: ChatServer) -> None:
    server.answer = lambda exchange: exchange.fail(401, 'who are you?')
    with asked_node(backend='openai', openai__base_url=server.url) as (_, robot):
        robot.publish()
        response = robot.ask(question='what do you see?')
    assert response.error_code == ErrorCode.BACKEND_UNAVAILABLE
    assert 'OPENAI_API_KEY' in response.error_msg


def test_process_of_its_own_is_refused(server: ChatServer) -> None:
    with asked_node(
        False, backend='openai', openai__base_url=server.url, isolation='process'
    ) as (node, _):
        assert node.trigger_configure() is TransitionCallbackReturn.FAILURE
    assert not server.paths


def test_server_that_comes_late_is_waited_for(server: ChatServer) -> None:
    server.list_models = lambda exchange: exchange.fail(503, 'the model is being loaded')
    with asked_node(
        False, backend='openai', openai__base_url=server.url, openai__retries=0
    ) as (node, robot):
        starting = threading.Thread(target=node.autostart)
        starting.start()
        server.requests.get(timeout=PATIENCE)
        assert node.state in ('configuring', 'unconfigured')
        server.list_models = list_one
        starting.join(PATIENCE)
        assert node.state == 'active'
        robot.publish()
        assert robot.ask(question='what do you see?').answer == 'a red ball'


@timing
def test_shut_down_does_not_wait_for_a_server(server: ChatServer) -> None:
    for silent in (True, False):  # the other one fails, and is tried again
        server.list_models = (
            Exchange.wait_for_disconnect if silent else lambda exchange: exchange.fail(503, 'busy')
        )
        with asked_node(
            False, backend='openai', openai__base_url=server.url, openai__retries=0,
            openai__first_token_timeout=600.0,
        ) as (node, _):
            starting = threading.Thread(target=node.autostart)
            starting.start()
            server.requests.get(timeout=PATIENCE)
            if silent:
                assert server.waiting.acquire(timeout=PATIENCE)
            started = time.monotonic()
            node.shut_down()
            starting.join(PATIENCE)
            assert time.monotonic() - started < within(1.0)
            assert node.state == 'unconfigured'


def test_thoughts_are_shown_and_are_no_part_of_the_answer(server: ChatServer) -> None:
    said = {
        'tags': ['<think>Is it', ' a cat? Yes.', '</think>', 'A dog. It', ' sleeps.'],
        'a field': [{'reasoning': 'A cat? Yes.'}, 'A dog. It', ' sleeps.'],
        'nothing': [{'reasoning': 'A cat?'}],
    }
    pieces: list[PartialAnswer] = []
    sentences: list[Sentence] = []
    with asked_node(backend='openai', openai__base_url=server.url) as (_, robot):
        for kind, topic, found in (
            (PartialAnswer, 'partial_answer', pieces), (Sentence, 'sentence', sentences),
        ):
            name, depth = f'/vlm/{topic}', QoSProfile(depth=99)
            robot.node.create_subscription(kind, name, found.append, depth)
            wait_until(lambda name=name: robot.node.count_subscribers(name) > 0)
        robot.publish()
        for name, parts in said.items():
            pieces.clear(), sentences.clear()

            def answer(exchange: Exchange, parts: list[Any] = parts) -> None:
                exchange.begin()
                for part in parts:
                    exchange.event(part) if isinstance(part, dict) else exchange.say(part)
                exchange.end('length' if len(parts) == 1 else 'stop', new=len(parts))

            server.answer = answer
            response = robot.ask(question='what do you see?', conversation_id='c')
            if name == 'nothing':
                assert not response.success
                assert response.error_code == ErrorCode.EMPTY_ANSWER
                assert 'openai.thinking' in response.error_msg
                continue
            assert response.answer == 'A dog. It sleeps.'
            assert response.stats.thought_tokens > 0
            wait_until(lambda: all(told and told[-1].done for told in (sentences, pieces)))
            assert [s.text for s in sentences if s.text] == ['A dog.', 'It sleeps.']
            assert 'cat? Yes.' in ''.join(piece.thought for piece in pieces)
            assert ''.join(piece.delta for piece in pieces) == response.answer
    bodies = [server.asked() for _ in said]
    turns = [m['content'] for m in bodies[-1]['messages'] if m['role'] == 'assistant']
    assert turns == ['A dog. It sleeps.'] * 2
