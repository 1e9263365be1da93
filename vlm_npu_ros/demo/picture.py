"""The demo's picture: each scene as the camera saw it, beside the questions and answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_Colour = tuple[int, int, int]  # RGB

_PAPER = (240, 242, 245)
_CARD = (255, 255, 255)
_RIM = (214, 218, 224)
_INK = (28, 32, 38)
_GREY = (112, 120, 130)
_GREEN = (34, 150, 83)
_RED = (205, 52, 48)
_TAGS = {'service': (52, 101, 175), 'action': (128, 74, 166)}

_FONT = cv2.FONT_HERSHEY_DUPLEX
_WIDTH = 1640
_MARGIN = 28
_FRAME = (600, 450)
_TEXT_X = _MARGIN * 3 + _FRAME[0]
_TAG_WIDTH = 84
_LINE = 27  # pixels from one line of text to the next
_GAP = 16  # between questions


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
    heights = [_height(page) for page in pages]
    top = 112
    canvas = np.full((top + sum(h + _MARGIN for h in heights), _WIDTH, 3), _PAPER, np.uint8)
    _text(canvas, title, _MARGIN, 52, 1.1, _INK)
    _text(canvas, subtitle, _MARGIN, 90, 0.62, _GREY)
    for page, height in zip(pages, heights, strict=True):
        _page(canvas, page, top, height)
        top += height + _MARGIN
    return canvas


def png(rgb: np.ndarray) -> bytes:
    """Return the picture as a PNG file."""
    return cv2.imencode('.png', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def _height(page: Page) -> int:
    text = _heading_height(page) + sum(_exchange_height(e) + _GAP for e in page.exchanges)
    return max(_FRAME[1], text) + 2 * _MARGIN


def _page(canvas: np.ndarray, page: Page, top: int, height: int) -> None:
    _card(canvas, _MARGIN, top, _WIDTH - _MARGIN, top + height, _CARD, _RIM)
    frame = _fitted(page.frame)
    x, y = 2 * _MARGIN, top + _MARGIN
    canvas[y:y + frame.shape[0], x:x + frame.shape[1]] = frame
    corners = (x - 1, y - 1), (x + frame.shape[1], y + frame.shape[0])
    cv2.rectangle(canvas, *corners, _RIM, 1)
    y = top + _MARGIN
    for line in _wrapped(page.title, 0.62, _text_width()):
        _text(canvas, line, _TEXT_X, y + 18, 0.62, _GREY)
        y += _LINE
    y += _GAP
    for exchange in page.exchanges:
        _exchange(canvas, exchange, y)
        y += _exchange_height(exchange) + _GAP


def _exchange(canvas: np.ndarray, exchange: Exchange, y: int) -> None:
    _tag(canvas, exchange.way, _TEXT_X, y)
    x = _TEXT_X + _TAG_WIDTH + 16
    for line in _question(exchange):
        _text(canvas, line, x, y + 18, 0.66, _INK)
        y += _LINE
    _mark(canvas, exchange.right, _TEXT_X + _TAG_WIDTH - 12, y + 12)
    for line in _answer(exchange):
        _text(canvas, line, x, y + 18, 0.66, _GREEN if exchange.right else _RED)
        y += _LINE
    for line in _truth(exchange):
        _text(canvas, line, x, y + 18, 0.6, _INK)
        y += _LINE
    _text(canvas, exchange.note, x, y + 16, 0.48, _GREY)


def _exchange_height(exchange: Exchange) -> int:
    return _LINE * (len(_question(exchange)) + len(_answer(exchange)) + len(_truth(exchange)) + 1)


def _heading_height(page: Page) -> int:
    return _LINE * len(_wrapped(page.title, 0.62, _text_width())) + _GAP


def _text_width() -> int:
    return _WIDTH - _TEXT_X - 2 * _MARGIN


def _column() -> int:
    return _text_width() - _TAG_WIDTH - 16


def _question(exchange: Exchange) -> list[str]:
    return _wrapped(exchange.question, 0.66, _column())


def _answer(exchange: Exchange) -> list[str]:
    return _wrapped(exchange.answer or '(no answer)', 0.66, _column())


def _truth(exchange: Exchange) -> list[str]:
    return [] if exchange.right else _wrapped(f'Right is: {exchange.expected}', 0.6, _column())


def _wrapped(text: str, scale: float, width: int) -> list[str]:
    """Break a text into lines of at most this width; a word that is too long is cut."""
    lines = ['']
    for word in _ascii(text).split():
        longer = f'{lines[-1]} {word}'.strip()
        if not lines[-1] or _measured(longer, scale) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
        while _measured(lines[-1], scale) > width:
            lines[-1] = lines[-1][:-4] + '...'
    return lines


def _ascii(text: str) -> str:
    """Replace the characters that OpenCV's fonts lack."""
    return text.encode('ascii', 'replace').decode()


def _measured(text: str, scale: float) -> int:
    return cv2.getTextSize(text, _FONT, scale, 1)[0][0]


def _text(
    canvas: np.ndarray, text: str, x: int, baseline: int, scale: float, colour: _Colour
) -> None:
    cv2.putText(canvas, _ascii(text), (x, baseline), _FONT, scale, colour, 1, cv2.LINE_AA)


def _tag(canvas: np.ndarray, way: str, x: int, y: int) -> None:
    colour = _TAGS[way]
    _card(canvas, x, y - 1, x + _TAG_WIDTH, y + 24, colour, colour)
    inset = (_TAG_WIDTH - _measured(way, 0.52)) // 2
    _text(canvas, way, x + inset, y + 17, 0.52, _CARD)


def _mark(canvas: np.ndarray, right: bool, x: int, y: int) -> None:
    """Draw a tick or a cross in a disc."""
    cv2.circle(canvas, (x, y), 12, _GREEN if right else _RED, -1, cv2.LINE_AA)
    tick = [[(-6, 0), (-2, 5), (6, -5)]]
    cross = [[(-5, -5), (5, 5)], [(-5, 5), (5, -5)]]
    strokes = [np.array(stroke) + (x, y) for stroke in (tick if right else cross)]
    for stroke in strokes:
        cv2.polylines(canvas, [stroke], False, _CARD, 2, cv2.LINE_AA)


def _card(
    canvas: np.ndarray, left: int, top: int, right: int, bottom: int, fill: _Colour, rim: _Colour
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
    smaller = scale < 1
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
