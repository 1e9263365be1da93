"""
Images for the vision encoder: fitted into a square, reduced, normalised.

An image is an array of shape (height, width, 3), dtype uint8, in RGB order.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from vlm_npu_ros.engine.errors import ImageError

PADDING = 128
_TURNS = {
    90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


def letterbox(rgb: np.ndarray, size: int) -> np.ndarray:
    """
    Fit an image into a square, keeping its proportions, with grey around it.

    Rockchip's demo pads the image to a square first and then resizes it; here the image is resized
    first, which touches far fewer pixels. The margins are whole pixels, so the edges of the image
    are not blended with the padding. They lie within half a pixel of those of the demo, plus half
    a source pixel where an odd difference of sides puts the demo off centre. The demo's padding of
    127.5 is 128 in 8 bits (`cv::saturate_cast`).

    :param rgb: (height, width, 3) uint8; may be read-only or have gaps between its rows.
    :param size: side of the square in pixels, as the encoder takes it.
    :return: a new C-contiguous (size, size, 3) uint8 array.
    :raises ImageError: the array is empty or not (height, width, 3) uint8.
    """
    _check_pixels(rgb)
    height, width = rgb.shape[:2]
    scale = size / max(height, width)
    top, left = _margin(height * scale, size), _margin(width * scale, size)
    inner = (size - 2 * left, size - 2 * top)
    square = np.full((size, size, 3), PADDING, np.uint8)
    resize(rgb, inner, cv2.INTER_LINEAR, square[top:size - top, left:size - left])
    return square


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
    _check_pixels(rgb)
    height, width = rgb.shape[:2]
    scale = size / max(height, width)
    if scale >= 1:
        return rgb
    inner = (max(round(width * scale), 1), max(round(height * scale), 1))
    return resize(rgb, inner, cv2.INTER_AREA)


def _check_pixels(rgb: np.ndarray) -> None:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ImageError(
            f'An image must be height x width x 3 of uint8, not {rgb.shape} of {rgb.dtype}.')
    if rgb.size == 0:
        raise ImageError(f'The image has no pixels: its shape is {rgb.shape}.')


def _margin(length: float, size: int) -> int:
    """Return the margin that centres `length` in `size`; at least a pixel of it remains."""
    return min(round((size - length) / 2), (size - 1) // 2)
