# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Requests that nobody should send to the gateway: each gets an answer, none of them a 500."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
import http.client
import json
import subprocess
import sys
from urllib.parse import quote, urlsplit

from fuzz.fuzzing import examples, Outcomes
from hypothesis import given
from hypothesis import strategies as st
import psutil
import pytest

pytest.importorskip('uvicorn')
ROOM = 20.0  # MiB that thousands of requests may leave behind
PATIENCE = 30.0  # seconds
PATHS = (
    '/', '/health', '/ready', '/metrics', '/mcp', '/v1/models', '/v1/chat/completions',
    '/api/ask', '/api/watch', '/api/fields', '/api/transition', '/api/cameras/camera/picture',
    '/page.js', '/../../etc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '/page/../access.py',
    '//etc/passwd', '/.git/config', '/v1/models/..%2f..%2fetc', '/static/',
)
METHODS = ('GET', 'POST', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'BREW')
ENDS = {200, 202, 204, 400, 403, 404, 405, 406, 408, 409, 413, 415, 429, 501, 502, 503}
JPEG = base64.b64encode(bytes(range(256))).decode()
TEXT = st.text(max_size=40) | st.sampled_from(
    ['', '\0', '\ud800', '🤖' * 500, 'x' * 30_000, '<image>', '<clear>', '../../etc/passwd'])
LEAF = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
URL = TEXT | st.sampled_from([
    f'data:image/jpeg;base64,{JPEG}', 'data:image/png;base64,', 'data:;base64,AAAA',
    'data:image/jpeg;base64,%%%', 'file:///etc/passwd', 'http://127.0.0.1:1/', 'data:image/jpeg,x',
])
PART = JSON | st.fixed_dictionaries({'type': st.just('text'), 'text': TEXT | JSON}) | (
    st.fixed_dictionaries({'type': st.just('image_url'),
                           'image_url': st.fixed_dictionaries({'url': URL}) | URL}))
MESSAGE = JSON | st.fixed_dictionaries({
    'role': st.sampled_from(['user', 'assistant', 'system', 'tool', '']) | JSON,
    'content': TEXT | st.lists(PART, max_size=3),
})
SCHEMA = JSON | st.fixed_dictionaries({'enum': st.lists(TEXT, max_size=4)}) | (
    st.fixed_dictionaries({'type': st.just('object'), 'properties': JSON}))
CHAT = st.fixed_dictionaries(
    {'model': st.just('demo') | TEXT, 'messages': st.lists(MESSAGE, max_size=3)},
    optional={
        'stream': st.booleans() | JSON, 'max_tokens': st.integers(-1, 70) | JSON,
        'temperature': st.floats(0, 2) | JSON, 'stop': TEXT | st.lists(TEXT, max_size=3) | JSON,
        'seed': JSON, 'n': JSON, 'logprobs': JSON, 'tools': JSON, 'top_p': JSON,
        'stream_options': JSON,
        'response_format': JSON | st.fixed_dictionaries({
            'type': st.just('json_schema'),
            'json_schema': st.fixed_dictionaries({'schema': SCHEMA})}),
    },
)
ASK = st.fixed_dictionaries({
    'question': TEXT | JSON,
    'fields': JSON | st.dictionaries(
        st.sampled_from(['choices', 'yes_no', 'number', 'timeout', 'max_new_tokens', 'camera',
                         'json_schema', 'minimum', 'maximum', 'unit']), JSON, max_size=4),
}, optional={'pictures': JSON | st.lists(TEXT, max_size=2), 'wish': JSON})
HEADERS = st.dictionaries(
    st.sampled_from(['Origin', 'Cookie', 'Authorization', 'Range', 'Accept', 'Expect', 'Upgrade',
                     'If-None-Match', 'X-Forwarded-For', 'Mcp-Session-Id', 'Last-Event-ID']),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30), max_size=3,
)
# Method, path, headers, body and its type.
REQUEST = (
    st.tuples(st.just('POST'), st.just('/v1/chat/completions'), st.just({}),
              st.builds(json.dumps, CHAT), st.just('application/json'))
    | st.tuples(st.just('POST'), st.sampled_from(['/api/ask', '/api/watch']), st.just({}),
                st.builds(json.dumps, ASK), st.just('application/json'))
    | st.tuples(st.sampled_from(METHODS),
                st.sampled_from(PATHS) | TEXT.map(lambda t: '/' + quote(t, errors='replace')),
                HEADERS, st.builds(json.dumps, JSON) | TEXT,
                st.sampled_from(['application/json', 'text/plain', 'x/y; charset=q']))
)


@contextmanager
def program() -> Iterator[tuple[str, int]]:
    """Run vlm-npu serve; give its address and its process id."""
    command = [sys.executable, '-m', 'vlm_npu_ros.cli.main', 'serve', '--port', '0', '--quiet']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        yield running.stdout.readline().strip(), running.pid
        assert running.poll() is None
        running.terminate()


def memory(pid: int) -> float:
    """Read the memory of a process, MiB."""
    return psutil.Process(pid).memory_info().rss / 2**20


def test_requests_get_an_answer(outcomes: Outcomes) -> None:
    with program() as (address, pid):
        ask(address, outcomes)
        before = memory(pid)
        ask(address, outcomes)
        assert memory(pid) - before < ROOM


def ask(address: str, outcomes: Outcomes) -> None:
    """Send requests, and look at the answers."""
    parts = urlsplit(address)

    @given(request=REQUEST)
    @examples(50, 5_000)
    def check(request: tuple[str, str, dict[str, str], str, str]) -> None:
        method, path, headers, body, kind = request
        connection = http.client.HTTPConnection(parts.hostname or '', parts.port, PATIENCE)
        try:
            connection.request(method, path, body.encode(errors='replace'),
                               {**headers, 'Content-Type': kind})
            response = connection.getresponse()
            said = response.read()
        finally:
            connection.close()
        assert response.status in ENDS, (response.status, said)
        assert b'root:' not in said and b'Traceback' not in said
        outcomes['requests to the gateway'][str(response.status)] += 1

    check()
