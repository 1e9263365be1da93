# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Pictures in files and messages, decoded.

An image is an array of shape (height, width, 3), dtype uint8, in RGB order.
"""

from __future__ import annotations

from http.client import HTTPException

import cv2
import numpy as np
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.image_formats import CONVERT, Facts, Format, format_of, HEAD
from vlm_npu_ros.engine.opencv import quiet, turned
from vlm_npu_ros.engine.sources import opened, shown, Source

MAX_PIXELS = 64_000_000
# Phones take up to 200 megapixels.
_MOST_PIXELS = 4 * MAX_PIXELS
_MOST_BYTES = 1 << 29
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def decode_image(
    data: bytes | np.ndarray,
    max_pixels: int = MAX_PIXELS,
    *,
    photograph: bool = False,
    any_depth: bool = False,
) -> np.ndarray:
    """
    Decode a picture file: JPEG, PNG, and what else this OpenCV reads.

    The header is looked at first (`image_formats`). 16-bit samples are reduced to 8 bits and grey
    becomes RGB; of an animation the first picture is taken. Bytes lost in the middle of a JPEG go
    unnoticed.

    :param data: the file's bytes (as an array: uint8).
    :param max_pixels: largest width x height of the result.
    :param photograph: show it as a viewer does: turned upright as its Exif tag says, white behind
        what is transparent, reduced if it is larger than `max_pixels`. Wrong for a camera on a
        robot, whose calibration refers to the sensor's own pixel grid.
    :param any_depth: keep samples of more than 8 bits as they are; not of a photograph.
    :return: a new (height, width, 3) array in RGB order; uint8 unless samples are kept.
    :raises ImageError: no picture, or truncated, damaged, too large or too slow to decode.
    """
    data = bytes(data)
    form = format_of(data)
    if form is None:
        begins = f"begins with '{data[:8].hex(' ')}'" if data else 'is empty'
        raise ImageError(f'The image {begins}: it has no known format', CONVERT)
    facts = form.read(data)
    pixels, most = facts.width * facts.height, _MOST_PIXELS if photograph else max_pixels
    if min(facts.width, facts.height) < 1:
        raise form.damaged(f'says that it is {facts.width}x{facts.height}')
    if pixels > most:
        raise ImageError(
            f'The {form.name} image says that it is {facts.width}x{facts.height}: up to {most} '
            'pixels are read', 'Reduce it')
    data = facts.data or data
    if not photograph:
        depth = cv2.IMREAD_ANYDEPTH if any_depth else 0
        return _rgb(form, facts, data, cv2.IMREAD_COLOR | depth)
    reduction = next((f for f in _REDUCED if pixels <= max_pixels * f * f), max(_REDUCED))
    rgb = _on_white(form, facts, data, reduction) if facts.transparent else None
    if rgb is None:
        rgb = _rgb(form, facts, data, _REDUCED[reduction])
    return _turned(rgb, facts.orientation)


def read_image(source: Source) -> np.ndarray:
    """Read a picture as `decode_image` does a photograph; raise ImageError with its name."""
    rgb = read_if_image(source)
    if rgb is None:
        raise ImageError(f'{shown(source)} is no picture', CONVERT)
    return rgb


def read_if_image(source: Source) -> np.ndarray | None:
    """
    Read a picture from a file or a web address, None if it is none.

    No more than the first bytes are read of what is no picture.
    """
    with opened(source) as file, quiet():
        try:
            head = file.read(HEAD)
            if not format_of(head):
                return None
            data = head + file.read(_MOST_BYTES + 1 - HEAD)
            if len(data) > _MOST_BYTES:
                raise ImageError(f'It has more than {_MOST_BYTES >> 20} MiB', 'Reduce it')
            return decode_image(data, photograph=True)
        except (OSError, HTTPException) as error:
            raise ImageError(f'{shown(source)} cannot be read: {error}') from error
        except ImageError as error:
            raise ImageError(f'{shown(source)}: {error.what}', error.remedy) from error


def _decoded(form: Format, data: bytes, flags: int) -> np.ndarray:
    """Return what OpenCV makes of it."""
    try:
        picture: np.ndarray | None = cv2.imdecode(
            np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except (cv2.error, MemoryError) as error:
        raise form.damaged(f'cannot be decoded: {str(error).strip()}') from error
    if picture is None:
        raise form.damaged(
            f'cannot be decoded: it is damaged, or not read by OpenCV {cv2.__version__}')
    return picture


def _rgb(form: Format, facts: Facts, data: bytes, flags: int) -> np.ndarray:
    bgr = _decoded(form, data, flags) if facts.ended else _open_ended(form, data, flags)
    return turned(bgr)


# More than one unit of pixels, and nothing that a decoder would make of no data.
_NOISE = b'\xa5\x5a\xc3' * 50
_JPEG_END, _PROGRESSIVE = b'\xff\xd9', b'\xff\xc2'


def _open_ended(form: Format, data: bytes, flags: int) -> np.ndarray:
    """Decode a JPEG without an end marker; raise ImageError if more is missing than that."""
    # Zeros fill a file whose end was never written, but the picture may end with one, too.
    data = data[:len(data.rstrip(b'\0')) + 1]
    data += b'\0' * data.endswith(b'\xff')
    try:
        bgr = _decoded(form, data + _JPEG_END, flags)
        # What is missing is left grey, or coarse in a progressive one.
        doubtful = _PROGRESSIVE in data or not np.ptp(bgr[-8:, -8:], axis=(0, 1)).any()
        # If all is there, nothing that follows changes it.
        if not doubtful or np.array_equal(bgr, _decoded(form, data + _NOISE + _JPEG_END, flags)):
            return bgr
    except ImageError as error:
        raise form.cut_short(data) from error
    raise form.cut_short(data)


def _on_white(form: Format, facts: Facts, data: bytes, reduction: int) -> np.ndarray | None:
    """Return an image with an alpha channel in front of white, None if it has none."""
    try:
        picture = _decoded(form, data, cv2.IMREAD_UNCHANGED)
    except ImageError:  # some have more channels than OpenCV takes as they are
        return None
    if picture.ndim != 3 or picture.shape[2] != 4 or picture.dtype not in (np.uint8, np.uint16):
        return None
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    if reduction > 1:
        size = (picture.shape[1] // reduction, picture.shape[0] // reduction)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    alpha = picture[:, :, 3:].astype(np.uint16)
    if facts.premultiplied:
        return np.minimum(picture[:, :, 2::-1] + (255 - alpha), 255).astype(np.uint8)
    rgb = picture[:, :, 2::-1] * alpha + (255 * (255 - alpha) + 127)
    return (rgb // 255).astype(np.uint8)


# Whether rows and columns are exchanged, and then the axes that are flipped.
_TURNS: dict[int, tuple[bool, tuple[int, ...]]] = {
    2: (False, (1,)), 3: (False, (0, 1)), 4: (False, (0,)),
    5: (True, ()), 6: (True, (1,)), 7: (True, (0, 1)), 8: (True, (0,)),
}


def _turned(rgb: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an image upright (Exif 2.3, 4.6.4, Orientation)."""
    if orientation == 1:
        return rgb
    exchanged, axes = _TURNS[orientation]
    return np.ascontiguousarray(np.flip(rgb.swapaxes(0, 1) if exchanged else rgb, axes))
