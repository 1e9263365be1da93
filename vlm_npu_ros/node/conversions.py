"""
Camera messages to RGB arrays.

    rgb = to_rgb(msg)    # (height, width, 3) uint8; raises ImageError

All picture encodings of sensor_msgs are converted here, exactly; unknown ones are left to
cv_bridge. How the encodings are interpreted:

- 16-bit samples use their full range and are scaled by 255/65535, as cv_bridge does.
- YUV is ITU-R BT.601 with limited range (luma 16 to 235), as in OpenCV.
- `8UC1`, `8UC3`, `8UC4`, `16UC3` and `16UC4` name a memory layout, not colours. cv_bridge gives
  these names to OpenCV arrays published without an encoding, so they are read as grey, BGR, BGRA.
- `16UC1` and `32FC1` are depth images (REP 118) and rejected: a distance is not a brightness.
- `nv12` is not in sensor_msgs, but cameras send it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
import functools

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.image_files import decode_image


def to_rgb(msg: Image | CompressedImage) -> np.ndarray:
    """
    Convert a camera message, raw or compressed (JPEG or PNG).

    :return: (height, width, 3) uint8 in RGB order; treat it as read-only. For `rgb8` and `bgr8`
        it is a view of the message's data, with the same gaps between rows and, for `bgr8`, with
        a negative stride of the channels, which `engine.images.resize` handles quickly.
    :raises ImageError: the image is empty, truncated, damaged or too large, a depth image or of an
        unknown encoding, or its size, step and data contradict each other; the message says what
        was expected and found.
    """
    try:
        return _decoded(msg) if isinstance(msg, CompressedImage) else _converted(msg)
    except (cv2.error, MemoryError) as error:
        raise ImageError(f'The image cannot be converted: {error}') from error


def _converted(msg: Image) -> np.ndarray:
    encoding = _ENCODINGS.get(msg.encoding)
    if encoding is None:
        return _by_cv_bridge(msg)
    _check(msg, encoding)
    plane = _view(msg, encoding)
    return encoding.convert(plane if encoding.sample_bytes == 1 else _to_8_bits(plane))


def _by_cv_bridge(msg: Image) -> np.ndarray:
    """Convert an encoding that only a newer cv_bridge may know."""
    if msg.encoding in _DEPTH:
        raise _depth_error(msg.encoding)
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


def _decoded(msg: CompressedImage) -> np.ndarray:
    """
    Decode JPEG or PNG.

    The format field is read as sensor_msgs/CompressedImage documents it, 'ORIG_PIXFMT; CODEC
    compressed [COMPRESSED_PIXFMT]'; if it says nothing useful, only the data count.
    """
    original, _, coding = (part.strip() for part in msg.format.partition(';'))
    if original in _DEPTH or 'compressedDepth' in coding:
        raise _depth_error(msg.format)
    rgb = decode_image(bytes(msg.data))
    if coding == 'png compressed' and original in _BAYER:
        # The publisher stores the mosaic unchanged, as a grey picture.
        return _demosaic(rgb[:, :, 0], original)
    if coding.endswith(('compressed rgb8', 'compressed rgb16')):
        # The publisher gave RGB to a BGR encoder, so red and blue are swapped in the file.
        return cv2.cvtColor(rgb, cv2.COLOR_BGR2RGB)
    return rgb


@dataclass(frozen=True)
class _Encoding:
    """
    Memory layout of an encoding, and the conversion of its 8-bit samples to RGB.

    `rows` is the number of rows of `step` bytes in the data for each row of the picture. Width and
    height must be at least `least` and multiples of `multiple`.
    """

    convert: Callable[[np.ndarray], np.ndarray]
    samples: int = 1
    sample_bytes: int = 1
    rows: float = 1
    least: int = 1
    multiple: tuple[int, int] = (1, 1)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel in a row."""
        return self.samples * self.sample_bytes


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
_DEPTH = frozenset(['16UC1', '32FC1'])
_LONGEST_QUOTE = 100  # characters

_ENCODINGS = {
    **{f'{name}8': encoding for name, encoding in _SAMPLED.items()},
    **{f'{name}16': replace(encoding, sample_bytes=2)
       for name, encoding in _SAMPLED.items()},
    **_YUV,
}
_ENCODINGS.update({layout: _ENCODINGS[name] for layout, name in _UNNAMED.items()})


def _check(msg: Image, encoding: _Encoding) -> None:
    """Raise ImageError unless size, step and data of the message fit together."""
    _check_size(_describe(msg), msg.width, msg.height, encoding)
    row = msg.width * encoding.pixel_bytes
    if msg.step < row:
        raise ImageError(f'{_describe(msg)} needs a step of {row} bytes or more: it has '
                         f'{msg.step}.')
    # The last row may have no padding.
    expected = (_buffer_rows(msg, encoding) - 1) * msg.step + row
    found = memoryview(msg.data).nbytes
    if found < expected:
        raise ImageError(f'{_describe(msg)} with a step of {msg.step} bytes needs {expected} '
                         f'bytes of data: it has {found}.')


def _check_size(what: str, width: int, height: int, encoding: _Encoding) -> None:
    if min(width, height) < encoding.least:
        raise ImageError(f'{what} must be {encoding.least}x{encoding.least} pixels or more.')
    columns, rows = encoding.multiple
    if width % columns or height % rows:
        raise ImageError(f'{what} shares its colour among {columns}x{rows} pixels: its width and '
                         'height must be multiples of these.')


def _buffer_rows(msg: Image, encoding: _Encoding) -> int:
    return int(msg.height * encoding.rows)


def _view(msg: Image, encoding: _Encoding) -> np.ndarray:
    """View the samples as (rows, width) or (rows, width, samples), read-only."""
    shape = (_buffer_rows(msg, encoding), msg.width, encoding.samples)
    strides = (msg.step, encoding.pixel_bytes, encoding.sample_bytes)
    dtype = f"{'>' if msg.is_bigendian else '<'}u{encoding.sample_bytes}"
    view: np.ndarray = np.ndarray(shape, dtype, buffer=msg.data, strides=strides)
    view.flags.writeable = False
    return view[:, :, 0] if encoding.samples == 1 else view


def _to_8_bits(samples: np.ndarray) -> np.ndarray:
    """Scale 0..65535 to 0..255, rounded; `samples` may be byte-swapped or at odd addresses."""
    native = np.require(samples, np.uint16, 'A')
    return cv2.convertScaleAbs(native, alpha=255 / 65535)


def _demosaic(mosaic: np.ndarray, name: str) -> np.ndarray:
    """Convert an 8-bit mosaic, whatever the sample size in its name."""
    height, width = mosaic.shape
    encoding = _ENCODINGS[name]
    _check_size(f"A {width}x{height} PNG of encoding '{name}'", width, height, encoding)
    return encoding.convert(mosaic)


def _describe(msg: Image) -> str:
    return f"A {msg.width}x{msg.height} image of encoding '{msg.encoding}'"


def _depth_error(encoding: str) -> ImageError:
    return ImageError(f'The encoding {_quoted(encoding)} is a depth image, not a picture: '
                      'subscribe to the colour topic, or publish a grey picture as mono16.')


def _quoted(text: str) -> str:
    """Quote arbitrary text of a publisher for a line of the log."""
    return repr(text[:_LONGEST_QUOTE])
