# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What the first token and the processor time grow with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median
import time
from typing import Any

from pairs import alternate, COST, Effort, Pair, SHARE
from running import (
    Answer,
    Asker,
    AT_ONCE,
    CAMERA,
    Client,
    cpu_seconds,
    NODE,
    NodeError,
    Peer,
    process_of,
    running,
    SMALL,
)

_CAMERAS, _CLIENTS = (2, 4), (4, 16)
_CONTEXT = (500, 1000, 2000, 4000)  # tokens
_TURNS = (4, 16, 64)
_PREFILL = 302.0 * 10  # tokens a second: ten times Qwen3-VL-2B
_QUESTION = 'what do you see?'
_ASKS = 20  # a round


def measure(effort: Effort) -> Iterator[Pair]:
    """Measure one growth after the other."""
    yield from _cameras(effort)
    yield from _clients(effort)
    yield from _context(effort)
    yield from _conversation(effort)
    yield from _hours(effort)


def _cameras(effort: Effort) -> Iterator[Pair]:
    """Compare several cameras with one."""
    for count in _CAMERAS[effort.short:]:
        several, one = alternate(
            effort.repeats(3),
            lambda count=count: _with_cameras(count, effort.seconds(4.0)),
            lambda: _with_cameras(1, effort.seconds(4.0)),
        )
        for i, (name, unit) in enumerate((('first token', 'ms'), ('CPU', 'ms/s'))):
            figures = tuple(tuple(those[i] for those in each) for each in (several, one))
            yield Pair(f'{count} cameras: {name}', '1 camera', unit, *figures, COST)


def _with_cameras(count: int, seconds: float) -> tuple[float, float]:
    """Measure the first token in ms, and the CPU time in ms per second without questions."""
    names = [f'camera{i}' for i in range(count)]
    node: dict[str, Any] = {**AT_ONCE, 'encode_rate': 1.0, 'cameras': names}
    node |= {f'{name}.topic': '/camera/image_raw' for name in names}
    with running(node=(NODE, node), camera=(CAMERA, {**SMALL, 'rate': 10.0})) as peer:
        asker = Asker(peer, '/vlm/ask', ('topic',))
        asker.find()
        first = median(asker.by_service(question=_QUESTION).first() for _ in range(_ASKS))
        return first, _idle(peer, seconds)


def _idle(peer: Peer, seconds: float) -> float:
    process = process_of(NODE)
    cpu, started = cpu_seconds(process), time.perf_counter()
    peer.wait(lambda: time.perf_counter() - started > seconds, 2 * seconds)
    return 1000 * (cpu_seconds(process) - cpu) / (time.perf_counter() - started)


def _clients(effort: Effort) -> Iterator[Pair]:
    """Compare the answers a second, and their cost, of several clients at once with one's."""
    asks = 32 if effort.short else 160
    with running(node=(NODE, {**AT_ONCE, 'queue_size': 100}), camera=(CAMERA, SMALL)) as peer:
        asker = Asker(peer, '/vlm/ask')
        asker.find()
        process = process_of(NODE)
        for count in _CLIENTS[effort.short:]:
            with Client('several', ends=count) as several, Client('one') as one:
                several.find_node()
                one.find_node()
                ours, reference = alternate(
                    effort.repeats(3),
                    partial(_asked, several, count, asks, process),
                    partial(_asked, one, 1, asks, process),
                )
            for i, (name, unit, compared) in enumerate(
                (('answers', '/s', SHARE), ('CPU', 'ms/answer', COST))
            ):
                figures = tuple(tuple(those[i] for those in each) for each in (ours, reference))
                yield Pair(f'{count} clients: {name}', '1 client', unit, *figures, compared)


def _asked(client: Client, ends: int, asks: int, process: Any) -> tuple[float, float]:
    """Measure the answers per second, and the milliseconds of processor time for each."""
    cpu, started = cpu_seconds(process), time.perf_counter()
    for _ in range(asks // ends):
        sent = [client.send('service', _QUESTION, end=end) for end in range(ends)]
        client.wait(lambda sent=sent: all(ask.done for ask in sent), 60.0)
        ends_otherwise = {ask.ended_by for ask in sent} - {'answer'}
        if ends_otherwise:
            raise NodeError(f'Some of {ends} questions at once ended with {ends_otherwise}')
    seconds = time.perf_counter() - started
    return asks / seconds, 1000 * (cpu_seconds(process) - cpu) / asks


def _context(effort: Effort) -> Iterator[Pair]:
    """Compare prompts of these lengths with what reading them takes by itself."""
    for tokens in _CONTEXT[:1] if effort.short else _CONTEXT:
        node = {**AT_ONCE, 'scripted.prefill_rate': _PREFILL, 'max_new_tokens': 32,
                'scripted.image_tokens': tokens - len(_QUESTION.split())}
        with running(node=(NODE, node), camera=(CAMERA, SMALL)) as peer:
            asker = Asker(peer, '/vlm/ask', ('topic',))
            asker.find()
            ours = tuple(
                asker.by_service(question=_QUESTION).first() for _ in range(effort.repeats(10))
            )
        limit = (1000 * tokens / _PREFILL,) * len(ours)
        yield Pair(f'{tokens} tokens: first token', 'prefill alone', 'ms', ours, limit, COST)


def _conversation(effort: Effort) -> Iterator[Pair]:
    """Compare a follow-up after many turns with a question by itself."""
    with running(node=(NODE, AT_ONCE), camera=(CAMERA, SMALL)) as peer:
        asker = Asker(peer, '/vlm/ask', ('topic',))
        asker.find()
        turns = 0
        for wanted in _TURNS[:1] if effort.short else _TURNS:
            while turns < wanted:
                asker.by_service(question=_QUESTION, conversation_id='long')
                turns += 1

            def follow_up() -> Answer:
                return asker.by_service(question=_QUESTION, conversation_id='long')

            ours, alone = alternate(
                effort.repeats(_ASKS), follow_up, lambda: asker.by_service(question=_QUESTION)
            )
            turns += len(ours)
            figures = tuple(tuple(a.first() for a in each) for each in (ours, alone))
            yield Pair(f'after {wanted} turns: first token', 'no dialogue', 'ms', *figures, COST)


def _hours(effort: Effort) -> Iterator[Pair]:
    """Compare the node's memory after many answers with that after a few."""
    asks = 200 if effort.short else 4000  # more than an hour of a robot that asks every second
    with running(node=(NODE, AT_ONCE), camera=(CAMERA, SMALL)) as peer:
        asker = Asker(peer, '/vlm/ask')
        asker.find()
        process, sizes = process_of(NODE), []
        for _ in range(2):
            for _ in range(asks // 2):
                asker.by_service(question=_QUESTION)
            sizes.append(process.memory_info().rss / 2**20)
    yield Pair(
        f'{asks} answers: memory', f'{asks // 2} answers', 'MiB', (sizes[1],), (sizes[0],), COST
    )
