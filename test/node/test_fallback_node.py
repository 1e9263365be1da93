# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Several backends in one node: a simulated board and a server that fails as it is told to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
import os
from pathlib import Path
import signal
from typing import Any

from asked_node import asked_node
from chat_server import chat_server, ChatServer, Exchange
from diagnostic_msgs.msg import DiagnosticStatus
from doctor import Doctor
import numpy as np
import pytest
from robot import PATIENCE, Robot, wait_until
import simulated
from simulated import runtime, weights
from simulated.board import board_tree, use
from vlm_npu_ros.cli.main import main
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.fallback import FallbackEngine
from vlm_npu_ros.engine.isolated import IsolatedEngine
from vlm_npu_ros.msg import ErrorCode
from vlm_npu_ros.node.vlm_node import VlmNode

SIMULATED = Path(simulated.__path__[0])
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
LOCAL = 'I see what I was told to see.'
REMOTE = 'the server sees it'
QUICK = {'fallback__retry_after': 0.01, 'openai__retries': 0, 'max_age': 600.0}

MakeNode = Callable[..., VlmNode]


def echo(exchange: Exchange) -> None:
    exchange.begin()
    for word in REMOTE.split(' '):
        exchange.say(word if word == 'the' else f' {word}')
    exchange.end(prompt=600, new=4)


def fail(exchange: Exchange) -> None:
    exchange.fail(500, 'out of order')


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as server:
        server.answer = echo
        yield server


def at(level: bytes) -> Callable[[DiagnosticStatus], bool]:
    return lambda status: bool(status.level == level)


def chain_of(node: VlmNode) -> FallbackEngine:
    engine = node._engine
    assert isinstance(engine, FallbackEngine)
    return engine


def test_stats_name_who_answered_and_a_question_may_choose(
    active_node: MakeNode, robot: Robot, server: ChatServer
) -> None:
    active_node(backends=['scripted', 'openai'], openai__base_url=server.url, **QUICK)
    robot.publish()
    for wanted, answer, source in (
        ('', LOCAL, ('scripted', 'scripted')),
        ('openai', REMOTE, ('openai', 'tiny')),
        ('scripted', LOCAL, ('scripted', 'scripted')),
    ):
        response = robot.ask(question='what?', backend=wanted)
        assert response.success, response.error_msg
        assert response.answer == answer
        assert (response.stats.backend, response.stats.model) == source
    response = robot.ask(question='what?', backend='rknpu')
    assert response.error_code == ErrorCode.BAD_REQUEST
    assert "'rknpu': choose one of scripted, openai" in response.error_msg


def test_one_backend_can_be_named_too(active_node: MakeNode, robot: Robot) -> None:
    node = active_node(max_age=600.0)
    assert not isinstance(node._engine, FallbackEngine)
    robot.publish()
    assert robot.ask(question='what?', backend='scripted').stats.backend == 'scripted'
    assert 'choose one of scripted' in robot.ask(question='what?', backend='onnx').error_msg


def test_command_names_the_backend(server: ChatServer, capsys: pytest.CaptureFixture[str]) -> None:
    parameters = {'backends': ['scripted', 'openai'], 'openai__base_url': server.url, **QUICK}
    with asked_node(**parameters) as (_, robot):
        robot.publish()
        assert main(['ask', 'what?', '--backend', 'openai', '--quiet']) == 0
        assert capsys.readouterr().out == f'{REMOTE}\n'


def test_server_that_fails_is_stood_in_for_and_comes_back_by_itself(
    active_node: MakeNode, robot: Robot, server: ChatServer
) -> None:
    doctor = Doctor(robot)
    node = active_node(backends=['openai', 'scripted'], openai__base_url=server.url, **QUICK)
    robot.publish()
    assert robot.ask(question='what?').answer == REMOTE
    doctor.wait_for('backend openai', at(OK))
    server.answer = fail
    response = robot.ask(question='what?', conversation_id='tour')
    assert (response.answer, response.stats.backend) == (LOCAL, 'scripted')
    values = doctor.wait_for('backend openai', at(WARN))
    assert values['breaker'] in ('open', 'half-open') and 'out of order' in values['last failure']
    values = doctor.wait_for('backend scripted', lambda status: (
        status.level == OK and ('answers', '1') in ((v.key, v.value) for v in status.values)))
    assert values['breaker'] == 'closed'
    server.answer = echo
    breaker = chain_of(node).members[0].breaker
    wait_until(lambda: not breaker.remaining)
    response = robot.ask(question='and now?', conversation_id='tour')
    assert (response.answer, response.stats.backend) == (REMOTE, 'openai')
    assert len(server_turns(server)) == 3  # what the other one has said is part of the dialogue
    doctor.wait_for('backend openai', at(OK))


def server_turns(server: ChatServer) -> list[dict[str, Any]]:
    bodies = [exchange.body for exchange in list(server.requests.queue) if exchange.body]
    messages: list[dict[str, Any]] = bodies[-1]['messages']
    return messages


def test_stream_that_breaks_off_is_an_error_and_not_a_mixture(
    active_node: MakeNode, robot: Robot, server: ChatServer
) -> None:
    def break_off(exchange: Exchange) -> None:
        exchange.begin()
        exchange.say('the')
        exchange.drop()

    server.answer = break_off
    active_node(backends=['openai', 'scripted'], openai__base_url=server.url, **QUICK)
    robot.publish()
    response = robot.ask(question='what?')
    assert response.error_code == ErrorCode.BACKEND_CRASHED
    assert (response.answer, response.stats.backend) == ('the', 'openai')
    pieces = robot.partials_of(response.request_id)
    assert ''.join(piece.delta for piece in pieces) == 'the'


def test_server_that_is_too_slow_is_not_waited_for(
    active_node: MakeNode, robot: Robot, server: ChatServer
) -> None:
    server.answer = Exchange.wait_for_disconnect
    active_node(
        backends=['openai', 'scripted'], openai__base_url=server.url,
        fallback__first_token_timeout=0.1,
        **QUICK,
    )
    robot.publish()
    assert robot.ask(question='what?').stats.backend == 'scripted'
    server.gone.get(timeout=PATIENCE)  # it was told that nobody listens any more


def test_server_that_comes_late_is_used_as_soon_as_it_is_there(
    active_node: MakeNode, robot: Robot, server: ChatServer
) -> None:
    doctor, server.list_models = Doctor(robot), fail
    node = active_node(backends=['openai', 'scripted'], openai__base_url=server.url, **QUICK)
    robot.publish()
    assert robot.ask(question='what?').stats.backend == 'scripted'
    message = doctor.status_for('engine', at(WARN)).message
    assert message.startswith('scripted answers, not openai: it is not loaded')
    assert doctor.wait_for('engine', at(WARN))['backend'] == 'scripted'
    assert robot.ask(question='what?', backend='openai').error_code == \
        ErrorCode.BACKEND_UNAVAILABLE
    server.list_models = lambda exchange: exchange.reply(
        200, {'object': 'list', 'data': [{'id': 'tiny', 'object': 'model'}]}
    )
    wait_until(lambda: not chain_of(node).members[0].obstacle)
    assert robot.ask(question='what?').answer == REMOTE
    assert doctor.wait_for('engine', at(OK))['backend'] == 'openai'


def test_configure_fails_where_none_can_be_loaded(
    make_node: MakeNode, server: ChatServer, capfd: pytest.CaptureFixture[str]
) -> None:
    server.list_models = fail
    node = make_node(
        backends=['rknpu', 'openai'], openai__base_url=server.url, isolation='none', **QUICK
    )
    node.trigger_configure()
    assert node._engine is None
    told = ''.join(capfd.readouterr())
    assert 'No backend answers: rknpu: The backend rknpu needs' in told
    assert 'openai: The server' in told


def test_a_name_given_twice_fails_configure(
    make_node: MakeNode, capfd: pytest.CaptureFixture[str]
) -> None:
    node = make_node(backends=['scripted', 'scripted'])
    node.autostart()
    assert node._engine is None
    assert 'backends: each must be given once' in ''.join(capfd.readouterr())


def test_none_that_answers_is_an_error(
    active_node: MakeNode, robot: Robot, server: ChatServer
) -> None:
    doctor = Doctor(robot)
    node = active_node(
        backends=['openai', 'scripted'], openai__base_url=server.url, isolation='process',
        **{**QUICK, 'fallback__retry_after': 60.0},
    )
    robot.publish()
    server.answer = fail
    response = robot.ask(question='w ' * 5000)  # too long for the other one
    assert response.error_code == ErrorCode.BACKEND_UNAVAILABLE
    assert 'openai: ' in response.error_msg and 'scripted: ' in response.error_msg
    assert response.stats.backend == response.stats.model == ''
    assert doctor.wait_for('engine', at(WARN))['backend'] == 'scripted'
    scripted = chain_of(node).members[1].engine
    assert isinstance(scripted, IsolatedEngine)
    # One that does not come back: what it should load is gone.
    scripted._settings = replace(scripted._settings, backend='nothing')
    os.kill(scripted.pid, signal.SIGKILL)
    message = doctor.status_for('engine', at(ERROR)).message
    assert 'openai: ' in message and 'scripted: it is being restarted' in message
    doctor.wait_for('backend openai', at(ERROR))
    doctor.wait_for('backend scripted', at(ERROR))


def test_preferred_backend_is_killed_among_a_hundred_questions(
    active_node: MakeNode, robot: Robot, server: ChatServer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is answered by one backend or ends typed; then the preferred one answers again."""
    use(monkeypatch, board_tree(tmp_path))
    monkeypatch.setenv('SIMNPU_FAULTS', str(tmp_path / 'faults'))
    (tmp_path / 'faults').write_text('SIMRKLLM_DECODE_RATE=200')
    weights.write_model(tmp_path / 'demo.rkllm')
    runtime.build('1.2.3', tmp_path)
    node = active_node(
        backends=['rknpu', 'openai'],
        image_reliability='reliable',
        model=str(SIMULATED / 'demo_rknpu.yaml'),
        encoder_path=str(SIMULATED.parent / 'data' / 'demo_encoder.rknn'),
        language_model_path=str(tmp_path / 'demo.rkllm'),
        rknpu__library=str(tmp_path / '1.2.3' / 'librkllmrt.so'),
        openai__base_url=server.url,
        queue_size=100,
        **QUICK,
    )
    robot.publish(render(random_scene(np.random.default_rng(5))))
    first = robot.ask(question='what do you see?')
    assert (first.success, first.stats.backend) == (True, 'rknpu'), first.error_msg
    board = chain_of(node).members[0].engine
    assert isinstance(board, IsolatedEngine)
    answers = [robot.ask_later(question='what do you see?') for _ in range(100)]
    pieces = len(robot.partials)
    wait_until(lambda: len(robot.partials) > pieces + 200)  # in the middle of an answer
    os.kill(board.pid, signal.SIGKILL)
    count: Counter[str] = Counter()
    seen = set()
    for wait in answers:
        response = wait()
        seen.add(response.request_id)
        said = ''.join(piece.delta for piece in robot.partials_of(response.request_id))
        assert said == response.answer
        if response.success:
            expected = first.answer if response.stats.backend == 'rknpu' else REMOTE
            assert response.answer == expected
            count[response.stats.backend] += 1
        else:
            assert response.error_code == ErrorCode.BACKEND_CRASHED
            assert first.answer.startswith(response.answer)
            count['error'] += 1
    print(dict(count))
    assert len(seen) == sum(count.values()) == 100
    assert count['rknpu'] and count['openai'] and count['error'] <= 1
    wait_until(lambda: not chain_of(node).members[0].obstacle)
    last = robot.ask(question='what do you see?')
    assert (last.answer, last.stats.backend) == (first.answer, 'rknpu')
