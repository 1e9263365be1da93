# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Which part of a picture a model sees, and where its places lie in the picture.

A picture is cut out, turned and fitted into a square, in this order:

    rgb = turn(box.cut(picture), degrees)
    square = letterbox(rgb, size)

`Placement` converts between places in that square and in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np
from vlm_npu_ros.engine.errors import RequestError
from vlm_npu_ros.engine.images import padding


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels, at least one, within a picture."""

    x: int
    y: int
    width: int
    height: int

    def cut(self, rgb: np.ndarray) -> np.ndarray:
        """Return this part of a picture, as a view of it."""
        return rgb[self.y:self.y + self.height, self.x:self.x + self.width]


@dataclass(frozen=True)
class Region:
    """
    The part of a picture to look at, in pixels, or with `relative` in fractions of its sides.

    It is told in the picture as it comes from the camera, not as it is turned for the model.
    """

    x: float
    y: float
    width: float
    height: float
    relative: bool = False

    def box(self, width: int, height: int) -> Box:
        """
        Return its pixels in a picture of this size; what reaches beyond an edge is left out.

        Raises RequestError if nothing is left.
        """
        across, down = (width, height) if self.relative else (1, 1)
        left, top = math.floor(self.x * across), math.floor(self.y * down)
        right = min(math.ceil((self.x + self.width) * across), width)
        bottom = min(math.ceil((self.y + self.height) * down), height)
        if not (0 <= left < right and 0 <= top < bottom):
            raise RequestError(
                f'The region {self.width:g}x{self.height:g} at {self.x:g}, {self.y:g} is not '
                f'within the picture of {width}x{height} pixels'
            )
        return Box(left, top, right - left, bottom - top)


@dataclass(frozen=True)
class Placement:
    """
    How a picture came to the model: the part that was cut out, turned clockwise by `degrees`.

    Places are (x, y): in the picture in pixels, from the left and upper edge of its first pixel,
    so that the middle of that is (0.5, 0.5); for the model in fractions of what it sees, 0 to 1
    from edge to edge. `padded`: it sees a letterboxed square, not the part itself.

    >>> placed = Placement(Box(0, 0, 640, 480))
    >>> placed.to_picture(0.5, 0.5)
    (320.0, 240.0)
    >>> placed.to_model(0, 0)
    (0.0, 0.125)
    """

    box: Box
    degrees: int = 0
    padded: bool = True

    def to_picture(self, u: float, v: float) -> tuple[float, float]:
        """Convert a place that the model names; one in the padding is outside of the box."""
        across, down, left, top = self._frame
        x, y = u * across - left, v * down - top
        width, height = self.box.width, self.box.height
        x, y = {
            0: (x, y), 90: (y, height - x), 180: (width - x, height - y), 270: (width - y, x),
        }[self.degrees]
        return self.box.x + x, self.box.y + y

    def to_model(self, x: float, y: float) -> tuple[float, float]:
        """Convert a place in the picture; one outside of the box may be out of 0 to 1."""
        x, y = x - self.box.x, y - self.box.y
        width, height = self.box.width, self.box.height
        x, y = {
            0: (x, y), 90: (height - y, x), 180: (width - x, height - y), 270: (y, width - x),
        }[self.degrees]
        across, down, left, top = self._frame
        return (x + left) / across, (y + top) / down

    @property
    def seen(self) -> tuple[int, int]:
        """Width and height in pixels of the part, as it is turned."""
        width, height = self.box.width, self.box.height
        return (height, width) if self.degrees % 180 else (width, height)

    @property
    def _frame(self) -> tuple[int, int, int, int]:
        """Width and height of what the model sees, and the padding on the left and above."""
        width, height = self.seen
        if not self.padded:
            return width, height, 0, 0
        side, left, top = padding(width, height)
        return side, side, left, top
