# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import cv2
from made_pictures import ramp
import numpy as np
import pytest
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.images import letterbox, normalise, resize, turn


def padded_then_resized(rgb: np.ndarray, size: int) -> np.ndarray:
    """Fit an image into a square in the order of Rockchip's demo."""
    height, width = rgb.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((side, side, 3), 128, np.uint8)
    square[top:top + height, left:left + width] = rgb
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)


def test_letterbox_gives_the_pixels_of_pad_then_resize() -> None:
    rng = np.random.default_rng(5)
    sizes = [(1920, 1080), (1080, 1920), (1024, 640), (641, 481), (1919, 1079), (1, 900), (900, 2)]
    sizes += [tuple(rng.integers(1, 700, 2)) for _ in range(200)]
    for width, height in sizes:
        rgb = rng.integers(0, 256, (height, width, 3), np.uint8)
        for turned in (rgb, rgb[:, :, ::-1]):
            size = int(rng.choice([5, 224, 384, 392, 448, 511, 896]))
            square = letterbox(turned, size)
            difference = square.astype(int) - padded_then_resized(turned, size)
            assert abs(difference).max() <= 1, (width, height, size)
            assert square.flags.c_contiguous and square.flags.writeable


def test_letterbox_of_a_very_long_image_takes_little_memory() -> None:
    square = letterbox(np.full((2, 60000, 3), 7, np.uint8), 448)  # padded it has 10 GB
    assert (square == 128).all()  # two of 60,000 rows are between those that are looked at


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


def test_turn_is_clockwise_also_of_views_that_turn_the_channels() -> None:
    rgb = ramp(7, 4)
    for degrees in (0, 90, 180, 270):
        wanted = np.rot90(rgb, -degrees // 90)
        np.testing.assert_array_equal(turn(rgb, degrees), wanted)
        view = turn(np.ascontiguousarray(rgb[:, :, ::-1])[:, :, ::-1], degrees)
        np.testing.assert_array_equal(view, wanted)
        np.testing.assert_array_equal(resize(view, (5, 5), cv2.INTER_AREA),
                                      resize(wanted.copy(), (5, 5), cv2.INTER_AREA))
