"""
Images for the vision encoder: decode a file, fit it into a square.

An image is an array of shape (height, width, 3), dtype uint8, in RGB order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
import re
import struct
from typing import NamedTuple

import cv2
import numpy as np
from vlm_npu_ros.engine.errors import ImageError

PADDING = 128
MAX_PIXELS = 64_000_000
# A scan of a JPEG covers all of its pixels in as little as a hundred bytes; encoders write ten.
_MOST_SCANS = 100


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
    if rgb.strides[2] > 0:
        return cv2.resize(rgb, size, dst=out, interpolation=interpolation)
    bgr = cv2.resize(rgb[:, :, ::-1], size, interpolation=interpolation)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=out)


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


def decode_image(
    data: bytes | np.ndarray, max_pixels: int = MAX_PIXELS, *, apply_orientation: bool = False
) -> np.ndarray:
    """
    Decode a JPEG or PNG file.

    The sizes in the file are checked first, so that a few bytes that would unpack to gigabytes, or
    take minutes, are rejected before anything is unpacked. 16-bit samples are reduced to 8 bits,
    grey becomes RGB, an alpha channel is dropped. Bytes lost in the middle of a JPEG go unnoticed.

    :param data: the file's bytes (as an array: uint8).
    :param max_pixels: largest width x height to decode.
    :param apply_orientation: rotate the image as its EXIF tag says. Right for a photograph; wrong
        for a camera on a robot, whose calibration refers to the sensor's own pixel grid.
    :return: a new (height, width, 3) uint8 array in RGB order.
    :raises ImageError: not JPEG or PNG, truncated, damaged, too large or too slow to decode.
    """
    data = bytes(data)
    form = next((form for form in _FORMS if data.startswith(form.signature)), None)
    if form is None:
        raise ImageError(f'The image is neither JPEG nor PNG: its {len(data)} bytes begin with '
                         f"'{data[:8].hex(' ')}'.")
    width, height, header_end = form.read_size(data)
    if not 0 < width * height <= max_pixels:
        raise ImageError(
            f'The {form.name} image says that it is {width}x{height}: '
            f'1 to {max_pixels} pixels are accepted.')
    form.check(data, header_end)
    return _decode(data, form.name, apply_orientation)


def read_image(path: Path) -> np.ndarray:
    """Decode a photograph as `decode_image` does; raise ImageError with its path."""
    try:
        return decode_image(path.read_bytes(), apply_orientation=True)
    except OSError as error:
        raise ImageError(f'{path} cannot be read: {error.strerror}') from error
    except ImageError as error:
        raise ImageError(f'{path}: {error.what}', error.remedy) from error


class _Form(NamedTuple):
    """
    Signature and header of a file format.

    check: raises ImageError for a file that is truncated, or made to cost memory or time.
    """

    name: str
    signature: bytes
    read_size: Callable[[bytes], tuple[int, int, int]]
    check: Callable[[bytes, int], None]


def _margin(length: float, size: int) -> int:
    """Return the margin that centres `length` in `size`; at least a pixel of it remains."""
    return min(round((size - length) / 2), (size - 1) // 2)


def _png_size(data: bytes) -> tuple[int, int, int]:
    """Return width, height and the header's end (PNG specification, 11.2.2 IHDR)."""
    if len(data) < 33 or data[8:16] != b'\0\0\0\x0dIHDR':
        raise ImageError('The PNG image is cut short or damaged: it has no header chunk.')
    width, height = struct.unpack_from('>II', data, 16)
    return width, height, 33


def _check_png(data: bytes, position: int) -> None:
    """
    Raise ImageError unless all chunks are complete (PNG specification, 5.3 and 5.6).

    OpenCV (4.12) allocates the length that a chunk claims before it reads it, searches for image
    data beyond the end, and crashes on damaged animations.
    """
    name, found = b'', set()
    while name != b'IEND' and position + 12 <= len(data):
        length, name = struct.unpack_from('>I4s', data, position)
        position += 12 + length
        found.add(name)
    if name != b'IEND' or position > len(data):
        raise _cut_short('PNG', data)
    if b'IDAT' not in found:
        raise ImageError('The PNG image is damaged: it holds no picture.')
    if b'acTL' in found:
        raise ImageError('The PNG image is animated: only single pictures are decoded.')


# Start of frame: C0 to CF without C4 (DHT), C8 (JPG) and CC (DAC). ITU-T T.81, table B.1.
_FRAME_MARKERS = frozenset(range(0xc0, 0xd0)) - {0xc4, 0xc8, 0xcc}
# TEM, RST0 to RST7 and SOI have no length field.
_BARE_MARKERS = frozenset([0x01, *range(0xd0, 0xd9)])
# Any number of fill bytes (0xff) may precede a marker; the last one counts.
_MARKER = re.compile(rb'\xff([\x01-\xfe])', re.DOTALL)
_SCAN, _END = b'\xff\xda', b'\xff\xd9'


def jpeg_size(data: bytes) -> tuple[int, int, int]:
    """Return width, height and the frame header's position (ITU-T T.81, B.2.2)."""
    position = 2
    while match := _MARKER.search(data, position):
        marker, position = match[1][0], match.end()
        if marker in _BARE_MARKERS:
            continue
        segment = data[position:position + 7]
        if len(segment) < 7:
            break
        length, _, height, width = struct.unpack('>HBHH', segment)
        if marker in _FRAME_MARKERS:
            return width, height, position
        position += length
    raise ImageError('The JPEG image is cut short or damaged: it has no frame header.')


def _check_jpeg(data: bytes, position: int) -> None:
    if data.rfind(_END, position) < 0:
        raise _cut_short('JPEG', data)
    scans = data.count(_SCAN, position)
    if scans > _MOST_SCANS:
        raise ImageError(f'The JPEG image has {scans} scans: up to {_MOST_SCANS} are decoded.')


def _cut_short(name: str, data: bytes) -> ImageError:
    return ImageError(f'The {name} image is cut short after {len(data)} bytes.')


_FORMS = (
    _Form('JPEG', b'\xff\xd8\xff', jpeg_size, _check_jpeg),
    _Form('PNG', b'\x89PNG\r\n\x1a\n', _png_size, _check_png),
)


def _decode(data: bytes, name: str, apply_orientation: bool) -> np.ndarray:
    flags = cv2.IMREAD_COLOR | (0 if apply_orientation else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if bgr is None:
            raise ImageError(f'The {name} image is damaged: it cannot be decoded.')
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    except (cv2.error, MemoryError) as error:
        raise ImageError(f'The {name} image cannot be decoded: {str(error).strip()}') from error
