# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What the gateway refuses: strangers, other sites, and what is too large or too slow."""

from __future__ import annotations

from collections.abc import Iterator
import http.client
import json
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
from served import asks, PATIENCE, scripted, served
from vlm_npu_ros.gateway.access import Limits

TOKEN = 'right-token'
MOST = 100_000  # bytes of a body


@pytest.fixture(scope='module')
def address() -> Iterator[str]:
    with served(scripted(['Yes.']), token=TOKEN, origins=('https://friend.example',)) as url:
        yield url


def fetch(
    address: str, path: str, method: str = 'GET', body: str | None = None, **headers: str
) -> http.client.HTTPResponse:
    """Send a request as it stands, and read the response."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or '', parts.port, timeout=PATIENCE)
    named = {name.replace('_', '-'): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    response = connection.getresponse()
    response.content = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


def test_without_the_token_only_health_is_told(address: str) -> None:
    for path in ('/', '/v1/models', '/metrics', '/mcp', '/api/events', '/page.js', '/none',
                 '/v1/../v1/models', '//v1/models', '/health/../metrics', '/?token=wrong'):
        for headers in ({}, {'Authorization': 'Bearer wrong'}, {'Authorization': 'Bearer '},
                        {'Authorization': f'Basic {TOKEN}'}, {'Cookie': 'vlm_token=wrong'},
                        {'Cookie': 'vlm_token="'}, {'Authorization': 'Bearer \xe4\xf6'}):
            assert fetch(address, path, **headers).status == 401, (path, headers)
    for method in ('POST', 'PUT', 'OPTIONS', 'HEAD', 'NONSENSE'):
        assert fetch(address, '/v1/chat/completions', method).status in (400, 401)
    assert [fetch(address, path).status for path in ('/health', '/ready')] == [200, 200]
    for headers in ({'Authorization': f'Bearer {TOKEN}'}, {'Cookie': f'vlm_token={TOKEN}'}):
        assert fetch(address, '/v1/models', **headers).status == 200


def test_an_address_with_the_token_is_opened_once(address: str) -> None:
    response = fetch(address, f'/?token={TOKEN}')
    assert (response.status, response.headers['location']) == (303, '/')
    cookie = response.headers['set-cookie']
    assert 'HttpOnly' in cookie and 'SameSite=Strict' in cookie
    assert fetch(address, '/v1/models', Cookie=cookie.partition(';')[0]).status == 200
    assert fetch(address, f'//evil.example/?token={TOKEN}').headers['location'][:2] != '//'


def test_other_sites_may_not_ask(address: str) -> None:
    key = f'Bearer {TOKEN}'
    for origin, status in (
        ('https://evil.example', 403), ('null', 403), (address.replace('http', 'ftp'), 403),
        (address, 200), ('https://friend.example', 200),
    ):
        response = fetch(address, '/v1/models', Origin=origin, Authorization=key)
        assert response.status == status, origin
        allowed = response.headers.get('access-control-allow-origin')
        assert allowed == (origin if 'friend' in origin else None)
    preflight = fetch(
        address, '/v1/chat/completions', 'OPTIONS', Origin='https://friend.example',
        Access_Control_Request_Method='POST', Access_Control_Request_Headers='authorization')
    assert preflight.status == 200
    with served(scripted(['Yes.'])) as url:  # without a token, names of other machines are refused
        assert fetch(url, '/v1/models').status == 200
        assert fetch(url, '/v1/models', Host='rebound.example').status == 403


def test_headers_bind_the_page_to_this_server(address: str) -> None:
    for path in ('/health', '/none'):
        headers = fetch(address, path, Authorization=f'Bearer {TOKEN}').headers
        assert "default-src 'none'" in headers['content-security-policy']
        assert headers['x-content-type-options'] == 'nosniff'


def test_large_and_slow_requests_end() -> None:
    chat = '/v1/chat/completions'
    head = f'POST {chat} HTTP/1.1\r\nHost: localhost\r\n'
    limits = Limits(body=MOST, body_seconds=1.0)
    with served(scripted(['Yes.']), limits=limits, head_seconds=1.0) as address:
        assert fetch(address, chat, 'POST', 'x' * (MOST + 1)).status == 413
        parts = urlsplit(address)
        for sent, expected in (
            (head + 'Content-Length: 10\r\n\r\nabc', b' 408 '),  # the rest never comes
            (head + 'Transfer-Encoding: chunked\r\n\r\n'
             + f'{MOST:x}\r\n{"y" * MOST}\r\n' * 2, b' 413 '),
            (head, b''), ('', b''),  # no end of the head
            ('NONSENSE\r\n\r\n', b' 400 '),
        ):
            with socket.create_connection((parts.hostname, parts.port), PATIENCE) as connection:
                connection.sendall(sent.encode())
                received = connection.recv(1000)
                assert expected in received and bool(received) == bool(expected), sent[:60]


def test_a_body_that_is_coming_is_not_waited_for_at_the_end() -> None:
    with served(scripted(['yes']), limits=Limits(body_seconds=60)) as address:
        parts = urlsplit(address)
        connection = socket.create_connection((parts.hostname, parts.port), PATIENCE)
        connection.sendall(b'POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx')
        assert fetch(address, '/ready').status == 200  # so the other one has come
    with connection:
        assert b' 504 ' in connection.recv(1000)


def test_bodies_that_make_no_sense_are_told(address: str) -> None:
    key = f'Bearer {TOKEN}'
    for body in ('', '{', 'null', '[]', '{"model": 1}', '"a"', '{"model": "scripted"}', '\x00',
                 '{"model":"scripted","messages":[{"role":"user","content":[1]}]}',
                 '[' * 50_000, '{"model":"scripted","messages":"NaN","temperature":NaN}'):
        response = fetch(address, '/v1/chat/completions', 'POST', body, Authorization=key,
                         Content_Type='application/json')
        assert response.status == 400, body[:60]
        assert json.loads(response.content)['error']['message']  # type: ignore[attr-defined]


def test_open_answers_do_not_keep_the_server_from_ending() -> None:
    from vlm_npu_ros.engine.backends.scripted import ScriptedTimings

    with served(scripted(['word ' * 60], ScriptedTimings(decode_rate=1.0))) as url:
        parts = urlsplit(url)
        body = json.dumps({'model': 'scripted', 'messages': asks('what?'), 'stream': True})
        connection = socket.create_connection((parts.hostname, parts.port), PATIENCE)
        connection.sendall(
            f'POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n'
            f'Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}'.encode()
        )
        assert b' 200 ' in connection.recv(1000)
        ending = time.monotonic()
    assert time.monotonic() - ending < 3.0 * 3
    connection.close()
    for thread in threading.enumerate():
        if 'answers' in thread.name:
            thread.join(PATIENCE)
            assert not thread.is_alive()
