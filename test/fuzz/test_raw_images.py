# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Raw camera messages of every encoding, size, step and length."""

from __future__ import annotations

import array
import functools
import subprocess
import sys

from fuzz.fuzzing import examples, FULL, Outcomes, Peak, ROOM
from fuzz.pictures import ANY_TEXT, RANDOM, take
from hypothesis import given
from hypothesis import strategies as st
import pytest
from sensor_msgs.msg import Image

LARGE_SIDE = 8192 if FULL else 2048

# Name: bytes of a pixel in a row, rows in the data for each row of the picture.
LAYOUTS = {
    **{
        f'{name}{bits}': (samples * bits // 8, 1.0)
        for bits in (8, 16)
        for name, samples in {
            'rgb': 3, 'bgr': 3, 'rgba': 4, 'bgra': 4, 'mono': 1, 'bayer_rggb': 1,
            'bayer_bggr': 1, 'bayer_gbrg': 1, 'bayer_grbg': 1,
        }.items()
    },
    '8UC1': (1, 1.0), '8UC3': (3, 1.0), '8UC4': (4, 1.0), '16UC3': (6, 1.0), '16UC4': (8, 1.0),
    'uyvy': (2, 1.0), 'yuv422': (2, 1.0), 'yuyv': (2, 1.0), 'yuv422_yuy2': (2, 1.0),
    'nv12': (1, 1.5), 'nv21': (1, 1.5), 'nv24': (1, 3.0),
}
NO_PICTURES = [
    '16UC1', '32FC1', '', 'RGB8', ' rgb8', 'rgb', 'yuv420', 'i420', '8SC3', '64FC4', 'jpeg',
    'x' * 10_000,
]
ENCODINGS = st.sampled_from([*LAYOUTS, *LAYOUTS, *NO_PICTURES, None]).flatmap(
    lambda name: ANY_TEXT if name is None else st.just(name)
)
UINT32 = st.integers(0, 2**32 - 1)
SIDES = st.sampled_from([
    *4 * [st.integers(2, 20).map(lambda half: 2 * half)],
    st.integers(0, 40),
    st.integers(0, 8192),
    st.sampled_from([0, 1, 2, 3, 4, 8191, 8192, 2**16, 2**31, 2**32 - 1]),
]).flatmap(lambda sides: sides)


@st.composite
def raw_images(draw: st.DrawFn) -> Image:
    encoding, width, height = draw(ENCODINGS), draw(SIDES), draw(SIDES)
    pixel, rows = LAYOUTS.get(encoding, (1, 1.0))
    row = pixel * width
    steps = [row] * 6 + [row - 1, row + 1, row + 64, 2 * row, 0, 2**32 - 1, draw(UINT32)]
    step = min(max(draw(st.sampled_from(steps)), 0), 2**32 - 1)
    whole = int(step * height * rows)
    lengths = [whole] * 6 + [whole - 1, whole + 9, whole // 2, 0, draw(st.integers(0, 9999))]
    length = draw(st.sampled_from(lengths))
    start = draw(st.integers(0, 99))
    return Image(
        encoding=encoding, width=width, height=height, step=step,
        is_bigendian=draw(st.sampled_from([0, 1, 255])),
        data=array.array('B', RANDOM[start:start + max(length, 0)]),
    )


def test_raw_images_are_converted_or_refused(outcomes: Outcomes, peak_of: Peak) -> None:
    @examples(300, 10_000)
    @given(raw_images())
    def convert(msg: Image) -> None:
        if take(msg, outcomes['raw images']):
            pixel, rows = LAYOUTS[msg.encoding]
            assert len(msg.data) >= (int(rows * msg.height) - 1) * msg.step + pixel * msg.width

    assert peak_of(convert) < ROOM


def test_large_images_are_converted_within_bounds(outcomes: Outcomes, peak_of: Peak) -> None:
    side = LARGE_SIDE
    counts = outcomes[f'raw images of {side} x {side}']
    for encoding, (pixel, rows) in LAYOUTS.items():
        step = side * pixel
        data = array.array('B', b'\x55') * int(side * step * rows)
        msg = Image(encoding=encoding, width=side, height=side, step=step, data=data)
        # The picture, and its samples or channels once more on the way there.
        most = (3 + max(pixel, 3)) * side**2 / 2**20 + 20
        peak = peak_of(functools.partial(take, msg, counts))
        assert counts['converted'] and counts.total() == counts['converted'], encoding
        assert peak < most, encoding


SHORT_OF_MEMORY = """
import array, resource
from sensor_msgs.msg import Image
from vlm_npu_ros.engine.conversions import to_rgb
from vlm_npu_ros.engine.errors import ImageError
msg = Image(encoding='{}', width=8192, height=8192, step={}, data=array.array('B', bytes({})))
used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**25, used + 2**25))
try:
    to_rgb(msg)
except ImageError as error:
    print('refused:', error)
"""


@pytest.mark.parametrize('encoding', ['bgra8', 'mono16', 'nv24'])
def test_image_for_which_there_is_no_memory_is_refused(encoding: str) -> None:
    pixel, rows = LAYOUTS[encoding]
    step = 8192 * pixel
    program = SHORT_OF_MEMORY.format(encoding, step, int(8192 * rows) * step)
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.stdout.startswith('refused:'), done
