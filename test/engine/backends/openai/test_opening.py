# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What a configure says about the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

from bars import timing, within
from chat_server import chat_server, ChatServer, Exchange
import pytest
from vlm_npu_ros.engine.errors import (
    AnswerTimeoutError,
    BackendUnavailableError,
    ModelFileError,
    VlmError,
)
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import GenerationRequest

MakeEngine = Callable[..., LocalEngine]
QUESTION = GenerationRequest('what do you see?', ())


def models(*names: str) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.reply(200, {'data': [{'id': name} for name in names]})


def test_only_model_is_taken(make_engine: MakeEngine, lines: list[str]) -> None:
    assert make_engine().model_name == 'tiny'
    assert 'Model tiny of http://127.0.0.1' in lines[-1]


def test_named_model_is_taken(make_engine: MakeEngine, server: ChatServer) -> None:
    server.list_models = models('large', 'small:latest')
    assert make_engine(model='large').model_name == 'large'
    assert make_engine(model='small').model_name == 'small:latest'


@pytest.mark.parametrize(
    ('listed', 'model', 'says'),
    [
        (('one', 'two'), '', 'lists 2 models. Set openai.model to one of one, two'),
        (('one', 'two'), 'three', 'has no model three. .* one, two'),
        ((), '', 'lists 0 models. Set openai.model'),
    ],
)
def test_model_that_is_not_there(
    make_engine: MakeEngine, server: ChatServer, listed: tuple[str, ...], model: str, says: str
) -> None:
    server.list_models = models(*listed)
    with pytest.raises(ModelFileError, match=says):
        make_engine(model=model)
    assert not [t for t in threading.enumerate() if t.name == 'openai']


def test_server_without_a_list(
    make_engine: MakeEngine, server: ChatServer, lines: list[str]
) -> None:
    server.list_models = lambda exchange: exchange.fail(404, 'no such path')
    assert make_engine(model='one').answer(QUESTION) == 'a red ball'
    assert any(line.startswith('Warning') and 'on trust' in line for line in lines)
    with pytest.raises(ModelFileError):
        make_engine()


@timing
@pytest.mark.parametrize(
    ('answer', 'error', 'says'),
    [
        (lambda exchange: exchange.fail(401, 'no'), BackendUnavailableError, 'OPENAI_API_KEY'),
        (lambda exchange: exchange.fail(503, 'loading'), BackendUnavailableError, 'loading'),
        (lambda exchange: exchange.reply(200, b'<html>'), VlmError, 'answers with a web page'),
        (Exchange.wait_for_disconnect, AnswerTimeoutError, 'not list its models within 1.0 s'),
        (Exchange.drop, BackendUnavailableError, 'cannot be reached'),
    ],
)
def test_server_that_fails(
    make_engine: MakeEngine, server: ChatServer, answer: Callable[[Exchange], None],
    error: type[VlmError], says: str,
) -> None:
    server.list_models = answer
    started = time.monotonic()
    with pytest.raises(error, match=says):
        make_engine(first_token_timeout=1.0 if error is AnswerTimeoutError else 10.0)
    assert time.monotonic() - started < within(2)
    assert not [t for t in threading.enumerate() if t.name == 'openai']


def test_server_that_still_loads_is_waited_for(
    make_engine: MakeEngine, server: ChatServer, lines: list[str]
) -> None:
    def answer(exchange: Exchange) -> None:
        if len(server.paths) < 2:
            return exchange.fail(503, 'Loading model', retry_after='0')
        models('tiny')(exchange)

    server.list_models = answer
    make_engine(retries=1)
    assert 'Loading model' in lines[0]


def test_nobody_is_there(make_engine: MakeEngine) -> None:
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))  # and does not listen
        with pytest.raises(BackendUnavailableError, match='refused.* openai.base_url'):
            make_engine(base_url=f'http://127.0.0.1:{other.getsockname()[1]}/v1')


@timing
def test_nobody_accepts(make_engine: MakeEngine, lines: list[str]) -> None:
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen(0)
        address = other.getsockname()
        with socket.create_connection(address):  # no room for a second one
            started = time.monotonic()
            with pytest.raises((BackendUnavailableError, AnswerTimeoutError)):
                make_engine(
                    base_url=f'http://127.0.0.1:{address[1]}/v1', connect_timeout=0.3,
                    first_token_timeout=1.0, retries=1,
                )
            assert time.monotonic() - started < within(2)
    words = 'Warning: no connection within 0.3 s (openai.connect_timeout); The server '
    assert all(line.startswith(words) for line in lines)


@pytest.mark.parametrize(
    'url',
    [
        '', 'here', 'ftp://here/v1', 'http://', 'http://here:port/v1', 'http://[::1/v1',
        'http://me:hunter2@here/v1', 'http://hunter2@here/v1', 'http://here/v1?key=hunter2',
        'http://here/v1#hunter2',
    ],
)
def test_bad_address(make_engine: MakeEngine, url: str) -> None:
    with pytest.raises(BackendUnavailableError, match='openai.base_url') as caught:
        make_engine(base_url=url)
    assert 'hunter2' not in str(caught.value)


def test_key_without_encryption_is_warned_of(
    make_engine: MakeEngine, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('OPENAI_API_KEY', 'secret')
    make_engine()
    assert not [line for line in lines if line.startswith('Warning')]
    with pytest.raises(VlmError):
        make_engine(base_url='http://vlm.invalid/v1')
    assert any(line.startswith('Warning') and 'https' in line for line in lines)


def test_missing_package_is_named(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('failures', 'language_model', 'server'):
        monkeypatch.delitem(sys.modules, f'vlm_npu_ros.engine.backends.openai.{name}')
    monkeypatch.setitem(sys.modules, 'openai', None)
    with pytest.raises(BackendUnavailableError, match=r'pip install openai.*s\[openai\]'):
        make_engine()


# --- TLS and proxies ---


@pytest.fixture(scope='module')
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which('openssl') is None:
        pytest.skip('openssl is not installed')
    path = tmp_path_factory.mktemp('tls') / 'both.pem'
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
         '-nodes', '-days', '2', '-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1',
         '-keyout', str(path), '-out', f'{path}.crt'],
        check=True, capture_output=True,
    )
    with path.open('a') as both:
        both.write(Path(f'{path}.crt').read_text())
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[ChatServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with chat_server(context) as server:
        yield server


def test_unknown_certificate_is_refused(make_engine: MakeEngine, tls_server: ChatServer) -> None:
    with pytest.raises(BackendUnavailableError, match='SSL_CERT_FILE'):
        make_engine(base_url=tls_server.url)
    assert not tls_server.paths


def test_certificate_of_an_own_authority(
    make_engine: MakeEngine, tls_server: ChatServer, certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('SSL_CERT_FILE', f'{certificate}.crt')
    assert make_engine(base_url=tls_server.url).answer(QUESTION) == 'a red ball'


def test_proxy_of_the_environment_is_used(
    make_engine: MakeEngine, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HTTP_PROXY', server.url.removesuffix('/v1'))
    assert make_engine(base_url='http://vlm.invalid/v1').answer(QUESTION) == 'a red ball'
    assert server.paths[-1] == 'http://vlm.invalid/v1/chat/completions'
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    make_engine().answer(QUESTION)
    assert server.paths[-1] == '/v1/chat/completions'


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('ALL_PROXY', 'carrier://pigeon'),
        ('ALL_PROXY', 'http://[::1'),
        ('SSL_CERT_FILE', '/missing'),
    ],
)
def test_settings_of_the_environment_that_are_none(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BackendUnavailableError, match='SSL_CERT_FILE and the variables'):
        make_engine()
    assert not [t for t in threading.enumerate() if t.name == 'openai']
