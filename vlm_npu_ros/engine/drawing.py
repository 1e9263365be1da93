# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Draws what is said about a picture into it: boxes, their labels, and lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import itertools

import cv2
import numpy as np
from vlm_npu_ros.engine.opencv import drawable

FONT = cv2.FONT_HERSHEY_DUPLEX
_YELLOW, _BLACK, _WHITE = (255, 213, 0), (0, 0, 0), (255, 255, 255)
_SIDES_OF_SCALE_1 = 1000  # pixels of the shorter side of a picture with text at scale 1
_SMALLEST = 0.4  # scale that can be read
_MOST_LINES = 4
_LONGEST = 1000  # characters; more fit into no strip
_PAD = 3

Colour = tuple[int, int, int]  # RGB
Rectangle = tuple[int, int, int, int]  # left, top, width, height


@dataclass(frozen=True)
class Mark:
    """A place in a picture, in pixels; width and height 0 = a point."""

    label: str
    box: Rectangle


def annotated(
    rgb: np.ndarray, marks: Sequence[Mark], text: str, part: Rectangle | None = None
) -> np.ndarray:
    """
    Return a copy of a picture with marks in it, and a text on a strip at its lower edge.

    rgb: (height, width, 3) uint8. part: that was looked at; None = all. A label that has no room
    is left out.
    """
    canvas = np.ascontiguousarray(rgb).copy()
    height, width = canvas.shape[:2]
    scale = max(min(height, width) / _SIDES_OF_SCALE_1, _SMALLEST)
    thick = 2 * round(1.5 * scale) + 1
    if part:
        _outlined(canvas, part, _WHITE, thick)
    for mark in marks:
        if any(mark.box[2:]):
            _outlined(canvas, mark.box, _YELLOW, thick)
        else:
            size = max(round(24 * scale), 7)
            cv2.drawMarker(canvas, mark.box[:2], _BLACK, thickness=thick + 2, markerSize=size)
            cv2.drawMarker(canvas, mark.box[:2], _YELLOW, thickness=thick, markerSize=size)
    floor = _strip(canvas, text, scale)
    taken: list[Rectangle] = []
    for mark in marks:  # after all boxes, so that none runs through a label
        _label(canvas, mark, scale, floor, taken)
    return canvas


def measured(text: str, scale: float) -> int:
    """Return the width of a line of text in pixels."""
    return int(cv2.getTextSize(drawable(text), FONT, scale, _stroke(scale))[0][0])


def wrapped(text: str, scale: float, width: int, most: int | None = None) -> list[str]:
    """Break a text into lines of at most this width, and of this number: the last has dots."""
    lines = list(itertools.islice(_lines(text, scale, width), most and most + 1))
    if most and len(lines) > most:
        last = lines[most - 1]
        while last and measured(f'{last}...', scale) > width:
            last = last[:-1]
        lines = [*lines[:most - 1], f'{last}...']
    return lines


def _lines(text: str, scale: float, width: int) -> Iterator[str]:
    line = ''
    for word in drawable(text).split():
        longer = f'{line} {word}'.strip()
        if measured(longer, scale) <= width:
            line = longer
            continue
        if line:
            yield line
        line = ''
        for letter in word:
            if line and measured(line + letter, scale) > width:
                yield line
                line = ''
            line += letter
    yield line


def written(
    canvas: np.ndarray, text: str, left: int, baseline: int, scale: float, colour: Colour
) -> None:
    """Write a line of text into a picture."""
    where = left, baseline
    cv2.putText(
        canvas, drawable(text), where, FONT, scale, colour, _stroke(scale), cv2.LINE_AA)


def _stroke(scale: float) -> int:
    return max(round(1.2 * scale), 1)


def _outlined(canvas: np.ndarray, box: Rectangle, colour: Colour, thick: int) -> None:
    left, top, width, height = box
    corners = (left, top), (left + width - 1, top + height - 1)
    cv2.rectangle(canvas, *corners, _BLACK, thick + 2)
    cv2.rectangle(canvas, *corners, colour, thick)


def _line_height(scale: float) -> int:
    return int(cv2.getTextSize('Ag', FONT, scale, _stroke(scale))[0][1]) + 3 * _PAD


def _strip(canvas: np.ndarray, text: str, scale: float) -> int:
    """Write a text on the lower third of the picture at most; return where it begins."""
    height, width = canvas.shape[:2]
    step = _line_height(scale)
    most = max(min(_MOST_LINES, height // (3 * step)), 1)
    lines = wrapped(text[:_LONGEST], scale, width - 2 * _PAD, most)
    top = max(height - step * len(lines) - _PAD, 0)
    canvas[top:] //= 3
    for number, line in enumerate(lines, 1):
        written(canvas, line, _PAD, top + number * step - _PAD, scale, _WHITE)
    return top


def _label(
    canvas: np.ndarray, mark: Mark, scale: float, floor: int, taken: list[Rectangle]
) -> None:
    """Write a label above its box, within it or below, where none is taken; else nowhere."""
    width = canvas.shape[1]
    (text,) = wrapped(mark.label[:_LONGEST], scale, width - 2 * _PAD, 1)
    step, wide = _line_height(scale), measured(text, scale) + 2 * _PAD
    left, top, _, tall = mark.box
    left = max(min(left, width - wide), 0)
    for wanted in (top - step, top, top + tall - step, top + tall):
        y = max(min(wanted, floor - step), 0)
        place = left, y, wide, step
        if text and not any(_overlap(place, other) for other in taken):
            cv2.rectangle(canvas, (left, y), (left + wide - 1, y + step - 1), _YELLOW, -1)
            written(canvas, text, left + _PAD, y + step - 2 * _PAD, scale, _BLACK)
            taken.append(place)
            return


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    return all(
        one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2]
        for axis in (0, 1)
    )
