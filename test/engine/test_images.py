from __future__ import annotations

import struct
import zlib

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from vlm_npu_ros.engine import images
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.images import decode_image, letterbox, normalise, resize


def ramp(width: int, height: int) -> np.ndarray:
    """Return an image whose red rises from left to right and whose green from top to bottom."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:, :, 0] = np.linspace(0, 255, width)
    rgb[:, :, 1] = np.linspace(0, 255, height)[:, np.newaxis]
    return rgb


def padded_then_resized(rgb: np.ndarray, size: int) -> np.ndarray:
    """Fit an image into a square in the order of Rockchip's demo."""
    height, width = rgb.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((side, side, 3), 128, np.uint8)
    square[top:top + height, left:left + width] = rgb
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)


def png(samples: np.ndarray, colour_type: int) -> bytes:
    """Write a PNG of (height, width, channels) uint8 or uint16 samples without any filter."""
    height, width = samples.shape[:2]
    depth = 8 * samples.dtype.itemsize
    rows = samples.astype(samples.dtype.newbyteorder('>'))
    pixels = b''.join(b'\0' + row.tobytes() for row in rows)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colour_type, 0, 0, 0))
        + chunk(b'IDAT', zlib.compress(pixels))
        + chunk(b'IEND', b'')
    )


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def jpeg(rgb: np.ndarray) -> bytes:
    flags = [cv2.IMWRITE_JPEG_QUALITY, 95]
    return cv2.imencode('.jpg', rgb[:, :, ::-1], flags)[1].tobytes()


def exif_rotated(data: bytes) -> bytes:
    """Insert an EXIF segment that asks for a quarter turn, and holds an end marker of its own."""
    entry = struct.pack('>HHIHH', 0x0112, 3, 1, 6, 0)
    tiff = b'MM\0*' + struct.pack('>IH', 8, 1) + entry + struct.pack('>I', 0) + b'\xff\xd9'
    segment = b'Exif\0\0' + tiff
    return data[:2] + b'\xff\xe1' + struct.pack('>H', len(segment) + 2) + segment + data[2:]


@pytest.mark.parametrize('width, height, size, box', [
    (640, 480, 448, (0, 56, 448, 392)),
    (480, 640, 448, (56, 0, 392, 448)),
    (1920, 1080, 392, (0, 86, 392, 306)),
    (448, 448, 448, (0, 0, 448, 448)),
    (100, 100, 448, (0, 0, 448, 448)),
    (1, 1, 5, (0, 0, 5, 5)),
    (1, 1000, 448, (223, 0, 225, 448)),
    (1, 1000, 449, (224, 0, 225, 449)),
    (100000, 2, 448, (0, 223, 448, 225)),
])
def test_letterbox_is_centred_and_padded_with_128(
    width: int, height: int, size: int, box: tuple[int, int, int, int],
) -> None:
    square = letterbox(np.full((height, width, 3), 7, np.uint8), size)
    left, top, right, bottom = box
    expected = np.full((size, size, 3), 128, np.uint8)
    expected[top:bottom, left:right] = 7
    np.testing.assert_array_equal(square, expected)
    assert square.flags.c_contiguous and square.flags.writeable and square.dtype == np.uint8


@pytest.mark.parametrize('size', [384, 392, 448, 511, 896])
@pytest.mark.parametrize('width, height', [(1920, 1080), (640, 480), (481, 641), (333, 100)])
def test_letterbox_has_the_geometry_of_pad_then_resize(width: int, height: int, size: int) -> None:
    rgb = ramp(width, height)
    scale = size / max(width, height)
    difference = letterbox(rgb, size).astype(float) - padded_then_resized(rgb, size)
    top, left = (round((size - side * scale) / 2) + 2 for side in (height, width))
    inner = difference[top:size - top, left:size - left]
    for axis, channel, side in ((1, 0, width), (0, 1, height)):
        grey_per_pixel = 255 / (side * scale)
        for strip in np.array_split(inner[:, :, channel], 8, axis):
            # The mean of many pixels, for one pixel's value is rounded more coarsely than this.
            assert abs(strip.mean()) / grey_per_pixel <= 0.5 + 0.5 * scale + 0.1


def test_letterbox_keeps_an_image_of_the_right_size_but_copies_it() -> None:
    rgb = ramp(64, 64)
    square = letterbox(rgb, 64)
    np.testing.assert_array_equal(square, rgb)
    assert not np.shares_memory(square, rgb)


def test_letterbox_takes_read_only_views_with_gaps_and_turned_channels() -> None:
    rgb = ramp(80, 60)
    view = rgb[::2, 5:45, ::-1]
    view.flags.writeable = False
    np.testing.assert_array_equal(letterbox(view, 40), letterbox(view.copy(), 40))


@pytest.mark.parametrize('rgb', [
    np.zeros((0, 4, 3), np.uint8),
    np.zeros((4, 0, 3), np.uint8),
    np.zeros((4, 4), np.uint8),
    np.zeros((4, 4, 4), np.uint8),
    np.zeros((1, 4, 4, 3), np.uint8),
    np.zeros((4, 4, 3), np.float32),
    np.zeros((4, 4, 3), np.int8),
])
def test_letterbox_refuses_what_is_no_rgb_image(rgb: np.ndarray) -> None:
    with pytest.raises(ImageError):
        letterbox(rgb, 16)


@pytest.mark.parametrize('size', [(20, 12), (60, 90)])
@pytest.mark.parametrize('interpolation', [cv2.INTER_LINEAR, cv2.INTER_AREA])
def test_resize_takes_a_view_of_bgr(size: tuple[int, int], interpolation: int) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (36, 50, 3), np.uint8)
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    expected = cv2.resize(rgb, size, interpolation=interpolation)
    np.testing.assert_array_equal(resize(bgr[:, :, ::-1], size, interpolation), expected)
    np.testing.assert_array_equal(resize(rgb, size, interpolation), expected)
    wide = np.zeros((size[1], size[0] + 7, 3), np.uint8)
    resize(bgr[:, :, ::-1], size, interpolation, wide[:, 3:-4])
    np.testing.assert_array_equal(wide[:, 3:-4], expected)
    assert not wide[:, :3].any() and not wide[:, -4:].any()


def test_normalise_scales_each_channel_by_its_own_mean_and_std() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    pixels = normalise(rgb, mean, std)
    assert pixels.dtype == np.float32 and pixels.flags.c_contiguous
    np.testing.assert_allclose(pixels, (rgb / 255 - mean) / std, atol=1e-6)


def test_decode_jpeg() -> None:
    rgb = ramp(120, 90)
    decoded = decode_image(jpeg(rgb))
    assert decoded.shape == rgb.shape and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - rgb).max() <= 12
    np.testing.assert_array_equal(decode_image(np.frombuffer(jpeg(rgb), np.uint8)), decoded)


@pytest.mark.parametrize('channels, colour_type', [(1, 0), (2, 4), (3, 2), (4, 6)])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_decode_png(channels: int, colour_type: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    samples = rng.integers(0, np.iinfo(dtype).max + 1, (7, 5, channels), dtype)
    decoded = decode_image(png(samples, colour_type))
    colours = samples[:, :, :3 if channels >= 3 else 1] / np.iinfo(dtype).max * 255
    expected = np.broadcast_to(colours, (7, 5, 3))
    assert decoded.shape == (7, 5, 3) and decoded.dtype == np.uint8
    assert np.abs(decoded - expected).max() <= (0 if dtype is np.uint8 else 1)


def test_decode_turns_a_photograph_only_when_asked() -> None:
    rgb = ramp(40, 20)
    upright = decode_image(jpeg(rgb))
    np.testing.assert_array_equal(decode_image(exif_rotated(jpeg(rgb))), upright)
    np.testing.assert_array_equal(
        decode_image(exif_rotated(jpeg(rgb)), apply_orientation=True), np.rot90(upright, -1))


@pytest.mark.parametrize('data', [
    b'',
    b'\xff',
    b'\xff\xd8\xff',
    b'\xff\xd8\xff\xd9',
    b'\xff\xd8\xff\xe0\x00',
    b'\xff\xd8' + b'\xff\xe0\x00\x02' * 3 + b'\xff\xd9',
    b'\xff\xd8' + b'\xff\xe0\x00\x00' * 3 + b'\xff\xd9',
    b'\x89PNG\r\n\x1a\n',
    b'\x89PNG\r\n\x1a\n' + chunk(b'tEXt', b'no header here at all') + chunk(b'IEND', b''),
    b'GIF89a' + bytes(100),
    b'BM' + bytes(100),
    bytes(1000),
    png(np.zeros((4, 4, 3), np.uint8), 5),
])
def test_decode_refuses_junk(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode_image(data)


@pytest.mark.parametrize('data', [
    jpeg(ramp(64, 48)),
    exif_rotated(jpeg(ramp(64, 48))),
    png(ramp(64, 48), 2),
], ids=['jpeg', 'exif', 'png'])
def test_decode_refuses_every_truncation(data: bytes) -> None:
    for length in range(8, len(data) - 8, 7):
        with pytest.raises(ImageError, match='cut short'):
            decode_image(data[:length])


def test_decode_accepts_what_a_camera_leaves_after_the_end() -> None:
    data = jpeg(ramp(64, 48))
    np.testing.assert_array_equal(decode_image(data + bytes(500)), decode_image(data))


def test_decode_skips_fill_bytes_and_junk_between_jpeg_segments() -> None:
    data = jpeg(ramp(64, 48))
    comment, arithmetic_conditioning = b'\xff\xfe\x00\x04hi', b'\xff\xcc\x00\x04\x00\x10'
    padded = data[:2] + b'\xff\xff' + comment + b'junk' + arithmetic_conditioning + data[2:]
    np.testing.assert_array_equal(decode_image(padded), decode_image(data))


def test_decode_reads_the_size_before_it_unpacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images.cv2, 'imdecode', None)
    small = png(np.zeros((2, 2, 3), np.uint8), 2)
    bomb = small[:16] + struct.pack('>II', 60000, 60000) + small[24:]
    with pytest.raises(ImageError, match='60000x60000'):
        decode_image(bomb)
    with pytest.raises(ImageError, match='64x48'):
        decode_image(jpeg(ramp(64, 48)), max_pixels=64 * 48 - 1)


def test_decode_refuses_an_image_without_pixels() -> None:
    with pytest.raises(ImageError, match='4x0'):
        decode_image(png(np.zeros((0, 4, 3), np.uint8), 2))


def test_decode_takes_the_largest_size_that_is_allowed() -> None:
    assert decode_image(jpeg(ramp(64, 48)), max_pixels=64 * 48).shape == (48, 64, 3)


def test_decode_turns_opencv_errors_into_image_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise cv2.error('size limit')

    monkeypatch.setattr(images.cv2, 'imdecode', refuse)
    with pytest.raises(ImageError, match='size limit'):
        decode_image(jpeg(ramp(8, 8)))


FILES = [jpeg(ramp(24, 16)), png(ramp(24, 16), 2), b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n', b'']


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(FILES), st.binary(max_size=40), st.integers(0, 1000),
    st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), max_size=4),
)
def test_decode_raises_nothing_but_image_errors(
    file: bytes, tail: bytes, cut: int, changes: list[tuple[int, int]],
) -> None:
    data = bytearray(file[:cut] + tail)
    for position, value in changes:
        if position < len(data):
            data[position] = value
    try:
        rgb = decode_image(bytes(data), max_pixels=1_000_000)
    except ImageError:
        return
    assert rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.dtype == np.uint8
