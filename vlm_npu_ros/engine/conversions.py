# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Camera messages to RGB arrays.

    rgb = to_rgb(msg)    # (height, width, 3) uint8; raises ImageError

All picture encodings of sensor_msgs are converted here, exactly; unknown ones are left to
cv_bridge. How the encodings are interpreted:

- 16-bit samples use their full range and are scaled by 255/65535, as cv_bridge does, unless a
  range is given: cameras of 12 or 14 bits fill only a part of it, thermal ones a small part.
- YUV is ITU-R BT.601 with limited range (luma 16 to 235), as in OpenCV.
- `8UC1`, `8UC3`, `8UC4`, `16UC3` and `16UC4` name a memory layout, not colours. cv_bridge gives
  these names to OpenCV arrays published without an encoding, so they are read as grey, BGR, BGRA.
- `16UC1`, `32FC1` and their like are measurements, such as depth images (REP 118), and rejected
  unless a range is given: a distance is not a brightness.
- `nv12` is not in sensor_msgs, but cameras send it. Decoders and ISPs align the rows of its
  planes, which only the size of the data tells.
- Some drivers send the JPEG of a camera in an Image: it is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
import functools
from typing import Any, Protocol, Union

import cv2
import numpy as np
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.image_files import decode_image
from vlm_npu_ros.engine.image_formats import jpeg_size

# How samples of more than 8 bits become 8: all that the encoding can hold, the values of each
# frame, or from (low, high), black to white.
Range = Union[str, Sequence[float]]
FULL_RANGE, AUTO_RANGE = 'full', 'auto'


class Image(Protocol):
    """A sensor_msgs/Image, of rclpy or of a recording."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class CompressedImage(Protocol):
    """A sensor_msgs/CompressedImage, likewise."""

    format: str  # noqa: A003
    data: Any


def to_rgb(msg: Image | CompressedImage, value_range: Range = FULL_RANGE) -> np.ndarray:
    """
    Convert a camera message, raw or compressed.

    :param value_range: of samples of more than 8 bits; it is what makes a thermal image visible.
    :return: (height, width, 3) uint8 in RGB order; treat it as read-only. For `rgb8` and `bgr8`
        it is a view of the message's data, with the same gaps between rows and, for `bgr8`, with
        a negative stride of the channels, which `engine.images.resize` handles quickly.
    :raises ImageError: the image is empty, truncated, damaged or too large, a depth image or of an
        unknown encoding, or its size, step and data contradict each other; the message says what
        was expected and found.
    """
    convert: Callable[..., np.ndarray] = _decoded if hasattr(msg, 'format') else _converted
    try:
        return convert(msg, value_range)
    except (cv2.error, MemoryError) as error:
        raise ImageError(f'The image cannot be converted: {error}') from error


def _converted(msg: Image, value_range: Range) -> np.ndarray:
    encoding = _ENCODINGS.get(msg.encoding)
    if encoding is None and value_range != FULL_RANGE:
        encoding = _MEASURED.get(msg.encoding)
    if _is_jpeg(msg, anyway=encoding is None):
        return decode_image(bytes(msg.data))
    if encoding is None:
        return _by_cv_bridge(msg)
    plane = _view(msg, encoding, _planes(msg, encoding))
    return encoding.convert(plane if plane.dtype == np.uint8 else _to_8_bits(plane, value_range))


def _is_jpeg(msg: Image, anyway: bool) -> bool:
    """
    Return whether the data are a JPEG of the size of the message, or, with `anyway`, of any size.

    The size is compared because a picture may begin with the same colours.
    """
    data = memoryview(msg.data)
    if bytes(data[:4]) not in _JPEG_STARTS:
        return False
    try:
        return anyway or jpeg_size(bytes(data[:_JPEG_HEAD])) == (msg.width, msg.height)
    except ImageError:
        return False


def _by_cv_bridge(msg: Image) -> np.ndarray:
    """Convert an encoding that only a newer cv_bridge may know."""
    if msg.encoding in _MEASURED:
        raise _measured_error(msg.encoding)
    try:
        # The released cv_bridge is built for NumPy 1. Under NumPy 2 it loads, but crashes when
        # used: ros-perception/vision_opencv issue 535.
        if np.lib.NumpyVersion(np.__version__) >= '2.0.0':
            raise ImportError('cv_bridge is built for NumPy 1')
        from cv_bridge import CvBridge

        rgb: np.ndarray = CvBridge().imgmsg_to_cv2(msg, desired_encoding='rgb8')
        if rgb.shape != (msg.height, msg.width, 3) or rgb.dtype != np.uint8 or not rgb.size:
            raise ValueError(f'it makes {rgb.shape} of it')
    except Exception as error:  # any exception, also of a compiled part that does not load
        raise ImageError(
            f'The encoding {_quoted(msg.encoding)} is not known; known are: '
            f'{", ".join(_ENCODINGS)}'
        ) from error
    return rgb


def _decoded(msg: CompressedImage, value_range: Range) -> np.ndarray:
    """
    Decode a picture file.

    The format field is read as sensor_msgs/CompressedImage documents it, 'ORIG_PIXFMT; CODEC
    compressed [COMPRESSED_PIXFMT]'; if it says nothing useful, only the data count.
    """
    original, _, coding = (part.strip() for part in msg.format.partition(';'))
    is_measured = original in _MEASURED and value_range == FULL_RANGE
    if is_measured or 'compressedDepth' in coding:
        raise _measured_error(msg.format)
    try:
        rgb = decode_image(bytes(msg.data), any_depth=value_range != FULL_RANGE)
    except ImageError as error:
        raise ImageError(f'Format {_quoted(msg.format)}: {error.what}', error.remedy) from error
    if rgb.dtype != np.uint8:
        rgb = _to_8_bits(rgb, value_range)
    if coding.endswith(' compressed') and original in _BAYER and _is_grey(rgb):
        # Without a pixel format of its own, the file has the mosaic unchanged, as a grey picture.
        return _demosaic(rgb[:, :, 0], original)
    if coding.endswith(('compressed rgb8', 'compressed rgb16')):
        # The publisher gave RGB to a BGR encoder, so red and blue are swapped in the file.
        return cv2.cvtColor(rgb, cv2.COLOR_BGR2RGB)
    return rgb


def _is_grey(rgb: np.ndarray) -> bool:
    return bool((rgb[:, :, 1:] == rgb[:, :, :1]).all())


@dataclass(frozen=True)
class _Encoding:
    """
    Memory layout of an encoding, and the conversion of its samples, made 8-bit, to RGB.

    `kind` is the type of a sample for numpy, without the byte order. `rows` is the number of rows
    of `step` bytes in the data for each row of the picture. Width and height must be at least
    `least` and multiples of `multiple`.
    """

    convert: Callable[[np.ndarray], np.ndarray]
    samples: int = 1
    kind: str = 'u1'
    rows: float = 1
    least: int = 1
    multiple: tuple[int, int] = (1, 1)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel in a row."""
        return self.samples * np.dtype(self.kind).itemsize


def _colour(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return functools.partial(cv2.cvtColor, code=code)


def _unchanged(rgb: np.ndarray) -> np.ndarray:
    return rgb


def _turned(bgr: np.ndarray) -> np.ndarray:
    return bgr[:, :, ::-1]


def _limited_range_matrix() -> np.ndarray:
    """Return (R, G, B) from (Y, U, V, 1): ITU-R BT.601-7, section 2.5."""
    red, blue = 0.299, 0.114
    green = 1 - red - blue
    luma, chroma = 255 / 219, 255 / 112
    from_u, from_v = (1 - blue) * chroma, (1 - red) * chroma
    matrix = np.array([
        [luma, 0, from_v],
        [luma, -from_u * blue / green, -from_v * red / green],
        [luma, from_u, 0],
    ])
    return np.column_stack([matrix, matrix @ [-16, -128, -128]])


_YUV_TO_RGB = _limited_range_matrix()
_STRIP = 64  # rows converted at once, in 16 bits


def _nv24(planes: np.ndarray) -> np.ndarray:
    """Convert a luma plane above a U, V plane of full size, whose rows are two steps long."""
    height, width, step = planes.shape[0] // 3, planes.shape[1], planes.strides[0]
    chroma = np.lib.stride_tricks.as_strided(
        planes[height:], (height, width, 2), (2 * step, 2, 1), writeable=False)
    rgb = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP):
        rows = slice(top, min(top + _STRIP, height))
        # In 16 bits, because OpenCV rounds the matrix to 1/1024 for 8.
        wide = cv2.merge([planes[rows], chroma[rows]]).astype(np.uint16)
        cv2.convertScaleAbs(cv2.transform(wide, _YUV_TO_RGB), dst=rgb[rows])
    return rgb


# OpenCV names a Bayer pattern after the second and third pixel of the second row, ROS after the
# first two pixels of the first two rows: bayer_rggb8 is BayerBG.
_SAMPLED = {
    'rgb': _Encoding(_unchanged, 3),
    'bgr': _Encoding(_turned, 3),
    'rgba': _Encoding(_colour(cv2.COLOR_RGBA2RGB), 4),
    'bgra': _Encoding(_colour(cv2.COLOR_BGRA2RGB), 4),
    'mono': _Encoding(_colour(cv2.COLOR_GRAY2RGB)),
    'bayer_rggb': _Encoding(_colour(cv2.COLOR_BayerBG2RGB), least=3),
    'bayer_bggr': _Encoding(_colour(cv2.COLOR_BayerRG2RGB), least=3),
    'bayer_gbrg': _Encoding(_colour(cv2.COLOR_BayerGR2RGB), least=3),
    'bayer_grbg': _Encoding(_colour(cv2.COLOR_BayerGB2RGB), least=3),
}
_UYVY = _Encoding(_colour(cv2.COLOR_YUV2RGB_UYVY), 2, multiple=(2, 1))
_YUYV = _Encoding(_colour(cv2.COLOR_YUV2RGB_YUY2), 2, multiple=(2, 1))
_YUV = {
    'uyvy': _UYVY,
    'yuv422': _UYVY,
    'yuyv': _YUYV,
    'yuv422_yuy2': _YUYV,
    'nv12': _Encoding(_colour(cv2.COLOR_YUV2RGB_NV12), rows=1.5, multiple=(2, 2)),
    'nv21': _Encoding(_colour(cv2.COLOR_YUV2RGB_NV21), rows=1.5, multiple=(2, 2)),
    'nv24': _Encoding(_nv24, rows=3),
}
_BAYER = frozenset(f'{name}{bits}' for name in _SAMPLED if 'bayer' in name for bits in (8, 16))
_UNNAMED = {'8UC1': 'mono8', '8UC3': 'bgr8', '8UC4': 'bgra8', '16UC3': 'bgr16', '16UC4': 'bgra16'}
_MEASURED = {
    name: replace(_SAMPLED['mono'], kind=kind)
    for name, kind in {
        '16UC1': 'u2', '16SC1': 'i2', '32SC1': 'i4', '32FC1': 'f4', '64FC1': 'f8'
    }.items()
}
_LONGEST_QUOTE = 100  # characters
_ALIGNMENTS = [2**power for power in range(1, 8)]  # of rows, as codecs and ISPs have them
# A JPEG begins with SOI and a marker that has a length (ITU-T T.81, B.2.1); the head holds at
# least its first segments and, in what cameras send, the frame header.
_JPEG_STARTS = tuple(
    b'\xff\xd8\xff' + bytes([marker])
    for marker in (*range(0xc0, 0xd0), 0xdb, 0xdd, *range(0xe0, 0xf0), 0xfe)
)
_JPEG_HEAD = 1 << 16
# Auto takes no notice of one sample in a thousand at either end: they may be dead pixels.
_AUTO_PERCENTILES = (0.1, 99.9)
_AUTO_SAMPLES = 100_000  # looked at

_ENCODINGS = {
    **{f'{name}8': encoding for name, encoding in _SAMPLED.items()},
    **{f'{name}16': replace(encoding, kind='u2') for name, encoding in _SAMPLED.items()},
    **_YUV,
}
_ENCODINGS.update({layout: _ENCODINGS[name] for layout, name in _UNNAMED.items()})


def _planes(msg: Image, encoding: _Encoding) -> memoryview:
    """Return the data without unused rows; raise ImageError unless step and size fit them."""
    _check_size(_describe(msg), msg.width, msg.height, encoding)
    row = msg.width * encoding.pixel_bytes
    if msg.step < row:
        raise ImageError(f'{_describe(msg)} needs a step of {row} bytes or more: it has '
                         f'{msg.step}.')
    data = memoryview(msg.data)
    needed = f'{_describe(msg)} with a step of {msg.step} bytes needs'
    least = _size(msg.height, msg, encoding)
    if data.nbytes < least:
        raise ImageError(f'{needed} {least} bytes of data: it has {data.nbytes}.')
    if encoding.rows == 1:
        return data
    # A picture of several planes: where the second one begins depends on the rows of the first.
    for rows in (msg.height, *(-(-msg.height // to) * to for to in _ALIGNMENTS)):
        whole = int(rows * encoding.rows) * msg.step
        if _size(rows, msg, encoding) <= data.nbytes <= whole:
            return _cut(data, rows * msg.step, msg, encoding)
    raise ImageError(f'{needed} {least} bytes of data, or those of a height aligned to 2, 4, 8 or '
                     f'up to {_ALIGNMENTS[-1]} rows: it has {data.nbytes}.')


def _size(height: int, msg: Image, encoding: _Encoding) -> int:
    """Return the bytes of a picture of that height; its last row may have no padding."""
    return (int(height * encoding.rows) - 1) * msg.step + msg.width * encoding.pixel_bytes


def _cut(data: memoryview, second: int, msg: Image, encoding: _Encoding) -> memoryview:
    """Remove the unused rows between the first plane and the second one, and those below."""
    first = msg.height * msg.step
    if second == first:
        return data
    end = second + int(msg.height * (encoding.rows - 1)) * msg.step
    return memoryview(bytes(data[:first]) + bytes(data[second:end]))


def _check_size(what: str, width: int, height: int, encoding: _Encoding) -> None:
    if min(width, height) < encoding.least:
        raise ImageError(f'{what} must be {encoding.least}x{encoding.least} pixels or more.')
    columns, rows = encoding.multiple
    if width % columns or height % rows:
        raise ImageError(f'{what} shares its colour among {columns}x{rows} pixels: its width and '
                         'height must be multiples of these.')


def _view(msg: Image, encoding: _Encoding, data: memoryview) -> np.ndarray:
    """View the samples as (rows, width) or (rows, width, samples), read-only."""
    shape = (int(msg.height * encoding.rows), msg.width, encoding.samples)
    dtype = np.dtype(encoding.kind).newbyteorder('>' if msg.is_bigendian else '<')
    strides = (msg.step, encoding.pixel_bytes, dtype.itemsize)
    view: np.ndarray = np.ndarray(shape, dtype, buffer=data, strides=strides)
    view.flags.writeable = False
    return view[:, :, 0] if encoding.samples == 1 else view


def _to_8_bits(samples: np.ndarray, value_range: Range) -> np.ndarray:
    """Scale samples, which may be byte-swapped or at odd addresses, to 0..255, rounded."""
    native = np.require(samples, samples.dtype.newbyteorder('='), 'A')
    if value_range == FULL_RANGE:
        return cv2.convertScaleAbs(native, alpha=255 / 65535)
    low, high = _limits(native) if isinstance(value_range, str) else value_range

    def scaled(values: np.ndarray) -> np.ndarray:
        return np.rint(np.interp(values, (low, high), (0, 255))).astype(np.uint8)

    if native.dtype == np.uint16:
        return scaled(np.arange(1 << 16))[native]
    return scaled(np.where(np.isfinite(native), native, low))


def _limits(samples: np.ndarray) -> tuple[float, float]:
    """Return the darkest and the brightest value of a frame."""
    some = samples.ravel()[::samples.size // _AUTO_SAMPLES + 1]
    some = some[np.isfinite(some)]
    if not some.size:
        raise ImageError('The image has no finite value.')
    low, high = np.percentile(some, _AUTO_PERCENTILES)
    return float(low), float(high)


def _demosaic(mosaic: np.ndarray, name: str) -> np.ndarray:
    """Convert an 8-bit mosaic, whatever the sample size in its name."""
    height, width = mosaic.shape
    encoding = _ENCODINGS[name]
    _check_size(f"A {width}x{height} mosaic of encoding '{name}'", width, height, encoding)
    return encoding.convert(mosaic)


def _describe(msg: Image) -> str:
    return f"A {msg.width}x{msg.height} image of encoding '{msg.encoding}'"


def _measured_error(encoding: str) -> ImageError:
    return ImageError(
        f'The encoding {_quoted(encoding)} is that of a depth image or of other measured values, '
        'not of a picture',
        'Subscribe to the colour topic; for a thermal camera, set the parameter range of the '
        'camera to auto or to [low, high]',
    )


def _quoted(text: str) -> str:
    """Quote arbitrary text of a publisher for a line of the log."""
    return repr(text[:_LONGEST_QUOTE])
