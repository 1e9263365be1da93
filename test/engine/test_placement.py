# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from vlm_npu_ros.engine import placement
from vlm_npu_ros.engine.errors import RequestError
from vlm_npu_ros.engine.images import letterbox, turn
from vlm_npu_ros.engine.placement import Box, Placement, Region

SIDES = st.integers(1, 90)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[int, int, Box]:
    """Draw the size of a picture, and a box within it."""
    width, height = draw(SIDES), draw(SIDES)
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return width, height, Box(
        x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y))
    )


@given(boxes(), st.sampled_from([0, 90, 180, 270]), st.integers(1, 4), st.data())
def test_a_pixel_is_where_the_model_sees_it(
    drawn: tuple[int, int, Box], degrees: int, zoom: int, data: st.DataObject
) -> None:
    """Mark a pixel, fit the picture into a square, and find the pixel again, and the way back."""
    width, height, box = drawn
    x = data.draw(st.integers(box.x, box.x + box.width - 1))
    y = data.draw(st.integers(box.y, box.y + box.height - 1))
    picture = np.full((height, width, 3), 128, np.uint8)
    picture[y, x] = 255
    size = max(box.width, box.height) * zoom
    square = letterbox(turn(box.cut(picture), degrees), size)
    placed = Placement(box, degrees)
    u, v = placed.to_model(x + 0.5, y + 0.5)
    assert square[int(v * size), int(u * size), 0] > 180
    assert placed.to_picture(u, v) == pytest.approx((x + 0.5, y + 0.5))
    rows, columns = np.nonzero(square[:, :, 0] == square[:, :, 0].max())
    seen = ((columns.mean() + 0.5) / size, (rows.mean() + 0.5) / size)
    assert placed.to_picture(*seen) == pytest.approx((x + 0.5, y + 0.5), abs=0.5)
    plain = Placement(box, degrees, padded=False)
    assert plain.to_picture(*plain.to_model(x, y)) == pytest.approx((x, y))
    turned = turn(box.cut(picture), degrees)
    u, v = plain.to_model(x + 0.5, y + 0.5)
    assert turned[int(v * turned.shape[0]), int(u * turned.shape[1]), 0] == 255


def test_regions_become_pixels() -> None:
    for region, expected in (
        (Region(0, 0, 640, 480), Box(0, 0, 640, 480)),
        (Region(600, 400, 100, 100), Box(600, 400, 40, 80)),
        (Region(639, 479, 1, 1), Box(639, 479, 1, 1)),
        (Region(0.5, 0, 0.5, 0.25, relative=True), Box(320, 0, 320, 120)),
        (Region(0.1, 0.1, 0.001, 0.001, relative=True), Box(64, 48, 1, 1)),
        (Region(0, 0, 1, 1, relative=True), Box(0, 0, 640, 480)),
    ):
        assert region.box(640, 480) == expected, region
    for outside in (Region(640, 0, 5, 5), Region(0, 480, 5, 5), Region(-1, 0, 5, 5),
                    Region(1, 0, 0.1, 1, relative=True)):
        with pytest.raises(RequestError, match='not within the picture of 640x480 pixels'):
            outside.box(640, 480)


def test_examples() -> None:
    assert doctest.testmod(placement).failed == 0
