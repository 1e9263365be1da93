from __future__ import annotations

import array
from collections.abc import Callable, Iterator
import functools
import itertools
import sys

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.node import conversions
from vlm_npu_ros.node.conversions import (
    compressed_to_rgb,
    convert_plain,
    convert_with_cv_bridge,
    image_to_rgb,
    suits_cv_bridge,
    to_rgb,
)

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
IN_CV_BRIDGE = sorted(set(ALL) - {
    'rgb8', 'bgr8', 'uyvy', 'yuyv', 'nv12', 'nv21', 'nv24', '8UC1', '8UC3', '8UC4', '16UC3',
    '16UC4'})


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


def assert_is_picture(rgb: np.ndarray, encoding: str) -> None:
    _, picture, tolerance, rim = ALL[encoding]
    assert rgb.shape == (HEIGHT, WIDTH, 3) and rgb.dtype == np.uint8
    inner = slice(rim, -rim or None)
    difference = np.abs(rgb.astype(int) - picture())[inner, inner]
    assert difference.max() <= tolerance


class StandInBridge:
    """Answer as cv_bridge.CvBridge does, with an image or an error given beforehand."""

    def __init__(self, answer: np.ndarray | Exception) -> None:
        self.answer = answer
        self.encodings: list[str] = []

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = 'passthrough') -> np.ndarray:
        assert desired_encoding == 'rgb8'
        self.encodings.append(img_msg.encoding)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> StandInBridge:
    """Put a bridge, which answers with a black image, in the place of cv_bridge."""
    stand_in = StandInBridge(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    monkeypatch.setattr(conversions, '_cv_bridge', lambda: stand_in)
    return stand_in


@pytest.fixture
def import_cv_bridge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[object, str], None]]:
    """Return a function that lets `import cv_bridge` give an object, or fail for None."""
    def prepare(module: object, numpy_version: str) -> None:
        monkeypatch.setitem(sys.modules, 'cv_bridge', module)
        monkeypatch.setattr(np, '__version__', numpy_version)
        conversions._cv_bridge.cache_clear()

    yield prepare
    conversions._cv_bridge.cache_clear()


def test_every_encoding_is_tested() -> None:
    assert set(conversions._ENCODINGS) == set(ALL)
    assert {name for name, known in conversions._ENCODINGS.items() if known.in_cv_bridge} == \
        set(IN_CV_BRIDGE)


@pytest.mark.parametrize('padding', [0, 1, 4, 20])
@pytest.mark.parametrize('encoding', ALL)
def test_encoding(encoding: str, padding: int) -> None:
    assert_is_picture(convert_plain(message(encoding, padding=padding)), encoding)


@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize('encoding', ALL)
def test_big_endian(encoding: str, padding: int) -> None:
    msg = message(encoding, padding=padding, big_endian=1)
    assert_is_picture(convert_plain(msg), encoding)


@pytest.mark.parametrize('encoding', ALL)
def test_last_row_may_lack_its_padding(encoding: str) -> None:
    msg = message(encoding, padding=6)
    msg.data = msg.data[:-6]
    assert_is_picture(convert_plain(msg), encoding)


@pytest.mark.parametrize('encoding', ALL)
def test_more_data_than_needed_is_ignored(encoding: str) -> None:
    msg = message(encoding)
    msg.data.extend(bytes(100))
    assert_is_picture(convert_plain(msg), encoding)


@pytest.mark.parametrize('width, height', [(3, 3), (5, 3), (3, 5), (7, 7)])
@pytest.mark.parametrize('encoding', sorted(
    set(ALL) - {'uyvy', 'yuv422', 'yuyv', 'yuv422_yuy2', 'nv12', 'nv21'}))
def test_odd_sizes(encoding: str, width: int, height: int) -> None:
    rgb = np.full((height, width, 3), 77, np.uint8)
    converted = convert_plain(message(encoding, rgb, padding=3))
    assert converted.shape == rgb.shape
    np.testing.assert_allclose(converted, 77, atol=1)


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', 'mono16', 'nv24'])
def test_a_single_pixel(encoding: str) -> None:
    rgb = np.full((1, 1, 3), 77, np.uint8)
    np.testing.assert_allclose(convert_plain(message(encoding, rgb)), rgb, atol=1)


# Colour bars of ITU-R BT.601 at full amplitude: (R, G, B), (Y, U, V).
BARS = {
    'black': ((0, 0, 0), (16, 128, 128)),
    'white': ((255, 255, 255), (235, 128, 128)),
    'red': ((255, 0, 0), (81, 90, 240)),
    'green': ((0, 255, 0), (145, 54, 34)),
    'blue': ((0, 0, 255), (41, 240, 110)),
    'yellow': ((255, 255, 0), (210, 16, 146)),
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


@pytest.mark.parametrize('colour', BARS)
@pytest.mark.parametrize('encoding', BYTES_OF_2X2_PIXELS)
def test_yuv_colour_bars(encoding: str, colour: str) -> None:
    rgb, samples = BARS[colour]
    order = BYTES_OF_2X2_PIXELS[encoding]
    data = bytes(samples['yuv'.index(name)] for name in order)
    step = 4 if len(order) == 8 else 2
    msg = Image(height=2, width=2, encoding=encoding, step=step, data=array.array('B', data))
    np.testing.assert_allclose(convert_plain(msg), np.full((2, 2, 3), rgb), atol=2)


def test_luma_outside_the_limited_range_is_clipped() -> None:
    for encoding, order in BYTES_OF_2X2_PIXELS.items():
        for luma, expected in ((0, 0), (255, 255)):
            data = array.array('B', [luma if name == 'y' else 128 for name in order])
            msg = Image(height=2, width=2, encoding=encoding, step=len(order) // 2, data=data)
            if 'nv' in encoding:
                msg.step = 2
            np.testing.assert_array_equal(convert_plain(msg), expected)


def test_sixteen_bits_are_rounded_to_eight() -> None:
    samples = np.arange(0, 65536, dtype='<u2').reshape(256, 256)
    data = array.array('B', samples.tobytes())
    msg = Image(height=256, width=256, encoding='mono16', step=512, data=data)
    expected = np.rint(samples / 257)
    np.testing.assert_array_equal(convert_plain(msg)[:, :, 1], expected)


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', '8UC3'])
def test_what_needs_no_conversion_is_a_read_only_view_of_the_message(encoding: str) -> None:
    msg = message(encoding, padding=5)
    rgb = convert_plain(msg)
    assert np.shares_memory(rgb, np.frombuffer(msg.data, np.uint8))
    assert not rgb.flags.writeable


@pytest.mark.parametrize('encoding', sorted(set(ALL) - {'rgb8', 'bgr8', '8UC3'}))
def test_other_encodings_are_copied(encoding: str) -> None:
    msg = message(encoding)
    rgb = convert_plain(msg)
    assert not np.shares_memory(rgb, np.frombuffer(msg.data, np.uint8))
    assert rgb.flags.writeable


def changed(encoding: str, /, **fields: object) -> Image:
    msg = message(encoding)
    for name, value in fields.items():
        setattr(msg, name, value)
    return msg


@pytest.mark.parametrize('msg, words', [
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
    (changed('mono16', encoding='16UC1'), 'depth image.*mono16'),
    (changed('mono16', encoding='32FC1'), 'depth image'),
    (changed('rgb8', encoding=''), "'' is not known; known are: rgb8, "),
    (changed('rgb8', encoding='RGB8'), "'RGB8' is not known"),
    (changed('rgb8', encoding='8UC2'), "'8UC2' is not known"),
])
def test_malformed_messages_are_refused_in_plain_words(msg: Image, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        convert_plain(msg)
    with pytest.raises(ImageError, match=words):
        convert_with_cv_bridge(StandInBridge(RuntimeError()), msg)
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
        rgb = convert_plain(msg)
    except ImageError:
        return
    assert rgb.shape == (height, width, 3) and rgb.dtype == np.uint8


@pytest.mark.parametrize('encoding', IN_CV_BRIDGE)
def test_cv_bridge_is_used_where_it_is_right(encoding: str, bridge: StandInBridge) -> None:
    assert to_rgb(message(encoding)) is bridge.answer
    assert bridge.encodings == [encoding]


@pytest.mark.parametrize('msg', [
    *(message(encoding) for encoding in sorted(set(ALL) - set(IN_CV_BRIDGE))),
    message('bgra8', padding=1),
    message('bgra16', padding=4),
    message('rgb16', padding=4, big_endian=1),
    message('mono16', big_endian=255),
], ids=lambda msg: f'{msg.encoding}-{msg.step}-{msg.is_bigendian}')
def test_cv_bridge_is_passed_by_where_it_is_wrong(msg: Image, bridge: StandInBridge) -> None:
    assert_is_picture(to_rgb(msg), msg.encoding)
    assert not bridge.encodings


def test_cv_bridge_is_passed_by_when_the_last_row_lacks_its_padding(bridge: StandInBridge) -> None:
    msg = message('mono8', padding=6)
    assert suits_cv_bridge(msg)
    msg.data = msg.data[:-6]
    assert not suits_cv_bridge(msg)
    assert_is_picture(image_to_rgb(msg), 'mono8')


@pytest.mark.parametrize('error', [
    TypeError('CvBridgeError'), ValueError('shape'), RuntimeError('colour'), cv2.error('code'),
])
def test_cv_bridge_errors_become_image_errors(error: Exception) -> None:
    with pytest.raises(ImageError, match="cv_bridge cannot convert A 12x8 .*'bgra8'") as caught:
        convert_with_cv_bridge(StandInBridge(error), message('bgra8'))
    assert caught.value.__cause__ is error


class Module:
    """Stand in for the module cv_bridge with both its halves."""

    CvBridge = functools.partial(StandInBridge, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    getCvType = None


def test_cv_bridge_is_loaded(import_cv_bridge: Callable[[object, str], None]) -> None:
    import_cv_bridge(Module, '1.26.4')
    assert isinstance(conversions._cv_bridge(), StandInBridge)


@pytest.mark.parametrize('module, numpy_version', [
    (None, '1.26.4'),
    (object(), '1.26.4'),
    (Module, '2.0.0'),
], ids=['not installed', 'without its compiled half', 'under NumPy 2'])
def test_cv_bridge_is_not_loaded_where_it_does_not_work(
    module: object, numpy_version: str, import_cv_bridge: Callable[[object, str], None],
) -> None:
    import_cv_bridge(module, numpy_version)
    assert conversions._cv_bridge() is None
    assert_is_picture(image_to_rgb(message('bgra8')), 'bgra8')


def test_cv_bridge_and_the_plain_converter_agree() -> None:
    bridge = conversions._cv_bridge()
    if bridge is None:
        pytest.skip('cv_bridge is not installed, or not safe to use with this NumPy.')
    for encoding, padding, big_endian in itertools.product(IN_CV_BRIDGE, (0, 24), (0, 1)):
        msg = message(encoding, padding=padding, big_endian=big_endian)
        assert suits_cv_bridge(msg)
        theirs = convert_with_cv_bridge(bridge, msg)
        tolerance = 1 if 'bayer' in encoding and '16' in encoding else 0
        np.testing.assert_allclose(
            convert_plain(msg), theirs.astype(int), atol=tolerance, err_msg=encoding)


def compressed(image: np.ndarray, format_field: str, extension: str) -> CompressedImage:
    """Compress an image in OpenCV's order: grey or BGR."""
    data = cv2.imencode(extension, image)[1].tobytes()
    return CompressedImage(format=format_field, data=array.array('B', data))


@pytest.mark.parametrize('format_field', [
    '', 'png', 'jpeg', 'rgb8; png compressed bgr8', 'bgr8; png compressed bgr8', 'rgb8'])
def test_compressed(format_field: str) -> None:
    msg = compressed(noise()[:, :, ::-1], format_field, '.png')
    np.testing.assert_array_equal(compressed_to_rgb(msg), noise())
    np.testing.assert_array_equal(to_rgb(msg), noise())


def test_compressed_jpeg() -> None:
    msg = compressed(np.full((HEIGHT, WIDTH, 3), (30, 60, 200), np.uint8), 'jpeg', '.jpg')
    rgb = np.full((HEIGHT, WIDTH, 3), (200, 60, 30), np.uint8)
    np.testing.assert_allclose(to_rgb(msg), rgb, atol=3)


def test_compressed_grey() -> None:
    msg = compressed(grey_noise()[:, :, 0], 'mono8; png compressed ', '.png')
    np.testing.assert_array_equal(to_rgb(msg), grey_noise())


@pytest.mark.parametrize('format_field', [
    'rgb8; png compressed rgb8', 'bgr8; png compressed rgb8', 'rgb16; png compressed rgb16'])
def test_compressed_from_rgb_has_its_colours_turned_back(format_field: str) -> None:
    np.testing.assert_array_equal(to_rgb(compressed(noise(), format_field, '.png')), noise())


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_compressed_mosaic(pattern: str, bits: int) -> None:
    encoding = f'bayer_{pattern}{bits}'
    samples = mosaic(pattern)(slopes() if bits == 8 else slopes() * np.uint16(257))[0][0]
    msg = compressed(samples, f'{encoding}; png compressed ', '.png')
    assert_is_picture(to_rgb(msg), encoding)


def test_compressed_mosaic_that_was_made_grey_stays_grey() -> None:
    msg = compressed(grey_noise()[:, :, 0], 'bayer_rggb8; jpeg compressed mono8', '.png')
    np.testing.assert_array_equal(to_rgb(msg), grey_noise())


@pytest.mark.parametrize('format_field, image, words', [
    ('16UC1; png compressed ', np.zeros((8, 8), np.uint16), 'depth image'),
    ('32FC1; compressedDepth png', np.zeros((8, 8), np.uint16), 'depth image'),
    ('; compressedDepth png', np.zeros((8, 8), np.uint16), 'depth image'),
    ('bayer_rggb8; png compressed ', np.zeros((2, 8), np.uint8), "8x2 PNG .*'bayer_rggb8'"),
])
def test_compressed_refuses(format_field: str, image: np.ndarray, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        to_rgb(compressed(image, format_field, '.png'))


@pytest.mark.parametrize('data', [b'', b'\xff\xd8\xff', bytes(12) + b'\x89PNG\r\n\x1a\n'])
def test_compressed_refuses_junk(data: bytes) -> None:
    with pytest.raises(ImageError):
        to_rgb(CompressedImage(format='jpeg', data=array.array('B', data)))
