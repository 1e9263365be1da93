# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Scenes: what is in them, and how they look."""

from __future__ import annotations

from dataclasses import replace
import json

import cv2
import numpy as np
import pytest
from vlm_npu_ros.demo.scenes import (
    COLOURS,
    depth_map,
    MAX_OBJECTS,
    object_box,
    random_scene,
    render,
    Scene,
    scene_from_dict,
    SceneObject,
    SHAPES,
    SIDES,
)
from vlm_npu_ros.engine.locating.distance import distance

BALL = SceneObject('ball', 'red', 'left', True, 0.2, 1.0)
CONE = SceneObject('cone', 'blue', 'middle', False, 0.5, 0.5)
PERSON = SceneObject('person', 'green', 'right', True, 0.8, 0.95)


def scene_of(*objects: SceneObject) -> Scene:
    """Return a plain scene: no blur, no noise."""
    return Scene(objects, 'floor', horizon=0.45, light=1.0, blur=0.0, noise=0.0, seed=7)


def scenes(count: int) -> list[Scene]:
    rng = np.random.default_rng(5)
    return [random_scene(rng) for _ in range(count)]


@pytest.mark.parametrize('scene', scenes(8))
def test_rendering_is_deterministic(scene: Scene) -> None:
    first = render(scene, 320, 240)
    cv2.setRNGSeed(99)  # what others draw at random does not matter
    np.testing.assert_array_equal(render(scene, 320, 240), first)


def test_the_seed_changes_how_a_scene_looks() -> None:
    scene = scenes(1)[0]
    other = replace(scene, seed=scene.seed + 1)
    assert (render(other, 320, 240) != render(scene, 320, 240)).any()


@pytest.mark.parametrize('scene', scenes(12))
@pytest.mark.parametrize('width, height', [(640, 480), (1280, 720)])
def test_a_scene_looks_the_same_at_every_size(scene: Scene, width: int, height: int) -> None:
    still = replace(scene, noise=0.0)
    small = render(still, width // 2, height // 2).astype(int)
    large = render(still, 2 * width, 2 * height)
    shrunk = cv2.resize(large, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    difference = np.abs(shrunk - small)
    assert difference.mean() < 2
    # Only edges, and lines a pixel wide, may differ much.
    assert (difference > 40).mean() < 0.03


@pytest.mark.parametrize('width, height', [(640, 480), (17, 33), (1920, 1080)])
def test_the_picture_has_the_size_asked_for(width: int, height: int) -> None:
    picture = render(scene_of(BALL, CONE), width, height)
    assert picture.shape == (height, width, 3) and picture.dtype == np.uint8


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('colour', COLOURS)
def test_an_object_is_seen_in_its_box_in_its_colour(shape: str, colour: str) -> None:
    thing = SceneObject(shape, colour, 'middle', True, 0.5, 1.0)
    picture = render(scene_of(thing))
    hue, saturation, value = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV).astype(int))
    if colour == 'black':
        seen = value < 60
    else:
        away = np.abs(2 * hue - COLOURS[colour][0])
        seen = (np.minimum(away, 360 - away) < 14) & (saturation > 100)
    box = object_box(scene_of(thing), thing, 0.75)
    left, top, right, bottom = (round(v * picture.shape[1]) for v in box)
    inside = seen[top - 3:bottom + 3, left - 3:right + 3]
    assert inside.mean() > 0.2
    assert inside.sum() > 0.99 * seen.sum()


def test_a_scene_survives_json() -> None:
    for scene in scenes(50):
        assert scene_from_dict(json.loads(json.dumps(scene.as_dict()))) == scene


def test_random_scenes_are_as_they_say() -> None:
    drawn = scenes(300)
    for scene in drawn:
        assert len(scene.objects) <= MAX_OBJECTS
        assert list(scene.objects) == sorted(scene.objects, key=lambda o: o.x)
        assert len({(o.shape, o.colour) for o in scene.objects}) == len(scene.objects)
        for thing in scene.objects:
            assert thing.side == SIDES[min(int(thing.x * 3), 2)]
            assert thing.near == (thing.scale > 0.7)
    things = [thing for scene in drawn for thing in scene.objects]
    assert {len(scene.objects) for scene in drawn} == set(range(MAX_OBJECTS + 1))
    assert {o.shape for o in things} == set(SHAPES)
    assert {o.colour for o in things} == set(COLOURS)


def test_names() -> None:
    assert [o.name for o in (BALL, PERSON)] == ['red ball', 'person in green']


def test_of() -> None:
    scene = scene_of(BALL, CONE, PERSON)
    assert scene.of() == [BALL, CONE, PERSON]
    assert scene.of('cone') == [CONE]
    assert scene.of(colour='green') == [PERSON]
    assert scene.of('ball', 'green') == []


def test_blocking_is_near_and_in_the_middle() -> None:
    near_cone = replace(CONE, near=True, scale=1.0)
    assert scene_of(BALL, CONE, PERSON).blocking == []
    assert scene_of(BALL, near_cone).blocking == [near_cone]


def test_nearest_is_clear_or_none() -> None:
    assert scene_of().nearest is None
    assert scene_of(BALL, CONE).nearest == BALL
    assert scene_of(BALL, PERSON).nearest is None


def test_the_depth_of_a_scene_tells_how_far_its_things_are() -> None:
    found = told = 0
    for seed in range(300):
        scene = random_scene(np.random.default_rng((9, seed)))
        depth = depth_map(scene, 320, 240)
        for thing in scene.objects:
            box = object_box(scene, thing, 240 / 320)
            ahead = distance(depth, tuple(320 * v for v in box))
            told += 1
            found += ahead is not None and abs(ahead - thing.distance) < 0.1 * thing.distance
    assert found >= 0.9 * told
