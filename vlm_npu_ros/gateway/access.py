# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Who may ask, from where, how much and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ('127.0.0.1', '::1', 'localhost')
COOKIE = 'vlm_token'
_FREE = ('/health', '/ready')  # for supervisors, which have no token
_HEADERS = {
    'content-security-policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    'cache-control': 'no-store',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
}


@dataclass(frozen=True)
class Limits:
    """
    What one request may cost.

    body: bytes. body_seconds: for all of it to come. seconds: from its begin to the end of the
    response, which ends open answers and event streams, too.
    """

    body: int = 32 << 20
    body_seconds: float = 30.0
    seconds: float = 900.0


LIMITS = Limits()


class Access:
    """
    ASGI application around another one; refuses what may not reach that.

    token: '' = none is needed. Then only names of this machine are taken as Host, because a page
    of another site could point its own name here. origins: of pages that may ask; those of this
    server always may.
    """

    def __init__(
        self, app: App, token: str, origins: tuple[str, ...] = (), limits: Limits = LIMITS
    ) -> None:
        self._app, self._token, self._limits = app, token, limits
        self._origins = frozenset(origins)
        self._open: set[asyncio.Future[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] == 'lifespan':
            return await self._app(scope, receive, send)
        if scope['type'] != 'http':
            return  # nothing here speaks WebSocket; the server then refuses the connection
        reply = _Reply(send)
        headers = {name.decode('latin-1'): value.decode('latin-1')
                   for name, value in scope['headers']}
        if self._refuses_site(headers):
            await reply.refuse(403, 'Pages of other sites may not ask', 'forbidden')
        elif scope['path'] not in _FREE and not self._knows(scope, headers):
            if self._fits(_token_in_address(scope)):
                await reply.welcome(scope['path'], self._token)
            else:
                await reply.refuse(401, 'A token is needed: see docs/gateway.md',
                                   'invalid_api_key')
        else:
            body = await self._body(headers, receive, reply)
            if body is not None:
                await self._pass_on(scope, _once(body, receive), reply)

    def end(self) -> None:
        """End all responses that are not complete."""
        for task in self._open:
            task.cancel()

    async def _pass_on(self, scope: Scope, receive: Receive, reply: _Reply) -> None:
        task = asyncio.ensure_future(self._app(scope, receive, reply.send))
        self._open.add(task)
        try:
            done, _ = await asyncio.wait({task}, timeout=self._limits.seconds)
            if done and not task.cancelled():
                return task.result()
        finally:
            self._open.discard(task)
            task.cancel()
        await asyncio.wait({task})
        await reply.cut()

    def _refuses_site(self, headers: dict[str, str]) -> bool:
        """Tell whether a page of another site asks, or a name of another site is used."""
        host = headers.get('host', '')
        try:
            if not self._token and urlsplit(f'//{host}').hostname not in LOOPBACK:
                return True
            origin = headers.get('origin')
            return bool(origin) and origin not in self._origins and (
                urlsplit(origin).netloc != host or urlsplit(origin).scheme not in ('http', 'https')
            )
        except ValueError:
            return True

    def _knows(self, scope: Scope, headers: dict[str, str]) -> bool:
        if not self._token:
            return True
        if scope['method'] == 'OPTIONS' and headers.get('origin') in self._origins:
            return True  # a browser asks whether it may ask, and sends no token with that
        kind, _, given = headers.get('authorization', '').partition(' ')
        if kind.lower() == 'bearer' and self._fits(given.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get('cookie', '')).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._fits(cookie.value)

    def _fits(self, given: str) -> bool:
        def digest(text: str) -> bytes:
            return hashlib.sha256(text.encode(errors='replace')).digest()

        return hmac.compare_digest(digest(given), digest(self._token))

    async def _body(
        self, headers: dict[str, str], receive: Receive, reply: _Reply
    ) -> bytes | None:
        """Read the body; None if it was refused or the client has gone."""
        announced = headers.get('content-length', '0')
        most = self._limits.body
        too_large = announced.isdecimal() and int(announced[:20]) > most
        if not too_large:
            reading = asyncio.ensure_future(_read(receive, most))
            self._open.add(reading)
            try:
                done, _ = await asyncio.wait({reading}, timeout=self._limits.body_seconds)
            finally:
                self._open.discard(reading)
                reading.cancel()
            if not done:
                await reply.refuse(408, 'The body came too slowly', 'timeout')
                return None
            if reading.cancelled():  # by `end`
                await reply.cut()
                return None
            body = reading.result()
            if body is None or len(body) <= most:
                return body
        await reply.refuse(413, f'The body is larger than {most >> 20} MiB', 'too_large')
        return None


class _Reply:
    """The response to one request."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = self._ended = False

    async def send(self, message: Message) -> None:
        """Pass a part of it on, with the headers that all have."""
        if message['type'] == 'http.response.start':
            self._begun = True
            there = {name.lower() for name, _ in message.get('headers', ())}
            more = [(name.encode(), value.encode()) for name, value in _HEADERS.items()
                    if name.encode() not in there]
            message = {**message, 'headers': [*message.get('headers', ()), *more]}
        elif not message.get('more_body'):
            self._ended = True
        await self._send(message)

    async def cut(self) -> None:
        """End it where it stands."""
        if not self._begun:
            await self.refuse(504, 'The request took too long, or the server ends', 'timeout')
        elif not self._ended:
            await self.send({'type': 'http.response.body', 'body': b''})

    async def refuse(self, status: int, words: str, code: str) -> None:
        """Answer with an error in OpenAI's form."""
        error = {'message': words, 'type': 'invalid_request_error', 'param': None, 'code': code}
        headers = [(b'content-type', b'application/json'), (b'connection', b'close')]
        if status == 401:
            headers.append((b'www-authenticate', b'Bearer'))
        await self._whole(status, headers, json.dumps({'error': error}).encode())

    async def welcome(self, path: str, token: str) -> None:
        """Let a browser keep the token, and take it out of the address."""
        cookie = f'{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/'
        target = '/' + path.lstrip('/\\')
        await self._whole(303, [
            (b'location', target.encode('ascii', 'ignore')), (b'set-cookie', cookie.encode()),
        ], b'')

    async def _whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        headers.append((b'content-length', str(len(body)).encode()))
        await self.send({'type': 'http.response.start', 'status': status, 'headers': headers})
        await self.send({'type': 'http.response.body', 'body': body})


def _token_in_address(scope: Scope) -> str:
    """Return the token in an address that a person has opened."""
    query = scope['query_string'].decode('latin-1') if scope['method'] == 'GET' else ''
    return parse_qs(query).get('token', [''])[0]


async def _read(receive: Receive, most: int) -> bytes | None:
    """Read a body until it is too large; None = the client has gone."""
    body = bytearray()
    while len(body) <= most:
        message = await receive()
        if message['type'] == 'http.disconnect':
            return None
        body += message.get('body', b'')
        if not message.get('more_body'):
            break
    return bytes(body)


def _once(body: bytes, receive: Receive) -> Receive:
    """Give the body, and after it what comes from the client: that it has gone."""
    parts = [{'type': 'http.request', 'body': body, 'more_body': False}]

    async def next_part() -> Message:
        return parts.pop() if parts else await receive()

    return next_part
