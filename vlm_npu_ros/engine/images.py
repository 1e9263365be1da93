# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Images for the vision encoder: fitted into a square, reduced, normalised.

An image is an array of shape (height, width, 3), dtype uint8, in RGB order.
"""

from __future__ import annotations

from collections.abc import Sequence
import math

import cv2
import numpy as np
from vlm_npu_ros.engine.errors import ImageError

PADDING = 128
_TURNS = {
    90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


def padding(width: int, height: int) -> tuple[int, int, int]:
    """Return the side of the square that `letterbox` makes of an image; padding left and above."""
    side = max(width, height)
    return side, (side - width) // 2, (side - height) // 2


def letterbox(rgb: np.ndarray, size: int) -> np.ndarray:
    """
    Fit an image into a square, keeping its proportions, with grey around it.

    The pixels are those of Rockchip's demo, within 1: it pads the image to a square first (with
    127.5, which is 128 in 8 bits, `cv::saturate_cast`) and then resizes that. Most of that work is
    for pixels that are not needed. Where whole pixels of the square begin with whole pixels of the
    image, that part is resized as it is; the rest line by line.

    :param rgb: (height, width, 3) uint8; may be read-only or have gaps between its rows.
    :param size: side of the square in pixels, as the encoder takes it.
    :return: a new C-contiguous (size, size, 3) uint8 array.
    :raises ImageError: the array is empty or not (height, width, 3) uint8.
    """
    check_pixels(rgb)
    height, width = rgb.shape[:2]
    side, *before_each = padding(width, height)
    axis = 0 if width > height else 1  # along which it is padded
    length, before = min(height, width), before_each[1 - axis]
    square = np.full((size, size, 3), PADDING, np.uint8)
    # Lines of the square that see the image. So many pixels of it are a whole number of lines.
    begin, stop = (max(-(-(edge * size - side) // (2 * side)), 0) for edge in (
        2 * before - 1, 2 * (before + length) + 1))
    stop, unit = min(stop, size), side // math.gcd(side, size)
    first, last = -(-before // unit), (before + length) // unit
    start, end = (units * unit * size // side for units in (first, last))
    beyond = max(-(-(size - side) // (2 * side)), 0)  # lines of an enlarged part that see others
    if start + beyond < end - beyond:
        inner = square[_lines(axis, start, end)]
        part = rgb[_lines(axis, first * unit - before, last * unit - before)]
        resize(part, (inner.shape[1], inner.shape[0]), cv2.INTER_LINEAR, inner)
        edges = [(begin, start + beyond), (end - beyond, stop)]
    else:
        edges = [(begin, stop)]
    for one, other in edges:
        if one < other:
            square[_lines(axis, one, other)] = _blended(rgb, size, axis, np.arange(one, other))
    return square


def _lines(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    """Return the index of rows (axis 0) or columns (axis 1)."""
    return (slice(None),) * axis + (slice(start, stop),)


def _blended(rgb: np.ndarray, size: int, axis: int, lines: np.ndarray) -> np.ndarray:
    """Compute rows or columns of a letterboxed image, each from the nearest two of the image."""
    length = rgb.shape[axis]
    side, *padding_each = padding(rgb.shape[1], rgb.shape[0])
    at = np.clip((lines + 0.5) * side / size - 0.5, 0, side - 1)
    before, above = np.floor(at).astype(int), padding_each[1 - axis]
    after = np.minimum(before + 1, side - 1)
    low, high = max(before[0] - above, 0), min(after[-1] + 1 - above, length)
    shape = (high - low, size) if axis else (size, high - low)
    part = resize(rgb[_lines(axis, low, high)], shape, cv2.INTER_LINEAR)
    near = []
    for index in (before - above, after - above):
        pixels = part.take(np.clip(index - low, 0, high - low - 1), axis)
        pixels[(slice(None),) * axis + ((index < 0) | (index >= length),)] = PADDING
        near.append(pixels.astype(np.float32))
    weight = (at - before).astype(np.float32).reshape((1, -1, 1) if axis else (-1, 1, 1))
    return np.rint(near[0] + (near[1] - near[0]) * weight).astype(np.uint8)


def resize(
    rgb: np.ndarray, size: tuple[int, int], interpolation: int, out: np.ndarray | None = None
) -> np.ndarray:
    """
    Resize as cv2.resize does, but fast for an RGB view of a BGR image.

    OpenCV would copy such a view first. Here its channels are reordered after resizing, when there
    are fewer pixels.

    :param rgb: (height, width, 3) uint8, or such a view: `bgr[:, :, ::-1]`.
    :param size: width and height.
    :param out: array to write the result to, (height, width, 3) uint8.
    :return: the result, (height, width, 3) uint8.
    """
    if rgb.shape[:2] == (1, 1):  # which OpenCV 4.5 does not take
        rgb = np.repeat(rgb, 2, axis=0)
    if rgb.strides[2] > 0:
        return cv2.resize(rgb, size, dst=out, interpolation=interpolation)
    bgr = cv2.resize(rgb[:, :, ::-1], size, interpolation=interpolation)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=out)


def turn(rgb: np.ndarray, degrees: int) -> np.ndarray:
    """
    Turn an image clockwise by 0, 90, 180 or 270 degrees.

    rgb: (height, width, 3) uint8, or such a view as `resize` takes: it stays one.
    """
    if not degrees:
        return rgb
    if rgb.strides[2] < 0:
        return turn(rgb[:, :, ::-1], degrees)[:, :, ::-1]
    return cv2.rotate(rgb, _TURNS[degrees])


def normalise(rgb: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """
    Normalise pixels for a graph that does not do it itself: (rgb / 255 - mean) / std.

    :param rgb: (height, width, 3) uint8.
    :param mean: of red, green and blue, scaled to 0..1.
    :param std: likewise, greater than 0.
    :return: a new C-contiguous (height, width, 3) float32 array.
    """
    offset = -np.divide(mean, std)
    # One pass applies factor and offset of each channel; numpy is slow if the last axis is short.
    matrix = np.column_stack([np.diag(np.divide(1 / 255, std)), offset])
    return cv2.transform(rgb.astype(np.float32), matrix)


def shrink(rgb: np.ndarray, size: int) -> np.ndarray:
    """
    Reduce an image so that its longer side has at most `size` pixels; never enlarge it.

    rgb: (height, width, 3) uint8. Raises ImageError for anything else, and for an empty image.
    """
    check_pixels(rgb)
    height, width = rgb.shape[:2]
    inner = shrunk(width, height, size)
    return rgb if inner == (width, height) else resize(rgb, inner, cv2.INTER_AREA)


def shrunk(width: int, height: int, size: int) -> tuple[int, int]:
    """Return width and height of what `shrink` makes of a picture."""
    scale = size / max(height, width)
    if scale >= 1:
        return width, height
    return max(round(width * scale), 1), max(round(height * scale), 1)


def check_pixels(rgb: np.ndarray) -> None:
    """Raise ImageError unless this is a picture, (height, width, 3) uint8."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ImageError(
            f'An image must be height x width x 3 of uint8, not {rgb.shape} of {rgb.dtype}.')
    if rgb.size == 0:
        raise ImageError(f'The image has no pixels: its shape is {rgb.shape}.')
