# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A server that speaks like Hugging Face's: listings, redirects to a store, ranges, and faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
import threading
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

COMMIT = 40 * 'a'
_PIECE = 1 << 14  # bytes


@dataclass
class Hub:
    """
    Repositories by name, each a mapping of paths to contents.

    token: that must be sent, '' = none. gated: whose terms nobody has accepted. sizes, hashes: by
    path, where the listing lies. stored: contents by path that come instead of the listed ones.
    cuts: how many bytes of a file come before the connection is closed, by path; each is used
    once. ranges: the store serves parts of files. states: of the next answers of the store.
    halt: bytes by path, after which the store waits for `released`. asked: what was asked of it.
    """

    repositories: dict[str, dict[str, bytes]]
    token: str = ''
    gated: set[str] = field(default_factory=set)
    sizes: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    ranges: bool = True
    states: list[int] = field(default_factory=list)
    halt: dict[str, int] = field(default_factory=dict)
    halted: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str]] = field(default_factory=list)
    address: str = ''

    def listing(self, name: str) -> bytes:
        siblings = []
        for path, content in self.repositories[name].items():
            digest = hashlib.sha256(content).hexdigest()
            size = self.sizes.get(path, len(content))
            siblings.append({
                'rfilename': path, 'size': size, 'blobId': digest[:40],
                'lfs': {'sha256': self.hashes.get(path, digest), 'size': size,
                        'pointerSize': 130},
            })
        return json.dumps({
            '_id': '1', 'id': name, 'modelId': name, 'sha': COMMIT, 'private': False,
            'siblings': siblings, 'tags': [], 'cardData': {'license': 'apache-2.0'},
        }).encode()


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve on the loopback, and tell the address."""
    class Handler(_Handler):
        server_of = hub

    with _Server(('127.0.0.1', 0), Handler) as server:
        hub.address = f'http://127.0.0.1:{server.server_port}'
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield hub
        finally:
            hub.released.set()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that leave."""


class _Handler(BaseHTTPRequestHandler):
    server_of: Hub
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:  # noqa: N802
        self.do_GET()

    def do_GET(self) -> None:  # noqa: N802
        hub, path = self.server_of, unquote(urlsplit(self.path).path)
        if path.startswith('/store/'):
            self._store(*path.removeprefix('/store/').split('/', 2))
            return
        parts = path.strip('/').split('/')
        name = '/'.join(parts[2:4] if path.startswith('/api/models/') else parts[:2])
        if hub.token and self.headers.get('Authorization') != f'Bearer {hub.token}':
            self._answer(401, b'{"error": "Unauthorized"}')
        elif name in hub.gated:
            self._answer(403, b'{"error": "gated"}', {'X-Error-Code': 'GatedRepo'})
        elif name not in hub.repositories:
            self._answer(404, b'{"error": "Not Found"}', {'X-Error-Code': 'RepoNotFound'})
        elif path.startswith('/api/models/'):
            self._answer(200, hub.listing(name), {'Content-Type': 'application/json'})
        elif '/'.join(parts[4:]) not in hub.repositories[name]:
            self._answer(404, b'', {'X-Error-Code': 'EntryNotFound'})
        else:
            place = f'{hub.address}/store/{name}/' + '/'.join(parts[4:])
            self._answer(302, b'', {'Location': place, 'X-Repo-Commit': COMMIT})

    def _answer(
        self, state: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.send_response(state)
        for header, value in {**headers, 'Content-Length': str(len(body))}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def _store(self, owner: str, name: str, path: str) -> None:
        hub = self.server_of
        wanted = self.headers.get('Range', '')
        hub.asked.append((path, wanted))
        if hub.states and (state := hub.states.pop(0)) != 200:
            self._answer(state, b'')
            return
        content = hub.stored.get(path, hub.repositories[f'{owner}/{name}'][path])
        begin = int(wanted.removeprefix('bytes=').split('-')[0]) if wanted and hub.ranges else 0
        self.send_response(206 if begin else 200)
        self.send_header('Content-Length', str(len(content) - begin))
        if begin:
            self.send_header('Content-Range', f'bytes {begin}-{len(content) - 1}/{len(content)}')
        self.end_headers()
        cuts = hub.cuts.get(path, [])
        end = cuts.pop(0) if cuts else len(content)
        for at in range(begin, end, _PIECE):
            if at >= hub.halt.get(path, end) and not hub.released.is_set():
                hub.halted.set()
                hub.released.wait()
                break
            self.wfile.write(content[at:min(at + _PIECE, end)])
        if end < len(content):
            self.close_connection = True
