# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu chat and vlm-npu video ask a server."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path

from chat_server import chat_server, ChatServer, Exchange
import pytest
from vlm_npu_ros.cli.main import main


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY', 'OPENAI_API_KEY'):
        monkeypatch.delenv(name, raising=False)
    with chat_server() as server:
        yield server


@pytest.mark.parametrize('command', ['chat', 'video'])
def test_server_answers_about_a_picture(
    command: str, server: ChatServer, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [command, str(picture), '--server', server.url, '--model', 'tiny', '-q', 'what?']
    assert main([*arguments, '--thinking', 'off', '--extra-body', '{"top_k": 3}']) == 0
    printed = capsys.readouterr()
    assert printed.out == 'a red ball\n'
    assert 'tiny loaded' in printed.err and '600 tokens read' in printed.err
    body = server.asked()
    assert body['messages'][0]['content'][0]['type'] == 'image_url'
    assert body['top_k'] == 3 and body['chat_template_kwargs']['enable_thinking'] is False


def test_thoughts_are_in_the_record_alone(
    server: ChatServer, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        exchange.say('A cat?</think>')
        exchange.say('A dog.')
        exchange.end(new=2)

    server.answer = answer
    arguments = ['chat', str(picture), '--server', server.url, '-q', 'what?']
    assert main([*arguments, '--json']) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record['answer'], record['thoughts']) == ('A dog.', 'A cat?')
    assert record['thought_tokens'] == 1


def test_what_is_wrong_is_said(
    server: ChatServer, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ['chat', str(picture), '-q', 'what?', '--server']
    assert main([*arguments, server.url, '--model', 'other']) == 1
    assert 'has no model other' in capsys.readouterr().err
    server.list_models = lambda exchange: exchange.reply(200, b'<html><title>Hi</title></html>')
    assert main([*arguments, server.url.removesuffix('/v1')]) == 1
    assert 'is /v1 missing?' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*arguments, server.url, '--encoder', 'a.rknn'])
    assert '--server and model files contradict' in capsys.readouterr().err
