# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A server of streamed chat completions on loopback, which fails as it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
import queue
import socket
import ssl
import threading
import time
from typing import Any

PATIENCE = 30.0  # seconds; only a broken test waits this long


@dataclass(frozen=True)
class Request:
    """What has come; a connection brings several."""

    body: dict[str, Any]
    headers: Message
    port: int  # of the client


class Exchange(BaseHTTPRequestHandler):
    """
    One connection; what a test's `answer` gets to reply with.

    body: of the request.
    """

    protocol_version = 'HTTP/1.1'
    server: ChatServer
    body: dict[str, Any]
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

    def do_GET(self) -> None:  # noqa: N802
        self._take({})
        self.server.list_models(self)

    def do_POST(self) -> None:  # noqa: N802
        length = int(self.headers.get('content-length', 0))
        self._take(json.loads(self.rfile.read(length)))
        self.server.answer(self)

    def _take(self, body: dict[str, Any]) -> None:
        self.body = body
        self.server.paths.append(self.path)
        self.server.requests.put(Request(dict(body), self.headers, self.client_address[1]))

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def reply(self, status: int, body: object, **headers: str) -> None:
        """Send a whole response; _ in names of headers is -."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        self.send_header('content-type', 'application/json')
        self.send_header('content-length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def fail(self, status: int, message: str, **headers: str) -> None:
        error = {'message': message, 'type': 'error', 'code': status}
        self.reply(status, {'error': error}, **headers)

    def begin(self) -> None:
        self.send_response(200)
        self.send_header('content-type', 'text/event-stream')
        self.send_header('transfer-encoding', 'chunked')
        self.end_headers()
        self.event({'role': 'assistant', 'content': ''})

    def raw(self, data: bytes) -> None:
        self.wfile.write(b'%x\r\n%b\r\n' % (len(data), data))

    def data(self, value: object) -> None:
        self.raw(b'data: ' + json.dumps(value).encode() + b'\n\n')

    def event(self, delta: dict[str, Any], reason: str | None = None, **fields: Any) -> None:
        """Send a part of the answer; fields: of its choice."""
        choice = {'index': 0, 'delta': delta, 'finish_reason': reason, **fields}
        self.data(self._chunk(choices=[choice]))

    def say(self, text: str, tops: dict[str, float] | None = None) -> None:
        """Send a token; tops: log probabilities of tokens there."""
        if tops is None:
            return self.event({'content': text})
        top = [{'token': t, 'logprob': p, 'bytes': None} for t, p in tops.items()]
        token = {'token': text, 'logprob': tops[text], 'bytes': None, 'top_logprobs': top}
        self.event({'content': text}, logprobs={'content': [token]})

    def end(self, reason: str = 'stop', prompt: int = 0, new: int = 0) -> None:
        """Send the end of the answer, with usage where that was asked for."""
        self.event({}, reason)
        if self.body.get('stream_options'):
            usage = {'prompt_tokens': prompt, 'completion_tokens': new, 'total_tokens': 0}
            self.data(self._chunk(choices=[], usage=usage))
        self.raw(b'data: [DONE]\n\n')
        self.wfile.write(b'0\r\n\r\n')

    def _chunk(self, **fields: Any) -> dict[str, Any]:
        return {'id': 'x', 'object': 'chat.completion.chunk', 'created': 0, 'model': 'm', **fields}

    def drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def wait_for_disconnect(self) -> None:
        """Return when the client has gone; the time is noted."""
        self.close_connection = True
        self.server.waiting.release()
        try:
            self.connection.recv(1)
        except OSError:
            pass
        self.server.gone.put(time.monotonic())


Answer = Callable[[Exchange], None]


def say_words(*words: str) -> Answer:

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for word in words:
            exchange.say(word)
        exchange.end(prompt=600, new=len(words))

    return answer


def list_one(exchange: Exchange) -> None:
    exchange.reply(200, {'object': 'list', 'data': [{'id': 'tiny', 'object': 'model'}]})


class ChatServer(ThreadingHTTPServer):
    """
    The server; answer and list_models may be set at any time.

    requests: that have come. paths: of these.
    waiting: released by each `wait_for_disconnect`.
    gone: when clients left that it has waited for, time.monotonic().
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(('127.0.0.1', 0), Exchange)
        self.answer: Answer = say_words('a', ' red', ' ball')
        self.list_models: Answer = list_one
        self.requests: queue.Queue[Request] = queue.Queue()
        self.paths: list[str] = []
        self.connections: list[socket.socket] = []
        self.waiting = threading.Semaphore(0)
        self.gone: queue.Queue[float] = queue.Queue()
        self._scheme = 'https' if context else 'http'
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f'{self._scheme}://127.0.0.1:{self.server_address[1]}/v1'

    def asked(self) -> dict[str, Any]:
        while True:
            request = self.requests.get(timeout=PATIENCE)
            if request.body:
                return request.body

    def questions(self) -> int:
        return sum(path.endswith('/chat/completions') for path in self.paths)

    def handle_error(self, *_: Any) -> None:
        """Print nothing: clients that leave are what is tested."""


@contextmanager
def chat_server(context: ssl.SSLContext | None = None) -> Iterator[ChatServer]:
    server = ChatServer(context)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        for connection in server.connections:
            with suppress(OSError):  # it is closed already
                connection.shutdown(socket.SHUT_RDWR)
