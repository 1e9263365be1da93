# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The load script against a real server on loopback."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
import signal
import subprocess
import sys

from chat_server import chat_server, ChatServer, Exchange, say_words
import pytest

ROOT = Path(__file__).resolve().parents[1]
LOAD = ROOT / 'tools' / 'fleet' / 'load.py'
PATIENCE = 60.0  # seconds
QUICK = ('--robots', '4', '--period', '0.2', '--size', '64x48')


def start(server: ChatServer, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(LOAD), '--server', server.url, *QUICK, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'COLUMNS': '120'},
    )


def run(server: ChatServer, *arguments: str) -> tuple[int, str]:
    """Run the script; return its exit status and what it printed."""
    with start(server, *arguments) as running:
        out, log = running.communicate(timeout=PATIENCE)
    assert 'Traceback' not in log, log
    return running.returncode, out + log


def test_asks_as_told_and_measures(tmp_path: Path) -> None:
    figures_file = tmp_path / 'figures.json'
    with chat_server() as server:
        status, printed = run(
            server, '--seconds', '1.5', '--burst', '2', '--json', str(figures_file)
        )
        bodies = [e.body for e in list(server.requests.queue) if e.body]
    assert status == 0, printed
    figures = json.loads(figures_file.read_text())
    rows = figures['questions']
    assert rows['all']['asked'] == rows['yes/no']['asked'] + rows['text']['asked'] >= 8
    assert rows['all']['errors'] == 0 and figures['errors'] == {}
    assert 0 < rows['all']['first token']['p50'] <= rows['all']['whole answer']['p50']
    assert rows['all']['whole answer']['p50'] <= rows['all']['whole answer']['p99']
    # Three words in each answer.
    assert figures['tokens per second'] == pytest.approx(3 * figures['answers per second'])
    for kind in ('yes/no', 'text', 'all'):
        assert kind in printed
    lengths = {len(body['messages']) for body in bodies}
    assert lengths == {1, 3}  # the second question of a burst goes on
    pictures = [
        body['messages'][0]['content'][0]['image_url']['url'] for body in bodies
        if len(body['messages']) == 1
    ]
    assert len(set(pictures)) == len(pictures)
    assert {body['max_tokens'] for body in bodies} == {8, 64}


def test_errors_are_counted_by_kind(tmp_path: Path) -> None:
    turn = itertools.count()

    def answer(exchange: Exchange) -> None:
        what = next(turn) % 4
        if what == 0:
            exchange.fail(429, 'too many')
        elif what == 1:
            exchange.begin()
            exchange.say('half')
            exchange.drop()
        elif what == 2:
            exchange.wait_for_disconnect()
        else:
            say_words('whole')(exchange)

    figures_file = tmp_path / 'figures.json'
    with chat_server() as server:
        server.answer = answer
        status, printed = run(
            server, '--seconds', '4', '--timeout', '0.5', '--json', str(figures_file)
        )
    assert status == 1
    figures = json.loads(figures_file.read_text())
    assert {'HTTP 429', 'no whole answer in 0.5 s'} < set(figures['errors'])
    assert len(figures['errors']) == 3
    assert sum(figures['errors'].values()) == figures['questions']['all']['errors']
    assert 'x HTTP 429' in printed


def test_one_robot_has_one_question_open_and_is_late_when_it_takes_long(tmp_path: Path) -> None:
    figures_file = tmp_path / 'figures.json'
    with chat_server() as server:
        server.answer = Exchange.wait_for_disconnect
        status, printed = run(
            server, '--robots', '1', '--seconds', '1.5', '--timeout', '0.5', '--json',
            str(figures_file),
        )
    assert status == 1
    figures = json.loads(figures_file.read_text())
    assert 1 <= figures['questions']['all']['asked'] <= 3
    assert figures['late looks'] >= figures['questions']['all']['asked'] - 1
    assert figures['questions']['all']['first token'] is None


def test_interrupted_it_prints_what_there_is() -> None:
    with chat_server() as server:
        with start(server, '--seconds', '600') as running:
            for _ in range(4):
                server.asked()
            running.send_signal(signal.SIGINT)
            try:
                out, log = running.communicate(timeout=PATIENCE)
            finally:
                running.kill()
    assert running.returncode in (0, 1), log
    assert 'answers/s' in out and not log


def test_no_server_is_said_in_a_line() -> None:
    with chat_server() as server:
        pass
    status, printed = run(server)
    assert status == 2
    assert printed.startswith(f'load: {server.url}: ') and printed.count('\n') == 1


def test_wrong_numbers_are_refused() -> None:
    with chat_server() as server:
        assert run(server, '--yes-no', '2')[0] == 2
