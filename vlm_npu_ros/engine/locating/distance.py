# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""How far away things are, and in which direction: from a depth picture and a calibration."""

from __future__ import annotations

from dataclasses import dataclass
import math

import cv2
import numpy as np
from vlm_npu_ros.engine.types import Corners

_WITHIN = 1.1  # ratio of the distances of one surface
_MOST, _SOME = 0.5, 0.3  # of the measured pixels are on it
_MEASURED = 0.05  # of the pixels at least
_AROUND = 2  # pixels around a point

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Lens:
    """
    A pinhole camera for pictures of one size, perhaps with distortion.

    focal, centre: of x and y, in pixels. distortion: as OpenCV has it; () = none.
    fisheye: the projection is the equidistant one, also where all of its coefficients are 0.
    """

    focal: tuple[float, float]
    centre: tuple[float, float]
    distortion: tuple[float, ...] = ()
    fisheye: bool = False

    def ray(self, x: float, y: float) -> Point:
        """
        Return the direction of a place in the picture, with z = 1: x right, y down, z ahead.

        x, y: from the left and upper edge of the first pixel, as places of `Placement`.
        """
        pixel = np.array([[[x - 0.5, y - 0.5]]])  # calibrations count from its middle
        (fx, fy), (cx, cy) = self.focal, self.centre
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)
        if self.fisheye:
            distortion = np.array((*self.distortion, 0.0, 0.0, 0.0, 0.0)[:4])
            across, down = cv2.fisheye.undistortPoints(pixel, matrix, distortion)[0, 0]
        elif not any(self.distortion):
            across, down = (pixel[0, 0] - (cx, cy)) / (fx, fy)
        else:
            across, down = cv2.undistortPoints(pixel, matrix, np.array(self.distortion))[0, 0]
        return float(across), float(down), 1.0


def unit(ray: Point) -> Point:
    """Scale a direction to a length of 1."""
    length = math.hypot(*ray)
    return ray[0] / length, ray[1] / length, ray[2] / length


def distance(depth: np.ndarray, corners: Corners) -> float | None:
    """
    Measure how far ahead the thing in a box is, in the unit of the depth picture; None = unknown.

    The middle of the box counts, all of it where that has holes. Where the depths disagree, the
    nearest surface counts that a good part of them is on: what is behind shows through a chair.

    depth: (height, width); 0, what is not finite and what is below 0 are holes.
    corners: of the box, in pixels of the depth picture.
    """
    left, top, right, bottom = corners
    across, down = (right - left) / 4, (bottom - top) / 4
    for box in ((left + across, top + down, right - across, bottom - down), corners):
        values = _measured(depth, box)
        if values is not None:
            return _surface(values)
    return None


def _measured(depth: np.ndarray, corners: Corners) -> np.ndarray | None:
    """Return the depths in a box in ascending order; None if there are too few."""
    height, width = depth.shape
    x, y = (corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2
    left, top = min(corners[0], x - _AROUND), min(corners[1], y - _AROUND)
    right, bottom = max(corners[2], x + _AROUND), max(corners[3], y + _AROUND)
    part = depth[
        max(math.floor(top), 0):min(math.ceil(bottom), height),
        max(math.floor(left), 0):min(math.ceil(right), width),
    ]
    values = part[np.isfinite(part) & (part > 0)]
    return np.sort(values) if values.size > _MEASURED * part.size else None


def _surface(values: np.ndarray) -> float | None:
    """Choose the surface that a thing is; values: in ascending order."""
    middle = float(np.median(values))
    close = (values > middle / _WITHIN) & (values < middle * _WITHIN)
    if close.mean() >= _MOST:
        return middle
    count = math.ceil(_SOME * values.size)
    agree = values[count - 1:] <= values[:values.size - count + 1] * _WITHIN
    if not agree.any():
        return None
    nearest = values[int(agree.argmax())]
    return float(np.median(values[(values >= nearest) & (values <= nearest * _WITHIN)]))
