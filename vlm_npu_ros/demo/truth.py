# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What a scene camera sees, as text: the JSON of its `~/scene` and `~/set_scene` topics."""

from __future__ import annotations

from dataclasses import dataclass
import json
from typing import Any

from builtin_interfaces.msg import Time
from vlm_npu_ros.demo.scenes import COLOURS, Scene, scene_from_dict, SceneObject, SHAPES, SIDES

_LIMITS = {
    'horizon': (0.1, 0.9),
    'light': (0.1, 3.0),
    'blur': (0.0, 20.0),
    'noise': (0.0, 100.0),
    'seed': (0, 2**31 - 1),
    'x': (0.0, 1.0),
    'scale': (0.1, 2.0),
}
_CHOICES = {
    'surface': ('floor', 'table'),
    'shape': SHAPES,
    'colour': tuple(COLOURS),
    'side': SIDES,
    'near': (True, False),
}


@dataclass(frozen=True)
class Truth:
    """The scene of every image with this `frame_id` stamped at `stamp` or later."""

    scene: Scene
    stamp: Time
    frame_id: str

    def to_json(self) -> str:
        """Convert to JSON: `Scene.as_dict` with a stamp and a frame_id."""
        stamp = {'sec': self.stamp.sec, 'nanosec': self.stamp.nanosec}
        return json.dumps(self.scene.as_dict() | {'stamp': stamp, 'frame_id': self.frame_id})

    @classmethod
    def from_json(cls, text: str) -> Truth:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        return cls(scene_from_json(text), Time(**values['stamp']), values['frame_id'])


def scene_from_json(text: str) -> Scene:
    """
    Read the JSON of `Scene.as_dict` or of `Truth.to_json`.

    Raises ValueError with what is wrong; a scene that is returned can be rendered.
    """
    try:
        values = json.loads(text)
        scene = scene_from_dict({k: v for k, v in values.items() if k not in _NOT_OF_A_SCENE})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f'this is not a scene in JSON: {error!r}') from error
    _check(scene)
    for thing in scene.objects:
        _check(thing)
    return scene


_NOT_OF_A_SCENE = ('stamp', 'frame_id')


def _check(part: Scene | SceneObject) -> None:
    """Raise ValueError if a value is not one that scenes can have."""
    for name, value in vars(part).items():
        if name in _CHOICES and not any(value is c or value == c for c in _CHOICES[name]):
            raise ValueError(f'{name} must be one of {_CHOICES[name]}, not {value!r}')
        if name in _LIMITS:
            _check_number(name, value)


def _check_number(name: str, value: Any) -> None:
    low, high = _LIMITS[name]
    kinds = (int,) if isinstance(low, int) else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f'{name} must be a number from {low} to {high}, not {value!r}')
