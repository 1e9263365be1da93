# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
import struct
import zlib

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pictures import chunk, ramp, segment
import numpy as np
import pytest
from vlm_npu_ros.engine import image_files
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.image_files import decode_image


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


def jpeg(rgb: np.ndarray) -> bytes:
    flags = [cv2.IMWRITE_JPEG_QUALITY, 95]
    return cv2.imencode('.jpg', rgb[:, :, ::-1], flags)[1].tobytes()


def exif_rotated(data: bytes) -> bytes:
    """Insert an EXIF segment that asks for a quarter turn, and holds an end marker of its own."""
    entry = struct.pack('>HHIHH', 0x0112, 3, 1, 6, 0)
    tiff = b'MM\0*' + struct.pack('>IH', 8, 1) + entry + struct.pack('>I', 0) + b'\xff\xd9'
    segment = b'Exif\0\0' + tiff
    return data[:2] + b'\xff\xe1' + struct.pack('>H', len(segment) + 2) + segment + data[2:]


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


def test_deep_samples_are_kept_where_they_are_asked_for() -> None:
    samples = np.arange(20 * 30 * 3, dtype=np.uint16).reshape(20, 30, 3) * 30
    np.testing.assert_array_equal(decode_image(png(samples, 2), any_depth=True), samples)
    assert decode_image(png(samples, 2)).dtype == np.uint8
    assert decode_image(jpeg(ramp(30, 20)), any_depth=True).dtype == np.uint8


def test_decode_turns_a_photograph_only_when_asked() -> None:
    rgb = ramp(40, 20)
    upright = decode_image(jpeg(rgb))
    np.testing.assert_array_equal(decode_image(exif_rotated(jpeg(rgb))), upright)
    np.testing.assert_array_equal(
        decode_image(exif_rotated(jpeg(rgb)), photograph=True), np.rot90(upright, -1))


def test_a_photograph_is_turned_wherever_its_tag_stands() -> None:
    turned = exif_rotated(jpeg(ramp(40, 20)))
    expected = decode_image(turned, photograph=True)
    assert expected.shape == (40, 20, 3)
    for before in (
        segment(0xe1, b'http://ns.adobe.com/xap/1.0/\0<x/>'),
        segment(0xe2, b'ICC_PROFILE\0' + bytes(60_000)) * 3,
        segment(0xfe, b'\xff\xd9\xff\xda') * 200,
    ):
        data = turned[:2] + before + turned[2:]
        np.testing.assert_array_equal(decode_image(data, photograph=True), expected)


def test_a_photograph_that_has_a_damaged_tag_stays_as_it_is() -> None:
    upright = decode_image(jpeg(ramp(40, 20)))
    data = exif_rotated(jpeg(ramp(40, 20)))
    start = data.index(b'MM\0*')
    for at, damage in ((4, b'\xff\xff\xff\xff'), (8, b'\0\0'), (14, b'\xff\xff\xff\xff')):
        damaged = data[:start + at] + damage + data[start + at + len(damage):]
        np.testing.assert_array_equal(decode_image(damaged, photograph=True), upright)


def test_what_is_transparent_shows_white() -> None:
    ink = np.zeros((8, 6, 4), np.uint8)
    ink[2:4, :, 3] = 255
    ink[4:6, :, 3] = 128
    seen = decode_image(png(ink, 6), photograph=True)
    assert (seen[:2] == 255).all() and not seen[2:4].any() and (seen[4:6] == 127).all()
    assert not decode_image(png(ink, 6)).any()  # a camera's alpha channel means nothing


def test_a_video_behind_a_photograph_is_no_part_of_it() -> None:
    data = jpeg(ramp(64, 48))
    video = b'\0\0\0\x18ftypmp42' + np.random.default_rng(2).bytes(20_000_000)
    assert video.count(b'\xff\xda') > 100
    np.testing.assert_array_equal(decode_image(data + video), decode_image(data))


def test_a_jpeg_without_its_end_marker_is_whole_if_its_last_row_is_there() -> None:
    progressive = cv2.imencode('.jpg', ramp(64, 48), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1]
    for data in (jpeg(ramp(64, 48)), exif_rotated(jpeg(ramp(64, 48))), progressive.tobytes()):
        for tail in (b'', bytes(1000)):
            np.testing.assert_array_equal(decode_image(data[:-2] + tail), decode_image(data))
            with pytest.raises(ImageError, match='cut short'):
                decode_image(data[:-len(data) // 4] + tail)


def test_a_jpeg_without_its_end_marker_of_one_colour_is_whole() -> None:
    """Its last byte may be zero, and its last rows are as even as what is missing."""
    for colour in itertools.product((0, 70, 200, 255), repeat=3):
        data = jpeg(np.full((48, 64, 3), colour, np.uint8))
        for tail in (b'', bytes(1000)):
            np.testing.assert_array_equal(decode_image(data[:-2] + tail), decode_image(data))


@pytest.mark.parametrize('sides, seen', [((40, 30), (30, 40)), ((41, 30), (15, 21))])
def test_a_photograph_that_is_too_large_is_reduced(
    sides: tuple[int, int], seen: tuple[int, int]
) -> None:
    alpha = np.full((*sides[::-1], 1), 255, np.uint8)
    for data in (jpeg(ramp(*sides)), png(np.dstack([ramp(*sides), alpha]), 6)):
        reduced = decode_image(data, 1200, photograph=True)
        assert abs(np.subtract(reduced.shape[:2], seen)).max() <= 1
        assert reduced[0, 0, 0] < 16 and reduced[-1, -1, 0] > 240
    with pytest.raises(ImageError, match='up to 1200 pixels.*Reduce'):
        decode_image(jpeg(ramp(41, 30)), 1200)


def test_the_first_picture_of_an_animation_is_taken() -> None:
    still = png(ramp(6, 4), 2)
    frame = struct.pack('>5IHHBB', 0, 6, 4, 0, 0, 1, 1, 0, 0)
    animated = (
        still[:33] + chunk(b'acTL', struct.pack('>II', 2, 0)) + chunk(b'fcTL', frame)
        + still[33:-12] + chunk(b'fdAT', bytes(100)) + still[-12:])
    np.testing.assert_array_equal(decode_image(animated), ramp(6, 4))


@pytest.mark.parametrize('begins, words', [
    (b'\0\0\0\x18ftypheix\0\0\0\0mif1heix', 'HEIC, as an iPhone'),
    (b'\0\0\0\x1cftypmif1\0\0\0\0miafMiHBheic', 'HEIC, as an iPhone'),
    (b'\0\0\0\x0cJXL \r\n\x87\n', 'JPEG XL'),
    (b'\xff\x0a\x10\x10', 'JPEG XL'),
    (b'%PDF-1.7\n', 'PDF'),
    (b'<?xml version="1.0"?><svg xmlns="x">', 'SVG'),
    (b'8BPS\0\1', 'Photoshop'),
    (b'\0\0\0\x18ftypcrx \0\0\0\1', 'raw file of a camera'),
])
def test_what_is_not_read_is_named(begins: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=f'{words}.*Convert it to JPEG'):
        decode_image(begins + bytes(500), photograph=True)


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
    last = 70 if data.startswith(b'\xff\xd8') else 8  # a JPEG may lack some of its last corner
    for length in range(8, len(data) - last, 7):
        with pytest.raises(ImageError, match='cut short'):
            decode_image(data[:length])


def test_headers_made_to_cost_time_or_to_fail_are_refused() -> None:
    grey = png(np.zeros((4, 4, 1), np.uint8), 0)
    clear = chunk(b'tRNS', b'\0\0')
    for data, words in (
        (grey[:24] + b'\0' + grey[25:33] + clear + grey[33:], 'PNG'),  # a depth of 0 bits
        (b'P6 ' + 5000 * b'1' + b' 1 255\n', 'PNM'),
        (b'\xff\xd8' + 20_000 * b'\xff\xfe\0\2', 'more than 10000 segments'),
    ):
        with pytest.raises(ImageError, match=words):
            decode_image(data, photograph=True)
    once, often = (grey[:33] + n * clear + grey[33:] for n in (1, 20_000))
    np.testing.assert_array_equal(
        decode_image(often, photograph=True), decode_image(once, photograph=True)
    )


def test_decode_accepts_what_a_camera_leaves_after_the_end() -> None:
    data = jpeg(ramp(64, 48))
    np.testing.assert_array_equal(decode_image(data + bytes(500)), decode_image(data))


def test_decode_skips_fill_bytes_and_junk_between_jpeg_segments() -> None:
    data = jpeg(ramp(64, 48))
    comment, arithmetic_conditioning = b'\xff\xfe\x00\x04hi', b'\xff\xcc\x00\x04\x00\x10'
    padded = data[:2] + b'\xff\xff' + comment + b'junk' + arithmetic_conditioning + data[2:]
    np.testing.assert_array_equal(decode_image(padded), decode_image(data))


def test_decode_reads_the_size_before_it_unpacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files.cv2, 'imdecode', None)
    small = png(np.zeros((2, 2, 3), np.uint8), 2)
    bomb = small[:16] + struct.pack('>II', 60000, 60000) + small[24:]
    with pytest.raises(ImageError, match='60000x60000'):
        decode_image(bomb)
    with pytest.raises(ImageError, match='64x48'):
        decode_image(jpeg(ramp(64, 48)), max_pixels=64 * 48 - 1)


def test_decode_refuses_an_image_without_pixels() -> None:
    with pytest.raises(ImageError, match='4x0'):
        decode_image(png(np.zeros((0, 4, 3), np.uint8), 2))


def test_decode_takes_a_single_pixel() -> None:
    assert decode_image(png(np.full((1, 1, 3), (7, 8, 9), np.uint8), 2)).tolist() == [[[7, 8, 9]]]


def test_decode_takes_the_largest_size_that_is_allowed() -> None:
    assert decode_image(jpeg(ramp(64, 48)), max_pixels=64 * 48).shape == (48, 64, 3)


def test_decode_turns_opencv_errors_into_image_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise cv2.error('size limit')

    monkeypatch.setattr(image_files.cv2, 'imdecode', refuse)
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
