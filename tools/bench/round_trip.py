# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A question to an engine that answers at once, there and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from pairs import alternate, COST, Effort, Pair
from running import Answer, Asker, AT_ONCE, CAMERA, NODE, running, SMALL

BAR = 1.5


def measure(effort: Effort) -> Iterator[Pair]:
    """Ask the node and a bare rclpy server in turns."""
    programs = {'node': (NODE, AT_ONCE), 'camera': (CAMERA, SMALL), 'bare': ('bare', {})}
    with running(**programs) as peer:
        ours, bare = Asker(peer, '/vlm/ask'), Asker(peer, '/bare/ask')
        ours.find()
        bare.find()
        for way in ('service', 'action'):
            rounds = alternate(
                20 if effort.short else 500,
                *(partial(_asked, getattr(asker, f'by_{way}')) for asker in (ours, bare)),
            )
            yield Pair(f'ask by {way}', f'bare rclpy {way}', 'ms', *rounds, COST, BAR)


def _asked(ask: Callable[..., Answer]) -> float:
    return ask(question='is it clear?').total
