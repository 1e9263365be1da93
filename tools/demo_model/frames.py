# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Frames as the vision encoder's embeddings, made once and kept in memory for training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
import multiprocessing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track
from sequences import APPEARED, changes, random_sequence, WENT_AWAY
from vlm_npu_ros.demo.scenes import object_box, random_scene, render, Scene, SceneObject
from vlm_npu_ros.engine.backends.onnx.encoder import OnnxEncoder

Frames = tuple[Scene, ...]

# Cameras of several resolutions and shapes; the large ones show the aliasing of real frames.
_RESOLUTIONS = ((320, 240), (320, 180), (640, 480), (640, 360), (1280, 720))
_SHARES = (0.4, 0.22, 0.2, 0.14, 0.04)

GRID = 8  # image tokens a side
HAPPENINGS = (
    'nothing', 'stayed', 'moved to the left', 'moved to the right', 'moved nearer',
    'moved farther away', APPEARED, WENT_AWAY,
)


class Groups(NamedTuple):
    """
    Groups of as many frames each.

    embeddings: (groups, frames * 64, 128) float16, those of the oldest frame first.
    targets: (groups, 64) int64, what happened at each image token of the newest frame, as index
        of `HAPPENINGS`.
    aspects: (groups,) float64, height / width of the frames.
    """

    frames: list[Frames]
    embeddings: np.ndarray
    targets: np.ndarray
    aspects: np.ndarray


def make_groups(count: int, length: int, seed: int, encoder: Path) -> Groups:
    """Make groups of `length` frames each; 1 = single scenes."""
    with multiprocessing.get_context('fork').Pool() as pool:
        jobs = ((seed, length, i, encoder) for i in range(count))
        results = pool.imap(_make_group, jobs, chunksize=16)
        made = list(track(results, f'Encoding groups of {length}', total=count))
    frames, embeddings, targets, aspects = zip(*made, strict=True)
    return Groups(list(frames), np.stack(embeddings), np.stack(targets), np.array(aspects))


def _make_group(job: tuple[int, int, int, Path]) -> tuple[Frames, np.ndarray, np.ndarray, float]:
    seed, length, index, path = job
    rng = np.random.default_rng((seed, length, index))
    frames = (random_scene(rng),) if length == 1 else random_sequence(rng, length)
    width, height = random_size(rng)
    embedding = encode(frames, path, width, height, float(rng.uniform(0.9, 1.1)))
    aspect = height / width
    return frames, embedding.astype(np.float16), _happenings(frames, aspect), aspect


def _happenings(frames: Frames, aspect: float) -> np.ndarray:
    """Mark the tokens at the centres of the objects, those that went away where they were."""
    target = np.zeros(GRID * GRID, np.int64)
    found = changes(frames)
    for change in found:
        if change.what == WENT_AWAY:
            target[centre_token(frames[0], change.thing, aspect)] = HAPPENINGS.index(WENT_AWAY)
    what = {change.thing.name: change.what for change in found}
    for thing in sorted(frames[-1].objects, key=lambda o: o.scale):
        happened = HAPPENINGS.index(what.get(thing.name, 'stayed'))
        target[centre_token(frames[-1], thing, aspect)] = happened
    return target


def centre_token(scene: Scene, thing: SceneObject, aspect: float) -> int:
    """Find the image token at the centre of an object."""
    left, top, right, bottom = object_box(scene, thing, aspect)
    column = int(np.clip((left + right) / 2 * GRID, 0, GRID - 1))
    row = int(np.clip(((top + bottom) / 2 + (1 - aspect) / 2) * GRID, 0, GRID - 1))
    return row * GRID + column


def random_size(rng: np.random.Generator) -> tuple[int, int]:
    """Draw width and height of a camera's frames."""
    return _RESOLUTIONS[rng.choice(len(_RESOLUTIONS), p=_SHARES)]


def encode(
    frames: Sequence[Scene], encoder: Path, width: int, height: int, exposure: float = 1.0
) -> np.ndarray:
    """Render and encode frames; their embeddings one after another, (frames * 64, 128) float32."""
    pictures = [render(frame, width, height) for frame in frames]
    exposed = [(exposure * p).clip(0, 255).astype(np.uint8) for p in pictures]
    return np.concatenate([_encoder(encoder).encode(p)[:, 0] for p in exposed])


@cache
def _encoder(path: Path) -> OnnxEncoder:
    """Open the encoder once in each process."""
    return OnnxEncoder(path, threads=1)
