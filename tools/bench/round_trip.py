# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A question to an engine that answers at once, there and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from pairs import alternate, COST, Effort, Pair
from running import Answer, Asker, AT_ONCE, CAMERA, NODE, running, SMALL

# That of the service leaves room for a machine that is not steady: 20 runs of one tree, each with
# one start, took 1.41 to 1.69 x. The look at the graph, by which no half discovered client loses
# its answer, is 0.08 of it.
BARS = {'service': 1.75, 'action': 1.5}
STARTS = 6


def measure(effort: Effort) -> Iterator[Pair]:
    """Ask the node and a bare rclpy server in turns."""
    starts = [_rounds(20 if effort.short else 100) for _ in range(effort.repeats(STARTS))]
    for way, rounds in zip(BARS, zip(*starts, strict=True), strict=True):
        ours, bare = (sum(times, ()) for times in zip(*rounds, strict=True))
        yield Pair(f'ask by {way}', f'bare rclpy {way}', 'ms', ours, bare, COST, BARS[way])


def _rounds(count: int) -> list[list[tuple[float, ...]]]:
    """Start both and measure the milliseconds of each way: ours, and the bare ones."""
    programs = {'node': (NODE, AT_ONCE), 'camera': (CAMERA, SMALL), 'bare': ('bare', {})}
    with running(**programs) as peer:
        askers = Asker(peer, '/vlm/ask'), Asker(peer, '/bare/ask')
        for asker in askers:
            asker.find()
        return [
            alternate(count, *(partial(_asked, getattr(a, f'by_{way}')) for a in askers))
            for way in BARS
        ]


def _asked(ask: Callable[..., Answer]) -> float:
    return ask(question='is it clear?').total
