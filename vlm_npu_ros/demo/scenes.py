# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Synthetic robot-camera scenes: what is in them, and how they look.

A scene is a wall behind a floor or table with 0 to 4 objects on it, seen by a camera whose pitch,
light, sharpness and noise vary. All lengths are in image widths, so that a scene looks the same
at every resolution.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
import math
from typing import Any

import cv2
import numpy as np

SHAPES = ('ball', 'box', 'chair', 'cone', 'door', 'person')
SIDES = ('left', 'middle', 'right')
COLOURS: dict[str, tuple[int, float, float]] = {  # hue in degrees, saturation, value
    'red': (0, 0.86, 0.80),
    'orange': (28, 0.90, 0.95),
    'yellow': (53, 0.85, 0.93),
    'green': (135, 0.72, 0.58),
    'blue': (222, 0.80, 0.78),
    'purple': (284, 0.68, 0.62),
    'black': (230, 0.08, 0.13),
}
MAX_OBJECTS = 4

# The thirds of the picture, with gaps between them: an object on a border has no clear side.
SIDE_X = {'left': (0.09, 0.29), 'middle': (0.39, 0.61), 'right': (0.71, 0.91)}
NEAR_SCALE = (0.88, 1.15)
FAR_SCALE = (0.42, 0.56)
_SCALES = np.linspace(0.25, NEAR_SCALE[1], 50)  # of what could stand on the floor
_SIZE = {  # width and height at scale 1
    'ball': (0.15, 0.15),
    'box': (0.20, 0.17),
    'chair': (0.15, 0.25),
    'cone': (0.16, 0.20),
    'door': (0.15, 0.32),
    'person': (0.12, 0.34),
}
DISTANCE = 1.5  # metres of an object at scale 1
_MAX_HIDDEN = 0.35  # share of an object that nearer ones may cover
_MIN_SPACING = 0.07  # between centres, so that left-to-right order is clear
_CLEARLY_NEARER = 1.2  # ratio of scales


@dataclass(frozen=True)
class SceneObject:
    """An object that stands in the scene; `x` is its centre in image widths."""

    shape: str
    colour: str
    side: str
    near: bool
    x: float
    scale: float

    @property
    def distance(self) -> float:
        """How far ahead of the camera it is, in metres."""
        return DISTANCE / self.scale

    @property
    def name(self) -> str:
        """Colour and shape in words: 'red ball', 'person in red'."""
        if self.shape == 'person':
            return f'person in {self.colour}'
        return f'{self.colour} {self.shape}'


@dataclass(frozen=True)
class Scene:
    """What the camera looks at; `objects` are ordered from left to right."""

    objects: tuple[SceneObject, ...]
    surface: str  # 'floor' or 'table'
    horizon: float  # where wall meets surface, share of the image height
    light: float  # brightness, 1 = as lit in a studio
    blur: float  # sigma in thousandths of the image width
    noise: float  # sigma in grey levels
    seed: int  # of textures, tints and noise

    def of(self, shape: str | None = None, colour: str | None = None) -> list[SceneObject]:
        """List the objects with this shape and colour, left to right."""
        return [o for o in self.objects if shape in (None, o.shape) and colour in (None, o.colour)]

    @property
    def blocking(self) -> list[SceneObject]:
        """Objects in the robot's way: near and in the middle."""
        return [o for o in self.objects if o.near and o.side == 'middle']

    @property
    def nearest(self) -> SceneObject | None:
        """Find the object that is clearly nearer than all others, if there is one."""
        ordered = sorted(self.objects, key=lambda o: -o.scale)
        if len(ordered) > 1 and ordered[0].scale < _CLEARLY_NEARER * ordered[1].scale:
            return None
        return ordered[0] if ordered else None

    def as_dict(self) -> dict[str, Any]:
        """Convert to plain values, for JSON."""
        return asdict(self)


def scene_from_dict(values: dict[str, Any]) -> Scene:
    """Make the scene that `Scene.as_dict` described."""
    objects = tuple(SceneObject(**o) for o in values['objects'])
    return Scene(**{**values, 'objects': objects})


def random_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene from the distribution that the demo model was trained on."""
    count = int(rng.choice(MAX_OBJECTS + 1, p=(0.07, 0.21, 0.26, 0.25, 0.21)))
    objects: list[SceneObject] = []
    for _ in range(40 * count):
        if len(objects) == count:
            break
        candidate = random_object(rng)
        if fits(candidate, objects):
            objects.append(candidate)
    return Scene(
        objects=tuple(sorted(objects, key=lambda o: o.x)),
        surface=str(rng.choice(('floor', 'table'))),
        horizon=float(rng.uniform(0.36, 0.58)),
        light=float(rng.uniform(0.65, 1.2)),
        blur=float(rng.uniform(0, 2.2)),
        noise=float(rng.uniform(0, 9)),
        seed=int(rng.integers(2**31)),
    )


def random_object(rng: np.random.Generator) -> SceneObject:
    """Draw an object from the distribution that the demo model was trained on."""
    side = str(rng.choice(SIDES))
    near = bool(rng.random() < 0.5)
    return SceneObject(
        shape=str(rng.choice(SHAPES)),
        colour=str(rng.choice(list(COLOURS))),
        side=side,
        near=near,
        x=float(rng.uniform(*SIDE_X[side])),
        scale=float(rng.uniform(*(NEAR_SCALE if near else FAR_SCALE))),
    )


def fits(new: SceneObject, others: list[SceneObject]) -> bool:
    """Return whether all can be told apart: by name and from left to right, hardly hidden."""
    for other in others:
        if (new.shape, new.colour) == (other.shape, other.colour):
            return False
        if abs(new.x - other.x) < _MIN_SPACING:
            return False
        front, back = (new, other) if new.scale > other.scale else (other, new)
        width = _SIZE[back.shape][0] * back.scale
        gap = abs(new.x - other.x) - _SIZE[front.shape][0] * front.scale / 2
        if (width / 2 - gap) / width > _MAX_HIDDEN:
            return False
    return True


def object_box(
    scene: Scene, thing: SceneObject, aspect: float
) -> tuple[float, float, float, float]:
    """
    Compute left, top, right, bottom of an object in image widths.

    `aspect` is image height / image width. Near objects stand lower in the picture, as on a
    level floor.
    """
    bottom = _bottom(scene, thing.scale, aspect)
    width, height = (thing.scale * v for v in _SIZE[thing.shape])
    return thing.x - width / 2, bottom - height, thing.x + width / 2, bottom


def _bottom(scene: Scene, scale: float, aspect: float) -> float:
    """Compute where an object of that scale stands, in image widths from above."""
    horizon = scene.horizon * aspect
    depth = (scale - FAR_SCALE[0]) / (NEAR_SCALE[1] - FAR_SCALE[0])
    return horizon + 0.03 + depth * (0.96 * aspect - horizon - 0.03)


def render(scene: Scene, width: int = 640, height: int = 480) -> np.ndarray:
    """Render the camera's picture of the scene: (height, width, 3), uint8, RGB."""
    rng = np.random.default_rng(scene.seed)
    return _photograph(_painted(scene, rng, width, height), scene, rng)


def depth_map(scene: Scene, width: int = 640, height: int = 480) -> np.ndarray:
    """Compute how far ahead each pixel of that picture is: (height, width) float32, metres."""
    bottoms = [_bottom(scene, scale, height / width) * width for scale in _SCALES]
    # Rows see the floor as far as an object that stands there, and the wall behind all of it.
    scales = np.interp(np.arange(height) + 0.5, bottoms, _SCALES)
    depth = np.repeat((DISTANCE / scales).astype(np.float32)[:, None], width, axis=1)
    depth[:round(scene.horizon * height)] = DISTANCE / _SCALES[0]
    _painted(scene, np.random.default_rng(scene.seed), width, height, depth)
    return depth


def _painted(
    scene: Scene, rng: np.random.Generator, width: int, height: int,
    depth: np.ndarray | None = None,
) -> np.ndarray:
    """Paint the scene as in a studio; `depth` gets the distances of the objects."""
    image = _background(scene, rng, width, height)
    for thing in sorted(scene.objects, key=lambda o: o.scale):
        hue, saturation, value = COLOURS[thing.colour]
        colour = _hsv(
            hue + rng.uniform(-4, 4),
            saturation * rng.uniform(0.9, 1.08),
            value * rng.uniform(0.88, 1.1),
        )
        box = [v * width for v in object_box(scene, thing, height / width)]
        _shadow(image, box)
        before = None if depth is None else image.copy()
        _DRAW[thing.shape](image, box, colour, rng)
        if depth is not None:
            depth[(image != before).any(-1)] = thing.distance
    return image


def _hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """Convert to RGB in 0..255 as float; hue in degrees, the others in 0..1."""
    sector = np.array([5.0, 3.0, 1.0]) + hue / 60
    ramp = np.clip(np.minimum(sector % 6, 4 - sector % 6), 0, 1)
    return 255 * min(value, 1.0) * (1 - min(saturation, 1.0) * ramp)


def _background(scene: Scene, rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    wall = _hsv(rng.uniform(0, 360), rng.uniform(0, 0.14), rng.uniform(0.62, 0.95))
    if scene.surface == 'table':
        surface = _hsv(rng.uniform(22, 38), rng.uniform(0.2, 0.42), rng.uniform(0.45, 0.72))
    else:
        surface = _hsv(rng.uniform(0, 360), rng.uniform(0, 0.16), rng.uniform(0.36, 0.68))
    horizon = round(scene.horizon * height)
    image = np.empty((height, width, 3), np.uint8)
    image[:horizon] = wall
    image[horizon:] = surface
    line = max(1, width // 400)
    if scene.surface == 'table':
        _planks(image, horizon, surface * rng.uniform(0.8, 0.92), line, rng)
    else:
        cv2.rectangle(image, (0, horizon - line * 4), (width, horizon), (wall * 0.75).tolist(), -1)
        if rng.random() < 0.6:
            _tiles(image, horizon, surface * rng.uniform(0.82, 1.15), line)
    return image


def _planks(
    image: np.ndarray, horizon: int, colour: np.ndarray, line: int, rng: np.random.Generator
) -> None:
    height, width = image.shape[:2]
    for share in np.cumsum(rng.uniform(0.1, 0.3, 8)):
        y = round(horizon + share * (height - horizon))
        cv2.line(image, (0, y), (width, y), colour.tolist(), line)


def _tiles(image: np.ndarray, horizon: int, colour: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    for share in (0.12, 0.3, 0.58):
        y = round(horizon + share * (height - horizon))
        cv2.line(image, (0, y), (width, y), colour.clip(0, 255).tolist(), line)
    for k in range(-6, 7):
        top, bottom = (round(width * (0.5 + k * step)) for step in (0.09, 0.3))
        cv2.line(image, (top, horizon), (bottom, height), colour.clip(0, 255).tolist(), line)


def _photograph(image: np.ndarray, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Light, tint, blur and noise of a cheap camera."""
    height, width = image.shape[:2]
    corners = scene.light * rng.uniform(0.86, 1.14, (2, 2, 1)) * rng.uniform(0.95, 1.05, 3)
    shade = cv2.resize(corners.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    lit = cv2.multiply(image, shade, dtype=cv2.CV_8U)
    sigma = scene.blur * width / 1000
    if sigma > 0.3:
        lit = cv2.GaussianBlur(lit, (0, 0), sigma)
    grain = np.empty((height, width, 3), np.int16)
    cv2.setRNGSeed(scene.seed)
    # OpenCV's stubs know no scalars here.
    cv2.randn(grain, (0, 0, 0), (scene.noise,) * 3)  # type: ignore[call-overload]
    return cv2.add(lit, grain, dtype=cv2.CV_8U)


def _fill(image: np.ndarray, points: list[tuple[float, float]], colour: np.ndarray) -> None:
    fixed = np.round(np.array(points) * 16).astype(np.int32)
    cv2.fillPoly(image, [fixed], colour.clip(0, 255).tolist(), cv2.LINE_AA, 4)


def _rectangle(
    image: np.ndarray, left: float, top: float, right: float, bottom: float, colour: np.ndarray
) -> None:
    _fill(image, [(left, top), (right, top), (right, bottom), (left, bottom)], colour)


def _ellipse(
    image: np.ndarray, x: float, y: float, a: float, b: float, colour: np.ndarray
) -> None:
    angle = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    _fill(image, list(zip(x + a * np.cos(angle), y + b * np.sin(angle), strict=True)), colour)


def _shadow(image: np.ndarray, box: list[float]) -> None:
    left, _, right, bottom = box
    a, b = (right - left) * 0.6, (right - left) * 0.12
    x, y = (left + right) / 2, bottom - b * 0.4
    x0, x1 = max(0, int(x - a)), max(0, int(x + a) + 1)
    y0, y1 = max(0, int(y - b)), max(0, int(y + b) + 1)
    patch = image[y0:y1, x0:x1]
    if patch.size:
        darker = (patch * 0.72).astype(np.uint8)
        yy, xx = np.mgrid[y0:y0 + patch.shape[0], x0:x0 + patch.shape[1]]
        inside = ((xx - x) / a) ** 2 + ((yy - y) / b) ** 2 < 1
        patch[inside] = darker[inside]


def _ball(
    image: np.ndarray, box: list[float], colour: np.ndarray, rng: np.random.Generator
) -> None:
    left, top, right, bottom = box
    x, y, r = (left + right) / 2, (top + bottom) / 2, (right - left) / 2
    _ellipse(image, x, y, r, r, colour * 0.72)
    _ellipse(image, x - 0.1 * r, y - 0.1 * r, 0.84 * r, 0.84 * r, colour)
    _ellipse(image, x - 0.35 * r, y - 0.4 * r, 0.2 * r, 0.16 * r, colour * 0.5 + 120)


def _box(
    image: np.ndarray, box: list[float], colour: np.ndarray, rng: np.random.Generator
) -> None:
    left, top, right, bottom = box
    dx, dy = 0.2 * (right - left), 0.25 * (bottom - top)
    if rng.random() < 0.5:  # seen a little from the left or from the right
        left, right, dx = right, left, -dx
    _rectangle(image, left, top + dy, right - dx, bottom, colour)
    _fill(
        image,
        [(left, top + dy), (left + dx, top), (right, top), (right - dx, top + dy)],
        colour * 1.12 + 22,
    )
    _fill(
        image,
        [(right - dx, top + dy), (right, top), (right, bottom - dy), (right - dx, bottom)],
        colour * 0.66,
    )


def _cone(
    image: np.ndarray, box: list[float], colour: np.ndarray, rng: np.random.Generator
) -> None:
    left, top, right, bottom = box
    x, w, h = (left + right) / 2, right - left, bottom - top

    def band(upper: float, lower: float, shade: np.ndarray) -> None:
        a, b = 0.36 * w * upper, 0.36 * w * lower
        y0, y1 = top + 0.9 * h * upper, top + 0.9 * h * lower
        _fill(image, [(x - a, y0), (x + a, y0), (x + b, y1), (x - b, y1)], shade)

    band(0.04, 1.0, colour)
    band(0.42, 0.62, np.full(3, 232.0))
    _rectangle(image, left, bottom - 0.1 * h, right, bottom, colour * 0.75)


def _door(
    image: np.ndarray, box: list[float], colour: np.ndarray, rng: np.random.Generator
) -> None:
    left, top, right, bottom = box
    w, h = right - left, bottom - top
    _rectangle(image, left, top, right, bottom, colour * 0.55 + 8)
    _rectangle(image, left + 0.07 * w, top + 0.03 * h, right - 0.07 * w, bottom, colour)
    for y0, y1 in ((0.1, 0.45), (0.55, 0.92)):
        _rectangle(
            image, left + 0.2 * w, top + y0 * h, right - 0.2 * w, top + y1 * h, colour * 0.8 + 6
        )
    _ellipse(
        image, right - 0.14 * w, top + 0.52 * h, 0.05 * w, 0.05 * w, np.array([220.0, 205, 120])
    )


def _person(
    image: np.ndarray, box: list[float], colour: np.ndarray, rng: np.random.Generator
) -> None:
    left, top, right, bottom = box
    x, w, h = (left + right) / 2, right - left, bottom - top
    skin = np.array([232.0, 190, 160]) * rng.uniform(0.45, 1.0)
    trousers = np.array([70.0, 74, 92]) * rng.uniform(0.8, 1.3)

    def bar(centre: float, width: float, y0: float, y1: float, shade: np.ndarray) -> None:
        middle, half = x + centre * w, width * w / 2
        _rectangle(image, middle - half, top + y0 * h, middle + half, top + y1 * h, shade)

    for side in (-1, 1):
        bar(side * 0.17, 0.24, 0.56, 1.0, trousers)
        bar(side * 0.42, 0.16, 0.2, 0.54, colour * 0.8)
    bar(0, 0.68, 0.18, 0.58, colour)
    _ellipse(image, x, top + 0.09 * h, 0.2 * w, 0.085 * h, skin)


def _chair(
    image: np.ndarray, box: list[float], colour: np.ndarray, rng: np.random.Generator
) -> None:
    left, top, right, bottom = box
    w, h = right - left, bottom - top
    flip = rng.random() < 0.5

    def part(x0: float, y0: float, x1: float, y1: float, shade: float) -> None:
        if flip:
            x0, x1 = 1 - x1, 1 - x0
        _rectangle(image, left + x0 * w, top + y0 * h, left + x1 * w, top + y1 * h, colour * shade)

    for x0, y1, shade in (
        (0.08, 0.92, 0.7),
        (0.84, 0.92, 0.7),
        (0.0, 1.0, 0.85),
        (0.88, 1.0, 0.85),
    ):
        part(x0, 0.52, x0 + 0.11, y1, shade)
    part(0.0, 0.5, 1.0, 0.64, 1.0)
    part(0.06, 0.0, 0.2, 0.52, 0.9)
    part(0.8, 0.0, 0.94, 0.52, 0.9)
    for y in (0.02, 0.2, 0.38):
        part(0.06, y, 0.94, y + 0.1, 0.95)


_DRAW = {
    'ball': _ball,
    'box': _box,
    'chair': _chair,
    'cone': _cone,
    'door': _door,
    'person': _person,
}
