# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The demo's picture."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from picture import draw, Exchange, Page, png
import pytest

FRAME = np.full((48, 64, 3), (10, 200, 30), np.uint8)
RIGHT = Exchange('service', 'What?', 'A ball.', 'A ball.', True, 'frame 0.1 s old')
WRONG = replace(RIGHT, way='action', answer='A box.', right=False)
GREEN, RED = (34, 150, 83), (205, 52, 48)


def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((picture == colour).all(axis=2).sum())


def page(*exchanges: Exchange, frame: np.ndarray = FRAME) -> Page:
    return Page(frame, 'Scene 1: a ball', exchanges)


def test_the_frame_is_shown_as_it_is() -> None:
    picture = draw('Title', 'Subtitle', [page(RIGHT)])
    assert count(picture, (10, 200, 30)) == 600 * 450


@pytest.mark.parametrize('width, height', [(1920, 1080), (48, 640), (640, 48), (1, 1)])
def test_frames_of_any_shape_fit(width: int, height: int) -> None:
    frame = np.zeros((height, width, 3), np.uint8)
    picture = draw('Title', 'Subtitle', [page(RIGHT, frame=frame)])
    assert picture.shape[1] == draw('Title', 'Subtitle', [page(RIGHT)]).shape[1]


def test_right_answers_are_green_and_wrong_ones_red() -> None:
    right, wrong = (draw('', '', [page(exchange)]) for exchange in (RIGHT, WRONG))
    assert count(right, GREEN) > 200 and count(right, RED) == 0
    assert count(wrong, RED) > 200 and count(wrong, GREEN) == 0


@pytest.mark.parametrize('text', [
    '', 'word ' * 200, 'x' * 500, 'où est la boîte ? 箱はどこ', 'a\nb\tc %s {0}',
])
def test_any_text_stays_on_the_card(text: str) -> None:
    odd = Exchange('service', text, text, text, False, 'note')
    picture = draw(text, text, [Page(FRAME, text, (odd, RIGHT))])
    margin = picture[120:, -20:]
    assert (margin == picture[-1, -1]).all()
    bottom = picture[-20:]
    assert (bottom == picture[-1, -1]).all()


def test_pages_are_as_high_as_they_need() -> None:
    one, many = (draw('', '', [page(*[RIGHT] * n)]).shape[0] for n in (1, 20))
    assert many > one
    two_pages = draw('', '', [page(RIGHT), page(RIGHT)]).shape[0]
    assert one < two_pages < 2 * one


def test_png_keeps_the_colours() -> None:
    picture = draw('Title', 'Subtitle', [page(RIGHT, WRONG)])
    decoded = cv2.imdecode(np.frombuffer(png(picture), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[:, :, ::-1], picture)
