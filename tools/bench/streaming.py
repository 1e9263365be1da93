# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""How soon the pieces of an answer reach others, and whether all do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median
import time

from light_node import load
import numpy as np
from pairs import ADDED, alternate, Effort, Pair, SHARE
from running import Answer, Asker, AT_ONCE, CAMERA, running, SMALL
from stamps import delay
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import GenerationRequest

RATES = (15, 60, 500, 1000)  # chunks a second
BAR = 3.0  # milliseconds a chunk
_NO_BAR = 1000  # from this rate on, only losses are judged
_MANY = 3000  # chunks, as fast as they come
_SECONDS = 2.0  # of an answer
_WAYS = {'topic': 'by_service', 'feedback': 'by_action'}
_MODEL = {**AT_ONCE, 'backend': 'light', 'max_new_tokens': 4000, 'timeout': 120.0}


class Stream:
    """
    One answer, chunk by chunk.

    share: of the chunks that came. delay: median milliseconds a chunk. rate: chunks a second.
    """

    def __init__(self, pieces: list[tuple[int, str]], count: int) -> None:
        self.share = len(pieces) / count
        self.delay = median(delay(*piece) for piece in pieces)
        seconds = (pieces[-1][0] - pieces[0][0]) / 1e9
        self.rate = (len(pieces) - 1) / seconds


class InProcess:
    """A consumer of the engine itself."""

    def __init__(self) -> None:
        self._engine = LocalEngine(*load())
        self._image = self._engine.encode(np.zeros((48, 64, 3), np.uint8))

    def stream(self, order: str, count: int) -> Stream:
        """Generate one answer."""
        chunks = self._engine.generate(GenerationRequest(order, (self._image,)))
        return Stream([(time.monotonic_ns(), c.text) for c in chunks if c.text], count)


def measure(effort: Effort) -> Iterator[Pair]:
    """Stream by both ways, at each rate and at full speed."""
    programs = {'node': ('light_node', _MODEL), 'camera': (CAMERA, SMALL), 'bare': ('bare', {})}
    direct = InProcess()
    with running(**programs) as peer:
        for way, method in _WAYS.items():
            askers = [Asker(peer, f'/{name}/ask', (way,)) for name in ('vlm', 'bare')]
            for asker in askers:
                asker.find()
            for rate in (RATES[-1], 0) if effort.short else (*RATES, 0):
                count = int(rate * effort.seconds(_SECONDS)) or _MANY
                order = f'{count} {rate}'
                ours, bare, own = alternate(
                    effort.repeats(3),
                    *(partial(_stream, asker, method, order, count) for asker in askers),
                    partial(direct.stream, order, count),
                )
                yield from _pairs(way, rate, ours, bare, own)
            for asker in askers:
                asker.close()


def _stream(asker: Asker, method: str, order: str, count: int) -> Stream:
    answer: Answer = getattr(asker, method)(question=order)
    asker.all_pieces(answer, count)
    return Stream(answer.pieces, count)


def _pairs(
    way: str, rate: int, ours: tuple[Stream, ...], bare: tuple[Stream, ...],
    own: tuple[Stream, ...],
) -> Iterator[Pair]:
    arrived = tuple(s.share for s in ours)
    whole = (1.0,) * len(arrived)
    if not rate:
        rates = tuple(tuple(s.rate for s in streams) for streams in (ours, bare, own))
        yield Pair(f'{way}, full speed', 'bare rclpy', 'chunks/s', *rates[:2], SHARE)
        yield Pair(
            f'{way}, full speed', 'in the process', 'chunks/s', rates[0], rates[2], SHARE
        )
        yield Pair(f'{way}, full speed: arrived', 'sent', '', arrived, whole, SHARE)
        return
    name = f'{way}, {rate} chunks/s'
    delays = tuple(tuple(s.delay for s in streams) for streams in (ours, bare, own))
    yield Pair(
        f'{name}: delay', 'in the process', 'ms', delays[0], delays[2], ADDED,
        BAR if rate < _NO_BAR else None,
    )
    yield Pair(f'{name}: delay', 'bare rclpy', 'ms', *delays[:2], ADDED)
    yield Pair(f'{name}: arrived', 'sent', '', arrived, whole, SHARE, 1.0)
