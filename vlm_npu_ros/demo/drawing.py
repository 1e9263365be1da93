"""Pictures of what was asked about frames: each frame beside the questions and answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Colour = tuple[int, int, int]  # RGB

INK = (28, 32, 38)
GREY = (112, 120, 130)
GREEN = (34, 150, 83)
RED = (205, 52, 48)
AMBER = (190, 120, 10)
BLUE = (52, 101, 175)
PURPLE = (128, 74, 166)
_PAPER = (240, 242, 245)
_CARD = (255, 255, 255)
_RIM = (214, 218, 224)

_FONT = cv2.FONT_HERSHEY_DUPLEX
_WIDTH = 1640
_MARGIN = 28
_FRAME = (600, 450)
_TEXT_X = _MARGIN * 3 + _FRAME[0]
_TAG_WIDTH = 84
_INDENT = _TAG_WIDTH + 16
_QUESTION = 0.66  # scale of the font
_LINE = 27  # pixels from one line of text to the next
_GAP = 16  # between questions
_MARKS = {  # strokes in a disc
    'tick': (GREEN, [[(-6, 0), (-2, 5), (6, -5)]]),
    'cross': (RED, [[(-5, -5), (5, 5)], [(-5, 5), (5, -5)]]),
    'bang': (AMBER, [[(0, -7), (0, 2)], [(0, 6), (0, 7)]]),
}


@dataclass(frozen=True)
class Entry:
    """
    A question with its answer, in this colour.

    tag: a word in a box of tag_colour. mark: tick, cross, bang, or '' for none.
    aside: below the answer, '' for none. note: the same, small and grey.
    """

    tag: str
    tag_colour: Colour
    question: str
    answer: str
    colour: Colour
    mark: str
    aside: str
    note: str


@dataclass(frozen=True)
class Card:
    """A frame (height, width, 3), uint8, RGB, or None; a title; what was said about it."""

    frame: np.ndarray | None
    title: str
    entries: tuple[Entry, ...]


def draw(title: str, subtitle: str, cards: Sequence[Card]) -> np.ndarray:
    """Return the picture of all cards: (height, width, 3), uint8, RGB."""
    heights = [_height(card) for card in cards]
    top = 112
    canvas = np.full((top + sum(h + _MARGIN for h in heights), _WIDTH, 3), _PAPER, np.uint8)
    _text(canvas, title, _MARGIN, 52, 1.1, INK)
    _text(canvas, subtitle, _MARGIN, 90, 0.62, GREY)
    for card, height in zip(cards, heights, strict=True):
        _draw_card(canvas, card, top, height)
        top += height + _MARGIN
    return canvas


def png(rgb: np.ndarray) -> bytes:
    """Return the picture as a PNG file."""
    return cv2.imencode('.png', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def _height(card: Card) -> int:
    width = _WIDTH - _left(card) - 2 * _MARGIN
    text = _LINE * len(_wrapped(card.title, 0.62, width)) + _GAP
    text += sum(_entry_height(entry, width) + _GAP for entry in card.entries)
    return max(_FRAME[1] if card.frame is not None else 0, text) + 2 * _MARGIN


def _left(card: Card) -> int:
    """Return where the text begins."""
    return 2 * _MARGIN if card.frame is None else _TEXT_X


def _draw_card(canvas: np.ndarray, card: Card, top: int, height: int) -> None:
    _rounded(canvas, _MARGIN, top, _WIDTH - _MARGIN, top + height, _CARD, _RIM)
    if card.frame is not None:
        frame = _fitted(card.frame)
        x, y = 2 * _MARGIN, top + _MARGIN
        canvas[y:y + frame.shape[0], x:x + frame.shape[1]] = frame
        corners = (x - 1, y - 1), (x + frame.shape[1], y + frame.shape[0])
        cv2.rectangle(canvas, *corners, _RIM, 1)
    x, y = _left(card), top + _MARGIN
    width = _WIDTH - x - 2 * _MARGIN
    for line in _wrapped(card.title, 0.62, width):
        _text(canvas, line, x, y + 18, 0.62, GREY)
        y += _LINE
    y += _GAP
    for entry in card.entries:
        _draw_entry(canvas, entry, x, y, width)
        y += _entry_height(entry, width) + _GAP


def _draw_entry(canvas: np.ndarray, entry: Entry, x: int, y: int, width: int) -> None:
    _tag(canvas, entry.tag, entry.tag_colour, x, y)
    if entry.mark:
        below = _LINE * len(_wrapped(entry.question, _QUESTION, width - _INDENT))
        _mark(canvas, entry.mark, x + _TAG_WIDTH - 12, y + below + 12)
    for line, scale, colour in _lines(entry, width):
        _text(canvas, line, x + _INDENT, y + 18, scale, colour)
        y += _LINE


def _entry_height(entry: Entry, width: int) -> int:
    return _LINE * len(_lines(entry, width))


def _lines(entry: Entry, width: int) -> list[tuple[str, float, Colour]]:
    """Return the lines of an entry, with scale and colour."""
    parts = [
        (entry.question, _QUESTION, INK),
        (entry.answer or '(no answer)', _QUESTION, entry.colour),
        (entry.aside, 0.6, INK),
        (entry.note, 0.48, GREY),
    ]
    return [
        (line, scale, colour)
        for text, scale, colour in parts if text
        for line in _wrapped(text, scale, width - _INDENT)
    ]


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
    canvas: np.ndarray, text: str, x: int, baseline: int, scale: float, colour: Colour
) -> None:
    cv2.putText(canvas, _ascii(text), (x, baseline), _FONT, scale, colour, 1, cv2.LINE_AA)


def _tag(canvas: np.ndarray, word: str, colour: Colour, x: int, y: int) -> None:
    _rounded(canvas, x, y - 1, x + _TAG_WIDTH, y + 24, colour, colour)
    inset = (_TAG_WIDTH - _measured(word, 0.52)) // 2
    _text(canvas, word, x + inset, y + 17, 0.52, _CARD)


def _mark(canvas: np.ndarray, mark: str, x: int, y: int) -> None:
    colour, strokes = _MARKS[mark]
    cv2.circle(canvas, (x, y), 12, colour, -1, cv2.LINE_AA)
    for stroke in strokes:
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
    smaller = scale < 1
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
