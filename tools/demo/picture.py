# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The demo's picture: each scene as the camera saw it, beside the questions and answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from vlm_npu_ros.engine.drawing import Colour, measured, wrapped, written

INK = (28, 32, 38)
GREY = (112, 120, 130)
GREEN = (34, 150, 83)
RED = (205, 52, 48)
_PAPER = (240, 242, 245)
_CARD = (255, 255, 255)
_RIM = (214, 218, 224)
_TAGS = {'service': (52, 101, 175), 'action': (128, 74, 166)}

_WIDTH = 1640
_MARGIN = 28
_FRAME = (600, 450)
_TEXT_X = _MARGIN * 3 + _FRAME[0]
_TEXT_WIDTH = _WIDTH - _TEXT_X - 2 * _MARGIN
_TAG_WIDTH = 84
_INDENT = _TAG_WIDTH + 16
_TITLE, _QUESTION = 0.62, 0.66  # scales of the font
_LINE = 27  # pixels from one line of text to the next
_GAP = 16  # between questions
_TICK = [[(-6, 0), (-2, 5), (6, -5)]]  # strokes in a disc
_CROSS = [[(-5, -5), (5, 5)], [(-5, 5), (5, -5)]]


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
    """Draw all pages below each other: (height, width, 3), uint8, RGB."""
    heights = [_height(page) for page in pages]
    top = 112
    canvas = np.full((top + sum(h + _MARGIN for h in heights), _WIDTH, 3), _PAPER, np.uint8)
    written(canvas, title, _MARGIN, 52, 1.1, INK)
    written(canvas, subtitle, _MARGIN, 90, _TITLE, GREY)
    for page, height in zip(pages, heights, strict=True):
        _draw_page(canvas, page, top, height)
        top += height + _MARGIN
    return canvas


def png(rgb: np.ndarray) -> bytes:
    """Encode a picture as a PNG file."""
    return cv2.imencode('.png', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def _height(page: Page) -> int:
    text = _LINE * len(wrapped(page.title, _TITLE, _TEXT_WIDTH)) + _GAP
    text += sum(_LINE * len(_lines(exchange)) + _GAP for exchange in page.exchanges)
    return max(_FRAME[1], text) + 2 * _MARGIN


def _draw_page(canvas: np.ndarray, page: Page, top: int, height: int) -> None:
    _rounded(canvas, _MARGIN, top, _WIDTH - _MARGIN, top + height, _CARD, _RIM)
    frame = _fitted(page.frame)
    x, y = 2 * _MARGIN, top + _MARGIN
    canvas[y:y + frame.shape[0], x:x + frame.shape[1]] = frame
    cv2.rectangle(canvas, (x - 1, y - 1), (x + frame.shape[1], y + frame.shape[0]), _RIM, 1)
    for line in wrapped(page.title, _TITLE, _TEXT_WIDTH):
        written(canvas, line, _TEXT_X, y + 18, _TITLE, GREY)
        y += _LINE
    for exchange in page.exchanges:
        y += _GAP
        y = _draw_exchange(canvas, exchange, y)


def _draw_exchange(canvas: np.ndarray, exchange: Exchange, y: int) -> int:
    """Draw a question with its answer; return where the next one can begin."""
    _tag(canvas, exchange.way, _TEXT_X, y)
    below = _LINE * len(wrapped(exchange.question, _QUESTION, _TEXT_WIDTH - _INDENT))
    _mark(canvas, exchange.right, _TEXT_X + _TAG_WIDTH - 12, y + below + 12)
    for line, scale, colour in _lines(exchange):
        written(canvas, line, _TEXT_X + _INDENT, y + 18, scale, colour)
        y += _LINE
    return y


def _lines(exchange: Exchange) -> list[tuple[str, float, Colour]]:
    """Break what is shown of a question into lines, with scale and colour."""
    parts = [
        (exchange.question, _QUESTION, INK),
        (exchange.answer or '(no answer)', _QUESTION, GREEN if exchange.right else RED),
        ('' if exchange.right else f'Right is: {exchange.expected}', 0.6, INK),
        (exchange.note, 0.48, GREY),
    ]
    return [
        (line, scale, colour)
        for text, scale, colour in parts if text
        for line in wrapped(text, scale, _TEXT_WIDTH - _INDENT)
    ]


def _tag(canvas: np.ndarray, way: str, x: int, y: int) -> None:
    _rounded(canvas, x, y - 1, x + _TAG_WIDTH, y + 24, _TAGS[way], _TAGS[way])
    inset = (_TAG_WIDTH - measured(way, 0.52)) // 2
    written(canvas, way, x + inset, y + 17, 0.52, _CARD)


def _mark(canvas: np.ndarray, right: bool, x: int, y: int) -> None:
    cv2.circle(canvas, (x, y), 12, GREEN if right else RED, -1, cv2.LINE_AA)
    for stroke in _TICK if right else _CROSS:
        cv2.polylines(canvas, [np.array(stroke) + (x, y)], False, _CARD, 2, cv2.LINE_AA)


def _rounded(
    canvas: np.ndarray, left: int, top: int, right: int, bottom: int, fill: Colour, rim: Colour
) -> None:
    """Draw a rectangle with round corners."""
    radius, bits = 8, 4
    angle = np.radians(np.arange(0, 360, 10))
    x = np.where(np.cos(angle) > 0, right - radius, left + radius) + radius * np.cos(angle)
    y = np.where(np.sin(angle) > 0, bottom - radius, top + radius) + radius * np.sin(angle)
    outline = np.round(np.stack([x, y], axis=1) * 2**bits).astype(np.int32)
    cv2.fillPoly(canvas, [outline], fill, cv2.LINE_AA, bits)
    cv2.polylines(canvas, [outline], True, rim, 1, cv2.LINE_AA, bits)


def _fitted(frame: np.ndarray) -> np.ndarray:
    """Scale a frame to the place that it has."""
    height, width = frame.shape[:2]
    scale = min(_FRAME[0] / width, _FRAME[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
