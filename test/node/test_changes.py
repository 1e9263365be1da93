# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Which frames are encoded because something has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from fuzz.fuzzing import FULL
from made_scenes import scene_of, thing
import numpy as np
import pytest
from robot import Robot
from vlm_npu_ros.demo.scenes import COLOURS, random_scene, render, Scene, SHAPES, SIDES
from vlm_npu_ros.engine.types import ImageEmbedding
from vlm_npu_ros.node.changes import Changes
from vlm_npu_ros.node.vlm_node import VlmNode
from watcher import Watcher

THRESHOLD = 0.03  # the default
EMBEDDING = ImageEmbedding(np.zeros((1, 1, 1), np.float32), 0.0)


def seen(picture: np.ndarray, draw: np.random.Generator, noise: float = 6.0) -> np.ndarray:
    """Photograph a picture once more, with the noise of a camera."""
    noisy = picture + draw.normal(0.0, noise, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def scenes(draw: np.random.Generator) -> Iterator[Scene]:
    """Yield a scene, then the same one with one thing changed, and so on."""
    scene = replace(random_scene(draw), noise=0.0)
    while True:
        yield scene
        shape, side = draw.choice(SHAPES), draw.choice(SIDES)
        colour = draw.choice([c for c in COLOURS if scene.objects and
                              c != scene.objects[0].colour] or list(COLOURS))
        made = thing(f'{colour} {shape}', side, draw.choice(['near', 'far']))
        kept = scene.objects[:-1] if scene.objects and draw.random() < 0.5 else ()
        scene = replace(scene, objects=(*kept, made))


@pytest.mark.parametrize('size', [(160, 120), (640, 480), (1280, 720)])
def test_no_change_is_missed_and_none_is_invented(size: tuple[int, int]) -> None:
    draw, changes, invented = np.random.default_rng(0), Changes(), 0
    count = 100 if FULL or size[0] < 320 else 4
    for _, scene in zip(range(count), scenes(draw), strict=False):
        picture = render(scene, *size)
        assert changes.same(seen(picture, draw), THRESHOLD) is None
        changes.put(seen(picture, draw), EMBEDDING)
        for _ in range(3):
            invented += changes.same(seen(picture, draw), THRESHOLD) is not EMBEDDING
    assert invented <= 0.02 * 3 * count


def test_slow_changes_add_up() -> None:
    changes, picture = Changes(), np.full((240, 320, 3), 100, np.uint8)
    changes.put(picture, EMBEDDING)
    found = [changes.same(picture + step, THRESHOLD) is None for step in range(12)]
    assert found == [255 * THRESHOLD <= step for step in range(12)]


def test_other_sizes_and_odd_ones_are_changes() -> None:
    changes = Changes()
    for shape in ((1, 1, 3), (3, 2000, 3), (2000, 3, 3), (240, 320, 3)):
        picture = np.full(shape, 100, np.uint8)
        assert changes.same(picture, THRESHOLD) is None
        changes.put(picture, EMBEDDING)
        assert changes.same(picture, THRESHOLD) is EMBEDDING
        assert changes.same(picture, 0.0) is None
    changes.clear()
    assert changes.same(picture, THRESHOLD) is None


def test_still_scene_is_encoded_once_and_each_change_is_told_once(
    active_node: Callable[..., VlmNode], robot: Robot
) -> None:
    node = active_node(backend='onnx', encode_rate=100.0, encode_on='change', cpu_threads=1)
    looks = Watcher(robot).watch(question='is there a red ball?', answer_type=1, every_look=True)
    draw, count, still = np.random.default_rng(2), 100 if FULL else 8, 5
    pictures = [render(scene, 320, 240) for scene in (
        scene_of(thing('blue chair', 'right')),
        scene_of(thing('blue chair', 'right'), thing('red ball', 'left')),
    )]
    for number in range(count):
        for repetition in range(still):
            frame = robot.publish(seen(pictures[number % 2], draw))
            look = looks.hear()
            assert look.header == frame.header
            assert (look.choice, look.changed) == (('no', 'yes')[number % 2], repetition == 0)
    counts = node._feeds['camera'].counts
    assert (counts.encoded, counts.unchanged) == (count, count * (still - 1))
    looks.cancel()
    assert looks.end().result.changes == count
