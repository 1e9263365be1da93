# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import array
from collections.abc import Callable
import itertools
import sys
from types import SimpleNamespace

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from vlm_npu_ros.engine import conversions
from vlm_npu_ros.engine.conversions import to_rgb
from vlm_npu_ros.engine.errors import ImageError

WIDTH, HEIGHT = 12, 8

# A plane of an image: rows of samples, and how many times `step` lie between two of its rows.
Plane = tuple[np.ndarray, int]
Packer = Callable[[np.ndarray], list[Plane]]


def noise() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def grey_noise() -> np.ndarray:
    return noise()[:, :, :1].repeat(3, axis=2)


def slopes() -> np.ndarray:
    """Return an image that rises evenly, so that to interpolate its colours loses nothing."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([20 + 4 * x, 200 - 6 * y, 90 + 2 * x + 4 * y], axis=2).astype(np.uint8)


def tiles() -> np.ndarray:
    """Return an image of 2x2 tiles, so that to share their chroma loses nothing."""
    return noise()[::2, ::2].repeat(2, axis=0).repeat(2, axis=1)


def channels(order: str) -> Packer:
    def pack(rgb: np.ndarray) -> list[Plane]:
        rgba = np.dstack([rgb, np.full(rgb.shape[:2], 99, rgb.dtype)])
        return [(rgba[:, :, ['rgba'.index(name) for name in order]], 1)]
    return pack


def mosaic(pattern: str) -> Packer:
    """Pack the samples of a sensor whose upper left 2x2 pixels have these colours, row by row."""
    def pack(rgb: np.ndarray) -> list[Plane]:
        plane = np.zeros(rgb.shape[:2], rgb.dtype)
        for index, colour in enumerate(pattern):
            row, column = divmod(index, 2)
            plane[row::2, column::2] = rgb[row::2, column::2, 'rgb'.index(colour)]
        return [(plane, 1)]
    return pack


def yuv(rgb: np.ndarray) -> np.ndarray:
    """Return limited-range BT.601: Y = 16 + 219 luma, U and V = 128 + 224 scaled difference."""
    red, green, blue = (rgb[:, :, channel] / 255 for channel in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack([
        16 + 219 * luma,
        128 + 224 * (blue - luma) / 1.772,
        128 + 224 * (red - luma) / 1.402,
    ], axis=2).round().astype(np.uint8)


def packed_yuv(order: str) -> Packer:
    """Pack pairs of pixels as four bytes in this order; 'y' is the first luma, 'Y' the second."""
    def pack(rgb: np.ndarray) -> list[Plane]:
        left, right = yuv(rgb)[:, ::2], yuv(rgb)[:, 1::2]
        part = {'y': left[:, :, 0], 'Y': right[:, :, 0], 'u': left[:, :, 1], 'v': left[:, :, 2]}
        return [(np.stack([part[name] for name in order], axis=2), 1)]
    return pack


def planar_yuv(order: str, every: int) -> Packer:
    """Pack a luma plane, then a plane of chroma pairs of every so many rows and columns."""
    def pack(rgb: np.ndarray) -> list[Plane]:
        samples = yuv(rgb)
        chroma = samples[::every, ::every, ['yuv'.index(name) for name in order]]
        return [(samples[:, :, 0], 1), (chroma, 2 // every)]
    return pack


# encoding: (packer, picture, tolerance in grey levels, rim of pixels not compared)
EIGHT_BIT: dict[str, tuple[Packer, Callable[[], np.ndarray], int, int]] = {
    'rgb8': (channels('rgb'), noise, 0, 0),
    'bgr8': (channels('bgr'), noise, 0, 0),
    'rgba8': (channels('rgba'), noise, 0, 0),
    'bgra8': (channels('bgra'), noise, 0, 0),
    'mono8': (channels('r'), grey_noise, 0, 0),
    'bayer_rggb8': (mosaic('rggb'), slopes, 1, 1),
    'bayer_bggr8': (mosaic('bggr'), slopes, 1, 1),
    'bayer_gbrg8': (mosaic('gbrg'), slopes, 1, 1),
    'bayer_grbg8': (mosaic('grbg'), slopes, 1, 1),
    'uyvy': (packed_yuv('uyvY'), tiles, 3, 0),
    'yuv422': (packed_yuv('uyvY'), tiles, 3, 0),
    'yuyv': (packed_yuv('yuYv'), tiles, 3, 0),
    'yuv422_yuy2': (packed_yuv('yuYv'), tiles, 3, 0),
    'nv12': (planar_yuv('uv', 2), tiles, 3, 0),
    'nv21': (planar_yuv('vu', 2), tiles, 3, 0),
    'nv24': (planar_yuv('uv', 1), noise, 3, 0),
    '8UC1': (channels('r'), grey_noise, 0, 0),
    '8UC3': (channels('bgr'), noise, 0, 0),
    '8UC4': (channels('bgra'), noise, 0, 0),
}
SIXTEEN_BIT = {
    'rgb16': EIGHT_BIT['rgb8'],
    'bgr16': EIGHT_BIT['bgr8'],
    'rgba16': EIGHT_BIT['rgba8'],
    'bgra16': EIGHT_BIT['bgra8'],
    'mono16': EIGHT_BIT['mono8'],
    'bayer_rggb16': EIGHT_BIT['bayer_rggb8'],
    'bayer_bggr16': EIGHT_BIT['bayer_bggr8'],
    'bayer_gbrg16': EIGHT_BIT['bayer_gbrg8'],
    'bayer_grbg16': EIGHT_BIT['bayer_grbg8'],
    '16UC3': EIGHT_BIT['8UC3'],
    '16UC4': EIGHT_BIT['8UC4'],
}
ALL = EIGHT_BIT | SIXTEEN_BIT
PLANAR = ('nv12', 'nv21', 'nv24')


def message(
    encoding: str, rgb: np.ndarray | None = None, *, padding: int = 0, big_endian: int = 0,
) -> Image:
    """Pack a picture, with `padding` bytes of 0xee after each row."""
    packer, picture = ALL[encoding][:2]
    rgb = picture() if rgb is None else rgb
    order = '>' if big_endian else '<'
    if encoding in SIXTEEN_BIT:
        # The 100 is lost in rounding, and makes the two bytes of a sample differ.
        rgb = np.minimum(rgb * 257.0 + 100, 65535).astype(np.uint16)
    planes = packer(rgb)
    data = b''
    for samples, steps in planes:
        for row in samples:
            data += row.astype(row.dtype.newbyteorder(order)).tobytes()
            data += b'\xee' * (padding * steps)
    step = len(planes[0][0][0].tobytes()) + padding
    return Image(height=rgb.shape[0], width=rgb.shape[1], encoding=encoding, step=step,
                 is_bigendian=big_endian, data=array.array('B', data))


def fault(rgb: np.ndarray, encoding: str) -> str:
    """Return in what an array is not the picture that was packed, '' for nothing."""
    _, picture, tolerance, rim = ALL[encoding]
    if rgb.shape != (HEIGHT, WIDTH, 3) or rgb.dtype != np.uint8:
        return f'{rgb.shape} of {rgb.dtype}'
    inner = slice(rim, -rim or None)
    most = np.abs(rgb.astype(int) - picture())[inner, inner].max()
    return f'{most} grey levels off' if most > tolerance else ''


def test_every_encoding_with_any_padding_in_either_byte_order() -> None:
    assert set(conversions._ENCODINGS) == set(ALL)
    faults = {
        (encoding, padding, big_endian): found
        for encoding, padding, big_endian in itertools.product(ALL, (0, 1, 4, 20), (0, 1))
        if (found := fault(
            to_rgb(message(encoding, padding=padding, big_endian=big_endian)), encoding
        ))
    }
    assert not faults


def test_the_last_row_may_lack_its_padding_and_more_data_is_ignored() -> None:
    faults = {}
    for encoding in ALL:
        short, long = message(encoding, padding=6), message(encoding)
        short.data = short.data[:-6]
        if encoding not in PLANAR:
            long.data.extend(bytes(100))
        faults[encoding] = [fault(to_rgb(msg), encoding) for msg in (short, long)]
    assert not {encoding: found for encoding, found in faults.items() if any(found)}


def with_rows(encoding: str, rows: int, padding: int) -> Image:
    """Give a picture of two planes more rows in its buffer, as a decoder that aligns them does."""
    msg = message(encoding, padding=padding)
    luma = HEIGHT * msg.step
    chroma = (len(msg.data) - luma) * rows // HEIGHT
    data = msg.data[:luma] + array.array('B', bytes((rows - HEIGHT) * msg.step))
    data += msg.data[luma:]
    data.extend(bytes(rows * msg.step + chroma - len(data)))
    msg.data = data
    return msg


def test_planes_in_a_buffer_of_more_rows_are_found_by_its_size() -> None:
    for encoding, rows, padding in itertools.product(PLANAR, (16, 32, 128), (0, 4)):
        msg = with_rows(encoding, rows, padding)
        assert not fault(to_rgb(msg), encoding), (encoding, rows, padding)
        msg.data = msg.data[:len(msg.data) - padding]
        assert not fault(to_rgb(msg), encoding), 'the last row has no padding'
        msg.data.extend(bytes(msg.step))
        with pytest.raises(ImageError, match=r'needs \d+ bytes .* aligned to .* it has'):
            to_rgb(msg)


def test_small_and_odd_sizes() -> None:
    odd = set(ALL) - {'uyvy', 'yuv422', 'yuyv', 'yuv422_yuy2', 'nv12', 'nv21'}
    single = {name for name in odd if 'bayer' not in name}
    cases = [(name, (1, 1)) for name in single]
    cases += itertools.product(odd, [(3, 3), (5, 3), (3, 5), (7, 7)])
    wrong = []
    for encoding, size in cases:
        rgb = np.full((*size, 3), 77, np.uint8)
        converted = to_rgb(message(encoding, rgb, padding=3))
        if converted.shape != rgb.shape or np.abs(converted.astype(int) - 77).max() > 1:
            wrong.append((encoding, size))
    assert not wrong


# Colour bars of ITU-R BT.601 at full amplitude: (R, G, B), (Y, U, V).
BARS = {
    'black': ((0, 0, 0), (16, 128, 128)),
    'white': ((255, 255, 255), (235, 128, 128)),
    'red': ((255, 0, 0), (81, 90, 240)),
    'green': ((0, 255, 0), (145, 54, 34)),
    'blue': ((0, 0, 255), (41, 240, 110)),
    'yellow': ((255, 255, 0), (210, 16, 146)),
    'luma below its range': ((0, 0, 0), (0, 128, 128)),
    'luma above its range': ((255, 255, 255), (255, 128, 128)),
}
BYTES_OF_2X2_PIXELS = {
    'uyvy': 'uyvyuyvy',
    'yuv422': 'uyvyuyvy',
    'yuyv': 'yuyvyuyv',
    'yuv422_yuy2': 'yuyvyuyv',
    'nv12': 'yyyyuv',
    'nv21': 'yyyyvu',
    'nv24': 'yyyyuvuvuvuv',
}


def test_yuv_colour_bars() -> None:
    for encoding, order in BYTES_OF_2X2_PIXELS.items():
        for colour, (rgb, samples) in BARS.items():
            data = array.array('B', [samples['yuv'.index(name)] for name in order])
            step = 4 if len(order) == 8 else 2
            msg = Image(height=2, width=2, encoding=encoding, step=step, data=data)
            wanted, row = np.full((2, 2, 3), rgb), f'{colour} of {encoding}'
            tolerance = 0 if 'luma' in colour else 2
            np.testing.assert_allclose(to_rgb(msg), wanted, atol=tolerance, err_msg=row)


def test_sixteen_bits_are_rounded_to_eight() -> None:
    samples = np.arange(0, 65536, dtype='<u2').reshape(256, 256)
    data = array.array('B', samples.tobytes())
    msg = Image(height=256, width=256, encoding='mono16', step=512, data=data)
    expected = np.rint(samples / 257)
    np.testing.assert_array_equal(to_rgb(msg)[:, :, 1], expected)


def test_only_what_needs_no_conversion_is_a_view_of_the_message_and_read_only() -> None:
    for encoding in ALL:
        msg = message(encoding, padding=5)
        rgb = to_rgb(msg)
        is_view = encoding in ('rgb8', 'bgr8', '8UC3')
        assert np.shares_memory(rgb, np.frombuffer(msg.data, np.uint8)) == is_view, encoding
        assert rgb.flags.writeable != is_view, encoding


def changed(encoding: str, /, **fields: object) -> Image:
    msg = message(encoding)
    for name, value in fields.items():
        setattr(msg, name, value)
    return msg


MALFORMED = [
    (changed('rgb8', width=0), "0x8 .*'rgb8' must be 1x1"),
    (changed('rgb8', height=0), '12x0 .* must be 1x1'),
    (changed('rgb8', step=35), 'step of 36 bytes or more: it has 35'),
    (changed('rgb8', step=0), 'step of 36 bytes or more: it has 0'),
    (changed('mono16', step=23), "'mono16' .*step of 24 bytes or more: it has 23"),
    (changed('rgb8', data=array.array('B', bytes(287))), 'needs 288 bytes of data: it has 287'),
    (changed('rgb8', data=array.array('B')), 'needs 288 bytes of data: it has 0'),
    (changed('nv12', data=array.array('B', bytes(143))), 'needs 144 bytes of data: it has 143'),
    (changed('nv24', data=array.array('B', bytes(287))), 'needs 288 bytes of data: it has 287'),
    (changed('bgr8', width=2**32 - 1, height=2**32 - 1), r'step of 12884901885 bytes or more'),
    (changed('mono8', height=2**32 - 1), r'needs 51539607540 bytes of data: it has 96'),
    (changed('nv21', height=2**32 - 2), r'needs 77309411292 bytes of data'),
    (changed('uyvy', width=11), '11x8 .* 2x1 pixels'),
    (changed('yuv422_yuy2', width=11), '2x1 pixels'),
    (changed('nv12', width=11), '2x2 pixels'),
    (changed('nv21', height=7), '12x7 .* 2x2 pixels'),
    (changed('bayer_rggb8', width=2), '3x3 pixels or more'),
    (changed('bayer_grbg16', height=2), '3x3 pixels or more'),
    (changed('mono16', encoding='16UC1'), 'depth image.*range of the camera'),
    (changed('mono16', encoding='32FC1'), 'depth image'),
    (changed('rgb8', encoding=''), "'' is not known; known are: rgb8, "),
    (changed('rgb8', encoding='RGB8'), "'RGB8' is not known"),
    (changed('rgb8', encoding='8UC2'), "'8UC2' is not known"),
]


def test_malformed_messages_are_refused_in_plain_words() -> None:
    for msg, words in MALFORMED:
        with pytest.raises(ImageError, match=words):
            to_rgb(msg)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([*ALL, '16UC1', '8UC2', '']),
    st.integers(0, 9) | st.integers(0, 2**32 - 1), st.integers(0, 9) | st.integers(0, 2**32 - 1),
    st.integers(0, 80) | st.integers(0, 2**32 - 1), st.integers(0, 255), st.binary(max_size=700),
)
def test_nothing_but_image_errors_is_raised(
    encoding: str, width: int, height: int, step: int, is_bigendian: int, data: bytes,
) -> None:
    msg = Image(width=width, height=height, encoding=encoding, step=step,
                is_bigendian=is_bigendian, data=array.array('B', data))
    try:
        rgb = to_rgb(msg)
    except ImageError:
        return
    assert rgb.shape == (height, width, 3) and rgb.dtype == np.uint8


class StandInBridge:
    """Answers as cv_bridge.CvBridge does, with an image or an error given beforehand."""

    answer: np.ndarray | Exception = RuntimeError()
    encodings: list[str] = []

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = 'passthrough') -> np.ndarray:
        assert desired_encoding == 'rgb8'
        self.encodings.append(img_msg.encoding)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_only_what_is_not_known_is_left_to_cv_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, '__version__', '1.26.4')
    monkeypatch.setitem(sys.modules, 'cv_bridge', SimpleNamespace(CvBridge=StandInBridge))
    monkeypatch.setattr(StandInBridge, 'encodings', [])
    monkeypatch.setattr(StandInBridge, 'answer', noise())
    new = changed('rgb8', encoding='yuv444')
    assert to_rgb(new) is StandInBridge.answer
    for encoding in ALL:
        to_rgb(message(encoding))
    with pytest.raises(ImageError, match='depth image'):
        to_rgb(changed('mono16', encoding='16UC1'))
    assert StandInBridge.encodings == ['yuv444']
    for answer in (
        TypeError('CvBridgeError'), ValueError('shape'), cv2.error('code'), noise()[1:],
        noise().astype(float),
    ):
        monkeypatch.setattr(StandInBridge, 'answer', answer)
        with pytest.raises(ImageError, match="'yuv444' is not known"):
            to_rgb(new)


def test_cv_bridge_is_not_used_where_it_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandInBridge, 'answer', noise())
    working = SimpleNamespace(CvBridge=StandInBridge)
    for module, numpy in ((None, '1.26.4'), (SimpleNamespace(), '1.26.4'), (working, '2.0.0')):
        monkeypatch.setitem(sys.modules, 'cv_bridge', module)
        monkeypatch.setattr(np, '__version__', numpy)
        with pytest.raises(ImageError, match="'yuv444' is not known"):
            to_rgb(changed('rgb8', encoding='yuv444'))


def compressed(image: np.ndarray, format_field: str, extension: str) -> CompressedImage:
    """Compress an image in OpenCV's order: grey or BGR."""
    data = cv2.imencode(extension, image)[1].tobytes()
    return CompressedImage(format=format_field, data=array.array('B', data))


def test_compressed() -> None:
    for format_field in (
        '', 'png', 'jpeg', 'rgb8; png compressed bgr8', 'bgr8; png compressed bgr8', 'rgb8'
    ):
        msg = compressed(noise()[:, :, ::-1], format_field, '.png')
        np.testing.assert_array_equal(to_rgb(msg), noise(), format_field)


def test_compressed_jpeg() -> None:
    msg = compressed(np.full((HEIGHT, WIDTH, 3), (30, 60, 200), np.uint8), 'jpeg', '.jpg')
    rgb = np.full((HEIGHT, WIDTH, 3), (200, 60, 30), np.uint8)
    np.testing.assert_allclose(to_rgb(msg), rgb, atol=3)


def test_compressed_grey() -> None:
    msg = compressed(grey_noise()[:, :, 0], 'mono8; png compressed ', '.png')
    np.testing.assert_array_equal(to_rgb(msg), grey_noise())


def test_compressed_from_rgb_has_its_colours_turned_back() -> None:
    for format_field in (
        'rgb8; png compressed rgb8', 'bgr8; png compressed rgb8', 'rgb16; png compressed rgb16'
    ):
        rgb = to_rgb(compressed(noise(), format_field, '.png'))
        np.testing.assert_array_equal(rgb, noise(), format_field)


def test_compressed_mosaic() -> None:
    for pattern, bits in itertools.product(('rggb', 'bggr', 'gbrg', 'grbg'), (8, 16)):
        encoding = f'bayer_{pattern}{bits}'
        samples = mosaic(pattern)(slopes() if bits == 8 else slopes() * np.uint16(257))[0][0]
        msg = compressed(samples, f'{encoding}; png compressed ', '.png')
        assert not fault(to_rgb(msg), encoding), encoding


def test_compressed_mosaic_in_a_jpeg() -> None:
    colours = np.full((48, 64, 3), (40, 90, 180), np.uint8)
    samples = mosaic('grbg')(colours)[0][0]
    for form, wanted in {
        'bayer_grbg8; jpeg compressed ': (40, 90, 180),  # image_transport of ROS 1 and Foxy
        'bayer_grbg8; jpeg compressed mono8': None,  # made grey before
    }.items():
        data = cv2.imencode('.jpg', samples, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        rgb = to_rgb(CompressedImage(format=form, data=array.array('B', data)))
        mean = rgb[4:-4, 4:-4].reshape(-1, 3).mean(0)
        assert np.allclose(mean, wanted, atol=6) if wanted else np.ptp(mean) == 0, (form, mean)
    coloured = compressed(colours[:, :, ::-1], 'bayer_grbg8; png compressed ', '.png')
    np.testing.assert_array_equal(to_rgb(coloured), colours, 'it is in colour already')


def test_compressed_mosaic_that_was_made_grey_stays_grey() -> None:
    msg = compressed(grey_noise()[:, :, 0], 'bayer_rggb8; jpeg compressed mono8', '.png')
    np.testing.assert_array_equal(to_rgb(msg), grey_noise())


def test_range_of_more_than_eight_bits() -> None:
    """Thermal cameras and sensors of 12 or 14 bits use a part of the 16 bits."""
    ramp = np.linspace(20_000, 21_000, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
    wanted = np.linspace(0, 255, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
    for encoding, big_endian, value_range in itertools.product(
        ('mono16', '16UC1', '16SC1', '32SC1', '32FC1', '64FC1'), (0, 1),
        ('auto', (20_000.0, 21_000.0)),
    ):
        kind = {'mono16': 'u2', **{n: e.kind for n, e in conversions._MEASURED.items()}}[encoding]
        samples = ramp if kind[0] == 'f' else ramp.round()
        samples = samples.astype(('<', '>')[big_endian] + kind)
        msg = Image(width=WIDTH, height=HEIGHT, encoding=encoding, is_bigendian=big_endian,
                    step=samples.strides[0], data=array.array('B', samples.tobytes()))
        row = f'{encoding} {big_endian} {value_range}'
        rgb = to_rgb(msg, value_range)
        np.testing.assert_allclose(rgb[:, :, 0], wanted, atol=2, err_msg=row)
        np.testing.assert_array_equal(rgb[:, :, 0], rgb[:, :, 2], row)
    png = compressed(ramp.round().astype(np.uint16), '16UC1; png compressed ', '.png')
    np.testing.assert_allclose(to_rgb(png, 'auto')[:, :, 1], wanted, atol=2)


def test_range_is_the_same_for_all_colours_and_bounded() -> None:
    samples = np.full((HEIGHT, WIDTH, 3), (400, 2000, 4095), np.uint16)
    msg = Image(width=WIDTH, height=HEIGHT, encoding='rgb16', step=WIDTH * 6,
                data=array.array('B', samples.tobytes()))
    np.testing.assert_array_equal(to_rgb(msg, (0, 4095))[0, 0], [25, 125, 255])
    np.testing.assert_array_equal(to_rgb(msg, (1000, 3000))[0, 0], [0, 128, 255])
    msg = message('mono8')
    np.testing.assert_array_equal(to_rgb(msg, 'auto'), to_rgb(msg), '8 bits have no range')


def test_auto_range_ignores_dead_pixels_and_what_is_no_number() -> None:
    values = np.linspace(290, 310, 100 * 100, dtype=np.float32).reshape(100, 100)
    values[0, :4] = 0, 1e9, np.nan, np.inf
    msg = Image(width=100, height=100, encoding='32FC1', step=400,
                data=array.array('B', values.tobytes()))
    rgb = to_rgb(msg, 'auto')
    assert abs(int(rgb[50, 0, 0]) - 128) < 3
    msg.data = array.array('B', np.full((100, 100), np.nan, np.float32).tobytes())
    with pytest.raises(ImageError, match='no finite value'):
        to_rgb(msg, 'auto')


def test_jpeg_in_a_raw_image_is_decoded_and_a_picture_that_begins_like_one_is_not() -> None:
    colours = np.full((48, 64, 3), (40, 90, 180), np.uint8)
    jpeg = cv2.imencode('.jpg', colours[:, :, ::-1])[1].tobytes()
    for encoding, size, room in (
        ('yuv422', 2, 0), ('rgb8', 3, 0), ('yuv422_yuy2', 2, None), ('mono8', 1, None),
        ('mjpeg', 1, None), ('', 0, None),
    ):
        data = jpeg if room is None else jpeg.ljust(64 * 48 * size, b'\0')
        msg = Image(width=64, height=48, encoding=encoding, step=64 * size,
                    data=array.array('B', data))
        np.testing.assert_allclose(to_rgb(msg), colours, atol=3, err_msg=encoding)
    picture = noise()
    picture.ravel()[:len(jpeg[:200])] = np.frombuffer(jpeg[:200], np.uint8)
    np.testing.assert_array_equal(to_rgb(message('rgb8', picture)), picture)


def test_format_is_named_with_what_cannot_be_decoded() -> None:
    for data in (b'\0\0\0\1\x67' + bytes(90), b'', b'\xff\xd8\xff'):
        with pytest.raises(ImageError, match="'h265'"):
            to_rgb(CompressedImage(format='h265', data=array.array('B', data)))


REFUSED = [
    ('16UC1; png compressed ', np.zeros((8, 8), np.uint16), 'depth image'),
    ('32FC1; compressedDepth png', np.zeros((8, 8), np.uint16), 'depth image'),
    ('; compressedDepth png', np.zeros((8, 8), np.uint16), 'depth image'),
    ('bayer_rggb8; png compressed ', np.zeros((2, 8), np.uint8), "8x2 mosaic .*'bayer_rggb8'"),
]


def test_compressed_refuses() -> None:
    for format_field, image, words in REFUSED:
        with pytest.raises(ImageError, match=words):
            to_rgb(compressed(image, format_field, '.png'))
    for data in (b'', b'\xff\xd8\xff', bytes(12) + b'\x89PNG\r\n\x1a\n'):
        with pytest.raises(ImageError):
            to_rgb(CompressedImage(format='jpeg', data=array.array('B', data)))
