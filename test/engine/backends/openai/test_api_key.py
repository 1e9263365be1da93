# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Where the key comes from, and that it goes nowhere but to the server."""

from __future__ import annotations

from collections.abc import Callable
import logging
from pathlib import Path

from chat_server import ChatServer, Exchange
import pytest
from vlm_npu_ros.engine.backends.openai.api_key import read_key
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.errors import BackendUnavailableError, VlmError
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import GenerationRequest

SECRET = 'sk-very-secret-0123456789'
QUESTION = GenerationRequest('what do you see?', ())


def write(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_key(OpenAISettings()) == ''
    monkeypatch.setenv('OPENAI_API_KEY', SECRET)
    monkeypatch.setenv('OTHER', 'other')
    assert read_key(OpenAISettings()) == SECRET
    assert read_key(OpenAISettings(api_key_env='OTHER')) == 'other'


def test_file_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('OPENAI_API_KEY', 'other')
    path = write(tmp_path / 'key', f'{SECRET}\n')
    assert read_key(OpenAISettings(api_key_file=path)) == SECRET


@pytest.mark.parametrize('mode', [0o640, 0o604, 0o620, 0o601])
def test_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / 'key', SECRET, mode)
    with pytest.raises(BackendUnavailableError, match='chmod 600') as caught:
        read_key(OpenAISettings(api_key_file=path))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize('text', ['', '\n', f'{SECRET}\nkey=2', 'schlüssel', 'a b'])
def test_file_without_a_key_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / 'key', text)
    with pytest.raises(BackendUnavailableError, match='api_key_file') as caught:
        read_key(OpenAISettings(api_key_file=path))
    assert SECRET not in str(caught.value)


def test_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / 'missing'):
        with pytest.raises(BackendUnavailableError):
            read_key(OpenAISettings(api_key_file=str(path)))


def test_server_gets_the_key_or_no_header(
    make_engine: Callable[..., LocalEngine], server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_engine().answer(QUESTION)
    assert [server.requests.get().headers.get('authorization') for _ in range(2)] == [None, None]
    monkeypatch.setenv('OPENAI_API_KEY', SECRET)
    make_engine().answer(QUESTION)
    sent = [server.requests.get().headers.get('authorization') for _ in range(2)]
    assert sent == [f'Bearer {SECRET}'] * 2


def test_key_is_in_no_error_and_in_no_log(
    make_engine: Callable[..., LocalEngine],
    server: ChatServer,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def echo(exchange: Exchange) -> None:
        status = (401, 500, 400, 404, 429)[server.questions() % 5]
        exchange.fail(status, f'bad key {SECRET} in {exchange.headers["authorization"]}')

    def echo_in_the_stream(exchange: Exchange) -> None:
        exchange.begin()
        exchange.data({'error': {'message': f'no: {SECRET}'}})

    monkeypatch.setenv('OPENAI_API_KEY', SECRET)
    engine = make_engine(retries=1)
    server.answer = echo
    errors = []
    with caplog.at_level(logging.DEBUG):
        for _ in range(5):
            with pytest.raises(VlmError) as caught:
                engine.answer(QUESTION)
            errors.append(str(caught.value))
        server.answer = echo_in_the_stream
        with pytest.raises(VlmError) as caught:
            engine.answer(QUESTION)
        errors.append(str(caught.value))
    assert any('***' in error for error in errors)
    for text in (*errors, *lines, caplog.text, repr(engine), *capfd.readouterr()):
        assert SECRET not in text
