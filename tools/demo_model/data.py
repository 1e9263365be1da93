# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Pictures, questions and answers as arrays, for training and evaluation of the demo model."""

from __future__ import annotations

from collections.abc import Sequence
import multiprocessing
from typing import NamedTuple

from chat import prompt_tokens
from frames import centre_token, random_size
from model import IMAGE_SIZE, IMAGE_TOKENS
import numpy as np
from rich.progress import track
from vlm_npu_ros.demo.questions import SceneQuestion
from vlm_npu_ros.demo.scenes import COLOURS, random_scene, render, Scene, SHAPES
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer
from vlm_npu_ros.engine.images import letterbox


def make_pictures(count: int, seed: int) -> tuple[list[Scene], np.ndarray, np.ndarray]:
    """Render scenes; return them, pictures (count, 128, 128, 3) uint8, targets of `Aid.loss`."""
    scenes: list[Scene] = []
    pictures = np.empty((count, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    targets = np.empty((count, IMAGE_TOKENS, 4), np.int64)
    with multiprocessing.get_context('fork').Pool() as pool:
        jobs = pool.imap(_make_picture, ((seed, i) for i in range(count)), chunksize=64)
        for i, (scene, picture, target) in enumerate(track(jobs, 'Rendering', total=count)):
            scenes.append(scene)
            pictures[i], targets[i] = picture, target
    return scenes, pictures, targets


def _make_picture(job: tuple[int, int]) -> tuple[Scene, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(job)
    scene = random_scene(rng)
    width, height = random_size(rng)
    picture = letterbox(render(scene, width, height), IMAGE_SIZE)
    return scene, picture, _aid_target(scene, height / width)


def _aid_target(scene: Scene, aspect: float) -> np.ndarray:
    """Mark the image token at the centre of each object; the nearer object wins."""
    target = np.zeros((IMAGE_TOKENS, 4), np.int64)
    for thing in sorted(scene.objects, key=lambda o: o.scale):
        shape, colour = SHAPES.index(thing.shape), list(COLOURS).index(thing.colour)
        target[centre_token(scene, thing, aspect)] = 1, shape, colour, thing.near
    return target


class Packed(NamedTuple):
    """
    Several dialogues about each group of frames of a batch in one row of tokens.

    tokens, labels: (rows, length) int64; label -1 = no loss.
    positions, group: (rows, image tokens + length) int64. A dialogue has a group number from 1;
        0 = frames, -1 = padding.
    """

    tokens: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    group: np.ndarray


def pack(
    rows: Sequence[Sequence[Sequence[SceneQuestion]]], tokenizer: Tokenizer, image_tokens: int
) -> Packed:
    """Pack the dialogues of each row, each as if it alone followed the image tokens."""
    encoded = [[_encode(dialogue, tokenizer) for dialogue in row] for row in rows]
    length = max(sum(len(tokens) for tokens, _ in row) for row in encoded)
    tokens = np.zeros((len(rows), length), np.int64)
    labels = np.full((len(rows), length), -1, np.int64)
    positions = np.zeros((len(rows), image_tokens + length), np.int64)
    positions[:, :image_tokens] = np.arange(image_tokens)
    group = np.full((len(rows), image_tokens + length), -1, np.int64)
    group[:, :image_tokens] = 0
    for r, row in enumerate(encoded):
        at = 0
        for g, (text, wanted) in enumerate(row, start=1):
            size, start = len(text), image_tokens + at
            tokens[r, at:at + size] = text
            labels[r, at:at + size] = wanted
            positions[r, start:start + size] = image_tokens + np.arange(size)
            group[r, start:start + size] = g
            at += size
    return Packed(tokens, labels, positions, group)


def _encode(
    dialogue: Sequence[SceneQuestion], tokenizer: Tokenizer
) -> tuple[list[int], list[int]]:
    """Encode a dialogue; labels are the next token of an answer, elsewhere -1."""
    tokens: list[int] = []
    labels: list[int] = []
    for turn in dialogue:
        prompt = prompt_tokens(tokenizer, turn.text)
        answer = [*tokenizer.encode(turn.answer), tokenizer.special['<eos>']]
        tokens += prompt + answer
        labels += [-1] * (len(prompt) - 1) + answer + [-1]
    return tokens, labels
