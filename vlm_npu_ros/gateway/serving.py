# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Runs the gateway: token, address, signals."""

from __future__ import annotations

import argparse
from collections.abc import Callable
import secrets
import signal
import socket
import sys

import uvicorn
from vlm_npu_ros.engine.errors import NotSupportedError, RequestError
from vlm_npu_ros.gateway.access import Access, Limits, LOOPBACK
from vlm_npu_ros.gateway.app import make_app
from vlm_npu_ros.gateway.connection import impatient_protocol
from vlm_npu_ros.gateway.source import Source

_CONNECTIONS = 200
_IDLE = 30  # seconds; clients give up idle connections after 5 or so, and must be the first
_GRACE = 1  # second that open answers have when the program is to end
_HEAD_SECONDS = 10.0  # for the head of a request to come


def serve(args: argparse.Namespace, make_source: Callable[[], Source]) -> int:
    """
    Serve until a signal ends it; return the exit code.

    make_source: called once the address is known to be free. Raises VlmError.
    """
    token = _token(args)
    listener = _listen(args.host, args.port)
    # The server ends what is open, and then raises the signal again.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    limits = Limits(body=args.max_body_mb << 20)
    app = make_app(make_source(), token, tuple(args.allow_origin), limits)
    server = GatewayServer(app, lambda: _tell(args, listener, token))
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()
    return 0 if server.started else 1


class GatewayServer(uvicorn.Server):
    """
    Serves the gateway; ends what is open when it is told to end.

    told: called when it listens. head_seconds: for the head of a request to come.
    """

    def __init__(
        self, app: Access, told: Callable[[], None], head_seconds: float = _HEAD_SECONDS
    ) -> None:
        super().__init__(uvicorn.Config(
            app, http=impatient_protocol(head_seconds), ws='none', lifespan='on',
            limit_concurrency=_CONNECTIONS, timeout_keep_alive=_IDLE,
            timeout_graceful_shutdown=_GRACE, log_level='error', access_log=False,
            server_header=False, date_header=False, proxy_headers=False,
        ))
        self._app, self._told = app, told

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._told()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.end()
        await super().shutdown(sockets)


def _token(args: argparse.Namespace) -> str:
    """Return the token that clients need, '' = none."""
    if args.token_file:
        mode = args.token_file.stat().st_mode
        if mode & 0o077:
            raise RequestError(f'{args.token_file} can be read by others',
                               f'chmod 600 {args.token_file}')
        token = args.token_file.read_text(encoding='ascii', errors='replace').strip()
        if not token or not token.isascii() or not token.isprintable() or set(token) & set(' ;,"'):
            raise RequestError(f'{args.token_file} must hold one line of letters and digits')
        return str(token)
    return '' if args.host in LOOPBACK else secrets.token_urlsafe(24)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise NotSupportedError(f'{host}:{port} cannot be listened on: {error}',
                                'Choose another --host or --port') from error


def _tell(args: argparse.Namespace, listener: socket.socket, token: str) -> None:
    """Print the address, once it can be opened."""
    host, port = listener.getsockname()[:2]
    shown = f'[{host}]' if ':' in host else host
    secret = f'?token={token}' if token and not args.token_file else ''
    print(f'http://{shown}:{port}/{secret}', flush=True)
