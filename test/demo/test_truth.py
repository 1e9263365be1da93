# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Scenes as JSON."""

from __future__ import annotations

import json
from typing import Any

from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from vlm_npu_ros.demo.scenes import random_scene, render, Scene
from vlm_npu_ros.demo.truth import scene_from_json, Truth

SCENE = next(
    scene for scene in map(random_scene, map(np.random.default_rng, range(99)))
    if len(scene.objects) == 2
)


def changed(part: str, **values: Any) -> str:
    """Return the scene as JSON with other values in the scene or in its first object."""
    scene = SCENE.as_dict()
    (scene if part == 'scene' else scene['objects'][0]).update(values)
    return json.dumps(scene)


def test_a_scene_comes_back() -> None:
    assert scene_from_json(json.dumps(SCENE.as_dict())) == SCENE


def test_the_truth_comes_back() -> None:
    truth = Truth(SCENE, Time(sec=12, nanosec=34), 'camera_optical_frame')
    assert Truth.from_json(truth.to_json()) == truth


def test_a_truth_is_a_scene_that_can_be_set() -> None:
    assert scene_from_json(Truth(SCENE, Time(), 'here').to_json()) == SCENE


@pytest.mark.parametrize('text, words', [
    ('', 'not a scene in JSON'),
    ('a red ball', 'not a scene in JSON'),
    ('[]', 'not a scene in JSON'),
    ('{}', 'not a scene in JSON'),
    ('[' * 100_000, 'not a scene in JSON'),
    (changed('scene', objects=3), 'not a scene in JSON'),
    (changed('scene', weather='fine'), 'not a scene in JSON'),
    (changed('scene', surface='ice'), "surface must be one of .*'ice'"),
    (changed('scene', horizon=2), 'horizon must be a number from 0.1 to 0.9, not 2'),
    (changed('scene', light=float('nan')), 'light must be a number'),
    (changed('scene', blur='much'), 'blur must be a number'),
    (changed('scene', noise=-1), 'noise must be a number'),
    (changed('scene', seed=1.5), 'seed must be a number'),
    (changed('scene', seed=-1), 'seed must be a number'),
    (changed('scene', seed=True), 'seed must be a number'),
    (changed('object', shape='dog'), "shape must be one of .*'dog'"),
    (changed('object', colour=['red']), 'colour must be one of'),
    (changed('object', side='top'), 'side must be one of'),
    (changed('object', near='yes'), 'near must be one of'),
    (changed('object', x=9e9), 'x must be a number'),
    (changed('object', scale=None), 'scale must be a number'),
])
def test_what_is_no_scene_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        scene_from_json(text)


@given(
    horizon=st.floats(0.1, 0.9), light=st.floats(0.1, 3), blur=st.floats(0, 20),
    noise=st.floats(0, 100), seed=st.integers(0, 2**31 - 1),
    x=st.floats(0, 1), scale=st.floats(0.1, 2),
)
def test_what_is_accepted_can_be_rendered(x: float, scale: float, **values: Any) -> None:
    objects = [{**thing, 'x': x, 'scale': scale} for thing in SCENE.as_dict()['objects']]
    scene = scene_from_json(changed('scene', objects=objects, **values))
    assert isinstance(scene, Scene)
    assert render(scene, 64, 48).shape == (48, 64, 3)
