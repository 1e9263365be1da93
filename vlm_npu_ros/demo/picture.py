"""The demo's picture: each scene as the camera saw it, beside the questions and answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from vlm_npu_ros.demo import drawing
from vlm_npu_ros.demo.drawing import png

__all__ = ['Exchange', 'Page', 'draw', 'png']

_TAGS = {'service': drawing.BLUE, 'action': drawing.PURPLE}


@dataclass(frozen=True)
class Exchange:
    """A question with its answer; `expected` is the right one, `note` what it cost."""

    way: str
    question: str
    answer: str
    expected: str
    right: bool
    note: str


@dataclass(frozen=True)
class Page:
    """A scene: its frame (height, width, 3), uint8, RGB, what is true of it, what was said."""

    frame: np.ndarray
    title: str
    exchanges: tuple[Exchange, ...]


def draw(title: str, subtitle: str, pages: Sequence[Page]) -> np.ndarray:
    """Return the picture of all pages: (height, width, 3), uint8, RGB."""
    cards = [
        drawing.Card(page.frame, page.title, tuple(map(_entry, page.exchanges))) for page in pages
    ]
    return drawing.draw(title, subtitle, cards)


def _entry(exchange: Exchange) -> drawing.Entry:
    return drawing.Entry(
        tag=exchange.way,
        tag_colour=_TAGS[exchange.way],
        question=exchange.question,
        answer=exchange.answer,
        colour=drawing.GREEN if exchange.right else drawing.RED,
        mark='tick' if exchange.right else 'cross',
        aside='' if exchange.right else f'Right is: {exchange.expected}',
        note=exchange.note,
    )
