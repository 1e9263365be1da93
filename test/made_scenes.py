# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Scenes made by hand, of which the true answers are known."""

from __future__ import annotations

from vlm_npu_ros.demo.scenes import Scene, SceneObject


def scene_of(*objects: SceneObject, surface: str = 'floor') -> Scene:
    ordered = tuple(sorted(objects, key=lambda o: o.x))
    return Scene(ordered, surface, horizon=0.45, light=1.0, blur=0.0, noise=0.0, seed=7)


def thing(name: str, side: str, distance: str = 'near') -> SceneObject:
    colour, shape = name.split()
    x = {'left': 0.2, 'middle': 0.5, 'right': 0.8}[side]
    near = distance == 'near'
    return SceneObject(shape, colour, side, near, x, 1.0 if near else 0.5)
