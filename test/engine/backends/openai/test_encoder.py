# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Pictures become JPEG files."""

from __future__ import annotations

import numpy as np
import pytest
from vlm_npu_ros.engine.backends.openai.encoder import JpegEncoder, JpegImage
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.image_files import decode_image


def test_large_picture_is_shrunk_with_its_proportions() -> None:
    data = JpegEncoder(768, 85).encode(np.zeros((1080, 1920, 3), np.uint8))
    assert decode_image(data).shape == (432, 768, 3)
    assert JpegImage(data, 0.0).tokens == 28 * 16


def test_small_picture_keeps_its_size() -> None:
    assert decode_image(JpegEncoder(768, 85).encode(np.zeros((48, 64, 3), np.uint8))).shape == (
        48, 64, 3)


def test_thin_picture_keeps_a_pixel() -> None:
    assert decode_image(JpegEncoder(100, 85).encode(np.zeros((1, 5000, 3), np.uint8))).shape == (
        1, 100, 3)


def test_colours_stay() -> None:
    picture = np.full((64, 64, 3), (250, 130, 10), np.uint8)
    seen = decode_image(JpegEncoder(64, 95).encode(picture[:, ::-1]))  # gaps between pixels
    assert np.abs(seen.astype(int) - picture).max() < 6


def test_better_quality_takes_more_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sizes = [JpegImage(JpegEncoder(64, quality).encode(noise), 0.0).nbytes for quality in (30, 95)]
    assert sizes[0] * 2 < sizes[1]


@pytest.mark.parametrize(
    'picture', [np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3))]
)
def test_what_is_no_picture_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(ImageError):
        JpegEncoder(64, 85).encode(picture)
