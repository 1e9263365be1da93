# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Let many clients ask the gateway at once while pages are open, and measure.

    make web-load                (or: tools/with_ros python3 tools/robustness/web_load.py --help)

A node with given answers and a camera of 640x480 at 10 Hz; the gateway is a process of its own.
Exit status 1 if a bar is missed: each client gets its own answer, whole and in order; a page's
pictures and news keep coming; and in a minute or more, the gateway's memory does not grow, and
the first token takes at most 10 ms longer over HTTP than by VlmClient (median, one question at a
time).
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
import json
import os
import socket
from statistics import median
import sys
import threading
import time
import urllib.request

import httpx
import numpy as np
import psutil
import rclpy
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from vlm_npu_ros.client import VlmClient
from vlm_npu_ros.demo.children import Children, keep_to_this_machine
from vlm_npu_ros.engine.backends.scripted import ScriptedLanguageModel, ScriptedTimings
from vlm_npu_ros.node.vlm_node import VlmNode

ADDED_BAR = 0.010  # seconds
GROWTH_BAR = 0.03
_PAIRS = 40  # of questions over HTTP and by VlmClient
_WARM = 0.25  # share of the run before memory is compared
_JUDGED = 60.0  # seconds of a run whose times and memory are judged
_PATIENCE = 60.0
_RATE = 10.0  # frames per second


def main() -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--clients', type=int, default=50, help='that ask (default: 50)')
    parser.add_argument('--pages', type=int, default=20, help='that are open (default: 20)')
    parser.add_argument('--seconds', type=float, default=120.0, help='(default: 120)')
    options = parser.parse_args()
    keep_to_this_machine()
    answers = {_question(i): _answer(i) for i in range(options.clients)}
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    with _node(answers), Children(os.environ) as children:
        gateway = psutil.Process(children.start(
            'gateway', 'vlm_npu_ros.gateway.main', {}, '--port', str(port)))
        url = f'http://127.0.0.1:{port}'
        _wait_for(url, children.check)
        added = _added(url, min(_PAIRS, round(options.seconds)))
        load = Load(url, options, gateway)
        asyncio.run(load.run())
        children.check()
    return _judge(load, added, options.seconds)


def _question(client: int) -> str:
    return f'what does client {client} see?'


def _answer(client: int) -> str:
    return f'client {client} sees ' + ' '.join(f'{client}.{word}' for word in range(6))


@contextmanager
def _node(answers: dict[str, str]) -> Iterator[None]:
    """Run a node and its camera in this process."""
    rclpy.init()
    values = {'backend': 'scripted', 'encode_rate': 5.0, 'queue_size': 200, 'timeout': 600.0}
    node = VlmNode(parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])
    node.autostart()
    # Each client has an answer of its own.
    node._engine._language_model = ScriptedLanguageModel(
        answers, ScriptedTimings(prefill_rate=4000.0, decode_rate=400.0, image_tokens=64))
    camera = Node('camera')
    publisher = camera.create_publisher(Image, 'camera/image_raw', 1)
    picture = Image(encoding='rgb8', height=480, width=640, step=1920)
    rng = np.random.default_rng(1)

    def publish() -> None:
        picture.header.stamp = camera.get_clock().now().to_msg()
        picture.data = rng.integers(0, 255, 640 * 480 * 3, np.uint8).tobytes()
        publisher.publish(picture)

    camera.create_timer(1 / _RATE, publish)
    executor = MultiThreadedExecutor(4)
    executor.add_node(node)
    executor.add_node(camera)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    try:
        yield
    finally:
        executor.shutdown()
        thread.join()
        node.release()
        node.destroy_node()
        camera.destroy_node()
        rclpy.try_shutdown()


def _wait_for(url: str, check: Callable[[], None]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        check()
        with suppress(OSError), urllib.request.urlopen(f'{url}/v1/models') as response:
            if len(json.load(response)['data']) > 1:
                return
        if time.monotonic() > deadline:
            raise SystemExit(f'Nothing answers at {url}')
        time.sleep(0.1)


def _added(url: str, pairs: int) -> float:
    """Measure how much later the first token comes over HTTP, in seconds."""
    direct, over_http = [], []
    with VlmClient() as vlm, httpx.Client(timeout=_PATIENCE) as http:
        for _ in range(pairs):
            begun = time.perf_counter()
            with vlm.stream(_question(0)) as stream:
                next(stream)
                direct.append(time.perf_counter() - begun)
                for _ in stream:
                    pass
            begun = time.perf_counter()
            with http.stream('POST', f'{url}/v1/chat/completions', json=_body(0)) as response:
                lines = response.iter_lines()
                first = next(time.perf_counter() for line in lines if _text_in(line))
                over_http.append(first - begun)
                for _ in lines:
                    pass
    print(f'first token, median: {1000 * median(direct):.1f} ms by VlmClient, '
          f'{1000 * median(over_http):.1f} ms over HTTP')
    return median(over_http) - median(direct)


def _body(client: int) -> dict[str, object]:
    return {'model': 'camera/camera', 'stream': True,
            'messages': [{'role': 'user', 'content': _question(client)}]}


def _text_in(line: str) -> str:
    """Return the text of an event."""
    data = line.removeprefix('data: ')
    if data in ('', '[DONE]'):
        return ''
    event = json.loads(data)
    if 'error' in event:
        raise ValueError(event['error']['message'])
    return ''.join(c['delta'].get('content') or '' for c in event['choices'])


class Load:
    """Clients that ask, and pages that look, until the time is over."""

    def __init__(
        self, url: str, options: argparse.Namespace, gateway: psutil.Process
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.memory: list[int] = []
        self._url, self._options, self._gateway = url, options, gateway
        self._end = 0.0

    async def run(self) -> None:
        """Run all of them."""
        self._end = time.monotonic() + self._options.seconds
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=_PATIENCE, limits=limits) as http:
            await asyncio.gather(
                *(self._ask(http, i) for i in range(self._options.clients)),
                *(self._look(http) for _ in range(self._options.pages)),
                *(self._follow(http) for _ in range(self._options.pages)),
                self._weigh(),
            )

    def _goes_on(self, what: str) -> bool:
        """Tell whether it is not over yet; on a busy machine, nothing may have come by then."""
        late = time.monotonic() - self._end
        return late < 0 or (not self.counts[what] and late < _PATIENCE)

    async def _ask(self, http: httpx.AsyncClient, client: int) -> None:
        chat = f'{self._url}/v1/chat/completions'
        while self._goes_on('answers'):
            said, whole = '', False
            try:
                async with http.stream('POST', chat, json=_body(client)) as response:
                    async for line in response.aiter_lines():
                        said += _text_in(line)
                        whole |= line == 'data: [DONE]'
            except (httpx.HTTPError, ValueError) as error:
                self.faults.append(f'client {client}: {type(error).__name__} {error}')
                continue
            self.counts['answers'] += 1
            if said != _answer(client) or not whole:
                self.faults.append(f'client {client} got {said!r}')

    async def _look(self, http: httpx.AsyncClient) -> None:
        stamp = '0'
        while self._goes_on('pictures'):
            begun = time.monotonic()
            response = await http.get(
                f'{self._url}/api/cameras/camera/picture', params={'after': stamp})
            if response.status_code == 200:
                stamp = response.headers['X-Stamp']
                self.counts['pictures'] += 1
            elif response.status_code != 204:
                self.faults.append(f'a picture: {response.status_code}')
            await asyncio.sleep(max(0.0, begun + 0.2 - time.monotonic()))

    async def _follow(self, http: httpx.AsyncClient) -> None:
        async with http.stream('GET', f'{self._url}/api/events') as response:
            async for line in response.aiter_lines():
                self.counts['news'] += line.startswith('data: ')
                if not self._goes_on('news'):
                    return

    async def _weigh(self) -> None:
        while time.monotonic() < self._end:
            self.memory.append(self._gateway.memory_info().rss)
            await asyncio.sleep(self._options.seconds / 40)


def _judge(load: Load, added: float, seconds: float) -> int:
    warm = load.memory[int(len(load.memory) * _WARM):]
    third = max(len(warm) // 3, 1)
    growth = median(warm[-third:]) / median(warm[:third]) - 1
    print(', '.join(f'{count} {what}' for what, count in load.counts.items()),
          f'in {seconds:g} s; memory {warm[-1] >> 20} MiB, {100 * growth:+.1f} %')
    misses = load.faults[:10]
    if seconds >= _JUDGED and added > ADDED_BAR:
        misses.append(f'the first token comes {1000 * added:.1f} ms later over HTTP')
    if seconds >= _JUDGED and growth > GROWTH_BAR:
        misses.append('the memory grows')
    misses += [f'no {what}' for what in ('answers', 'pictures', 'news') if not load.counts[what]]
    print('\n'.join(misses) or 'passed')
    return 1 if misses else 0


if __name__ == '__main__':
    sys.exit(main())
