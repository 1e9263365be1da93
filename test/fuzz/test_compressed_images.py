# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Compressed camera messages: damaged files, wrong formats, bombs."""

from __future__ import annotations

import array
from collections import Counter
from collections.abc import Callable
import struct
import zlib

import cv2
from fuzz.fuzzing import examples, FULL, Outcomes, Peak, ROOM
from fuzz.pictures import ANY_TEXT, RANDOM, take
from hypothesis import given
from hypothesis import strategies as st
from made_pictures import chunk, segment
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage
from vlm_npu_ros.engine.image_files import MAX_PIXELS

LARGE_SIDE = int(MAX_PIXELS ** 0.5) if FULL else 2000


def peak_of_decoding(pixels: int) -> float:
    """Return the MiB of a picture that is decoded, of the same as RGB, and some for the rest."""
    return 6 * pixels / 2**20 + 50


def encoded(extension: str, *flags: int, channels: int = 3, dtype: type = np.uint8) -> bytes:
    picture = np.random.default_rng(1).integers(0, 255, (21, 34, channels)).astype(dtype)
    return cv2.imencode(extension, picture, flags)[1].tobytes()


def head(width: int, height: int) -> bytes:
    return chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))


def png(*chunks: bytes) -> bytes:
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunks) + END


END = chunk(b'IEND', b'')
ANIMATION = chunk(b'acTL', struct.pack('>II', 2, 0))
FRAME = chunk(b'fcTL', struct.pack('>5IHHBB', 0, 6000, 6000, 0, 0, 1, 1, 0, 0))
PIXELS = chunk(b'IDAT', zlib.compress(bytes(4 * 13)))  # of 4 x 4
JPEG, PNG = encoded('.jpg'), encoded('.png')
FILES = [
    JPEG,
    encoded('.jpg', cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    encoded('.jpg', cv2.IMWRITE_JPEG_RST_INTERVAL, 2, channels=1),
    PNG,
    encoded('.png', channels=1),
    encoded('.png', channels=4),
    encoded('.png', dtype=np.uint16),
    encoded('.png', cv2.IMWRITE_PNG_BILEVEL, 1, channels=1),
    png(head(4, 4), ANIMATION, FRAME, PIXELS),
    encoded('.bmp'),
    encoded('.webp'),
    encoded('.tiff'),
    b'',
    b'GIF89a',
    RANDOM[:500],
]
FORMATS = st.sampled_from([
    '', 'jpeg', 'png', 'rgb8; jpeg compressed bgr8', 'bgr8; png compressed bgr8',
    'rgb8; jpeg compressed rgb8', 'bayer_rggb8; png compressed ', 'bayer_gbrg16; png compressed',
    '16UC1; compressedDepth png', '32FC1; png compressed', 'compressedDepth', ';', 'tiff', 'h264',
    'compressedDepth' * 1000,
]) | ANY_TEXT
DECLARED = st.sampled_from([0, 1, 20, 21, 2000, 30_000, 65_500, 2**31 - 1, 2**31, 2**32 - 1])
CHUNKS = st.sampled_from([
    b'tEXt', b'zTXt', b'iCCP', b'eXIf', b'PLTE', b'tRNS', b'acTL', b'fcTL', b'fdAT', b'IHDR',
    b'IDAT', b'IEND',
])


def overwritten(draw: st.DrawFn, data: bytes) -> bytes:
    at, new = draw(st.integers(0, len(data))), draw(st.binary(max_size=8))
    return data[:at] + new + data[at + len(new):]


def inserted(draw: st.DrawFn, data: bytes) -> bytes:
    at, new = draw(st.integers(0, len(data))), draw(st.binary(max_size=8))
    return data[:at] + new * draw(st.sampled_from([1, 1, 50, 20_000])) + data[at:]


def cut(draw: st.DrawFn, data: bytes) -> bytes:
    return data[:draw(st.integers(0, len(data)))]


def doubled(draw: st.DrawFn, data: bytes) -> bytes:
    at, end = draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))
    return data[:end] + data[at:]


def resized(draw: st.DrawFn, data: bytes) -> bytes:
    width, height = draw(DECLARED), draw(DECLARED)
    if data.startswith(b'\xff\xd8'):
        size = max(data.find(b'\xff\xc0'), data.find(b'\xff\xc2')) + 5
        return data[:size] + struct.pack('>HH', height & 0xffff, width & 0xffff) + data[size + 4:]
    return data[:8] + head(width, height) + data[33:]


def with_chunk(draw: st.DrawFn, data: bytes) -> bytes:
    new = chunk(draw(CHUNKS), draw(st.binary(max_size=50)))
    length = draw(st.sampled_from([0, 5, 2**24, 2**31 - 1, 2**31, 2**32 - 1]) | st.none())
    if length is not None:
        new = struct.pack('>I', length) + new[4:]
    return data[:33] + new + data[33:]


DAMAGES = [overwritten, inserted, cut, doubled, resized, with_chunk]


@st.composite
def compressed_images(draw: st.DrawFn) -> CompressedImage:
    data = draw(st.sampled_from(FILES))
    for damage in draw(st.lists(st.sampled_from(DAMAGES), max_size=3)):
        data = damage(draw, data)
    return CompressedImage(format=draw(FORMATS), data=array.array('B', data))


def test_compressed_images_are_converted_or_refused(outcomes: Outcomes, peak_of: Peak) -> None:
    @examples(300, 10_000)
    @given(compressed_images())
    def convert(msg: CompressedImage) -> None:
        take(msg, outcomes['compressed images'])

    assert peak_of(convert) < peak_of_decoding(MAX_PIXELS) + ROOM


def squeezed_zeros(mib: int) -> bytes:
    deflate = zlib.compressobj(9, wbits=-15)
    block = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = ((mib << 20) % 65521) << 16 | 1
    return b'\x78\xda' + block * mib + b'\3\0' + struct.pack('>I', checksum)


def scan_bomb(side: int, scans: int) -> bytes:
    """Return a progressive JPEG whose scans each say, in a few bytes, that nothing changes."""
    blocks = (side // 8) ** 2
    bits = ('0' + 14 * '1') * -(-blocks // 32767)  # the next 32767 blocks are as they were
    bits += '1' * (-len(bits) % 8)
    skip = int(bits, 2).to_bytes(len(bits) // 8, 'big').replace(b'\xff', b'\xff\0')
    one_code = bytes([1, *15 * [0]])
    return b''.join([
        b'\xff\xd8',
        segment(0xdb, b'\0' + bytes([1]) * 64),
        segment(0xc2, struct.pack('>BHHB', 8, side, side, 1) + b'\1\x11\0'),
        segment(0xc4, b'\x00' + one_code + b'\0'),
        segment(0xc4, b'\x10' + one_code + b'\xe0'),
        segment(0xda, b'\1\1\0\0\0\0') + bytes(blocks // 8),
        (segment(0xda, b'\1\1\0\1\x3f\0') + skip) * scans,
        b'\xff\xd9',
    ])


BOMBS: dict[str, Callable[[], bytes]] = {
    'pixels': lambda: png(head(30_000, 30_000), chunk(b'IDAT', squeezed_zeros(2575))),
    'pixels-of-jpeg': lambda: JPEG.replace(b'\x00\x15\x00\x22', b'\xff\xdc\xff\xdc'),
    'length': lambda: PNG[:33] + struct.pack('>I', 2**32 - 1) + b'tEXt' + PNG[33:],
    'length-of-pixels': lambda: PNG.replace(PNG[33:41], struct.pack('>I', 2**31 - 1) + b'IDAT'),
    'length-of-header': lambda: PNG[:8] + struct.pack('>I', 2**31 - 1) + PNG[12:],
    'length-beyond-the-end': lambda: png(head(8, 8)) + struct.pack('>I', 2**32 - 1) + b'IDAT1234',
    'second-header': lambda: png(
        head(8, 8), head(30_000, 30_000), chunk(b'IDAT', squeezed_zeros(100))
    ),
    # OpenCV 4.12 ends the process on it.
    'animation': lambda: png(head(8, 8), ANIMATION, chunk(b'IDAT', b''), chunk(b'tEXt', b'k\0v')),
    'scans': lambda: scan_bomb(7992, 10_000),
    'fill-bytes': lambda: b'\xff\xd8' + b'\xff' * (1 << 20) + b'\0',
    'markers': lambda: b'\xff\xd8\xff' + b'\xff\xd0' * (1 << 20),
    'chunks': lambda: png(head(8, 8), chunk(b'tEXt', b'k\0') * 50_000),
}


@pytest.mark.parametrize('bomb', BOMBS)
def test_bomb_is_refused_before_it_goes_off(bomb: str, peak_of: Peak) -> None:
    msg = CompressedImage(data=array.array('B', BOMBS[bomb]()))
    assert peak_of(lambda: take(msg, Counter()) and pytest.fail('decoded')) < 20


@pytest.mark.parametrize('name', [b'tEXt', b'zTXt', b'iTXt', b'iCCP', b'eXIf', b'abCd'])
def test_huge_remark_takes_little_more_than_itself(name: bytes, peak_of: Peak) -> None:
    squeezed = {b'zTXt': b'k\0\0', b'iTXt': b'k\0\1\0\0\0', b'iCCP': b'k\0\0'}
    data = squeezed[name] + squeezed_zeros(300) if name in squeezed else b'k\0' + bytes(30 << 20)
    msg = CompressedImage(data=array.array('B', png(head(4, 4), chunk(name, data), PIXELS)))
    assert peak_of(lambda: take(msg, Counter())) < 3 * len(msg.data) / 2**20 + 20


@pytest.mark.parametrize('flag', [cv2.IMWRITE_JPEG_QUALITY, cv2.IMWRITE_JPEG_PROGRESSIVE])
def test_large_jpeg_takes_little_more_than_its_picture(flag: int, peak_of: Peak) -> None:
    black = np.zeros((LARGE_SIDE, LARGE_SIDE, 3), np.uint8)
    data = cv2.imencode('.jpg', black, [flag, 1])[1]
    msg = CompressedImage(data=array.array('B', data.tobytes()))
    most = peak_of_decoding(LARGE_SIDE**2)
    assert peak_of(lambda: take(msg, Counter()) or pytest.fail('refused')) < most
