# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Distances in depth pictures with holes and several surfaces; rays of lenses with distortion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from vlm_npu_ros.engine.locating.distance import distance, Lens, unit

BOX = (20.0, 10.0, 60.0, 50.0)


def picture(value: float = 4.0) -> np.ndarray:
    return np.full((60, 80), value, np.float32)


def test_the_middle_of_the_box_counts() -> None:
    depth = picture(9.0)
    depth[20:40, 30:50] = 2.0
    assert distance(depth, BOX) == pytest.approx(2.0)
    assert distance(depth, (40, 30, 40, 30)) == pytest.approx(2.0)  # a point


def test_holes_are_left_out_and_the_whole_box_counts_where_the_middle_has_none() -> None:
    for hole in (0.0, np.nan, np.inf, -1.0):
        depth = picture(3.0)
        depth[20:40, 30:50] = hole
        assert distance(depth, BOX) == pytest.approx(3.0)
        depth[10:50, 20:60] = hole
        depth[45, 25:40] = 3.0  # too few
        assert distance(depth, BOX) is None


def test_of_two_surfaces_the_one_that_most_is_on_counts_else_the_nearer_one() -> None:
    rng = np.random.default_rng(3)
    for share, expected in ((0.8, 1.5), (0.55, 1.5), (0.45, 6.0), (0.2, 6.0)):
        depth = np.where(rng.random((60, 80)) < share, 1.5, 6.0)
        assert distance(depth, BOX) == pytest.approx(expected)
    thirds = rng.choice([1.5, 3.0, 6.0], (60, 80), p=(0.4, 0.3, 0.3))
    assert distance(thirds, BOX) == pytest.approx(1.5)


def test_depths_without_a_surface_tell_nothing() -> None:
    assert distance(np.geomspace(0.5, 50, 60 * 80).reshape(80, 60).T, BOX) is None


def test_a_box_beside_the_picture_tells_nothing() -> None:
    assert distance(picture(), (200.0, 10.0, 220.0, 50.0)) is None


def test_rays_are_those_that_opencv_projects() -> None:
    rng = np.random.default_rng(5)
    matrix = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
    plumb_bob = (-0.28, 0.07, 0.001, -0.0005, 0.0)
    fisheye = (0.05, -0.01, 0.003, -0.001)
    for points in rng.uniform((-0.5, -0.4, 1), (0.5, 0.4, 1), (100, 3)):
        for distortion, is_fisheye in (((), False), (plumb_bob, False), (fisheye, True)):
            project = cv2.fisheye.projectPoints if is_fisheye else cv2.projectPoints
            point = points.reshape(1, 1, 3) if is_fisheye else points.reshape(1, 3)
            told = np.array(distortion) if distortion else None
            pixel, _ = project(point, np.zeros(3), np.zeros(3), matrix, told)
            x, y = pixel.ravel() + 0.5  # places count from the edge of the first pixel
            ray = Lens((500, 510), (320, 240), distortion, is_fisheye).ray(x, y)
            np.testing.assert_allclose(ray, points, atol=1e-4)
    assert unit((0.0, 3.0, 4.0)) == (0, 0.6, 0.8)
