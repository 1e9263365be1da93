"""Pictures, questions and answers as arrays, for training and evaluation of the demo model."""

from __future__ import annotations

from collections.abc import Sequence
import multiprocessing

from model import IMAGE_SIZE, IMAGE_TOKENS
import numpy as np
from rich.progress import track
from vlm_npu_ros.demo.questions import Question, random_question
from vlm_npu_ros.demo.scenes import COLOURS, object_box, random_scene, render, Scene, SHAPES
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer
from vlm_npu_ros.engine.images import letterbox

# Cameras of several resolutions and shapes; the large ones show the aliasing of real frames.
_RESOLUTIONS = ((320, 240), (320, 180), (640, 480), (640, 360), (1280, 720))
_SHARES = (0.4, 0.22, 0.2, 0.14, 0.04)
_GRID = 8  # image tokens a side


def make_pictures(count: int, seed: int) -> tuple[list[Scene], np.ndarray, np.ndarray]:
    """Return scenes, pictures (count, 128, 128, 3) uint8 and targets for `Aid.loss`, int64."""
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
    width, height = _RESOLUTIONS[rng.choice(len(_RESOLUTIONS), p=_SHARES)]
    picture = letterbox(render(scene, width, height), IMAGE_SIZE)
    return scene, picture, _aid_target(scene, height / width)


def _aid_target(scene: Scene, aspect: float) -> np.ndarray:
    """Mark the image token at the centre of each object; the nearer object wins."""
    target = np.zeros((IMAGE_TOKENS, 4), np.int64)
    for thing in sorted(scene.objects, key=lambda o: o.scale):
        left, top, right, bottom = object_box(scene, thing, aspect)
        column = int(np.clip((left + right) / 2 * _GRID, 0, _GRID - 1))
        row = int(np.clip(((top + bottom) / 2 + (1 - aspect) / 2) * _GRID, 0, _GRID - 1))
        shape, colour = SHAPES.index(thing.shape), list(COLOURS).index(thing.colour)
        target[row * _GRID + column] = 1, shape, colour, thing.near
    return target


def prompt_tokens(tokenizer: Tokenizer, question: str) -> list[int]:
    """Return the prompt after the image tokens."""
    special = tokenizer.special
    return [special['<user>'], *tokenizer.encode(question.lower()), special['<assistant>']]


class Packer:
    """Packs several questions about each picture of a batch into one row of tokens."""

    def __init__(self, tokenizer: Tokenizer, questions: int) -> None:
        self.tokenizer = tokenizer
        self.questions = questions

    def __call__(
        self, scenes: Sequence[Scene], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return tokens, labels (-1 = no loss), positions and mask for `train_forward`."""
        rows = [
            [self._pair(random_question(scene, rng)) for _ in range(self.questions)]
            for scene in scenes
        ]
        length = max(sum(len(prompt) + len(answer) for prompt, answer in row) for row in rows)
        tokens = np.zeros((len(rows), length), np.int64)
        labels = np.full((len(rows), length), -1, np.int64)
        positions = np.zeros((len(rows), IMAGE_TOKENS + length), np.int64)
        positions[:, :IMAGE_TOKENS] = np.arange(IMAGE_TOKENS)
        group = np.full((len(rows), IMAGE_TOKENS + length), -1, np.int64)
        group[:, :IMAGE_TOKENS] = 0
        for r, row in enumerate(rows):
            at = 0
            for g, (prompt, answer) in enumerate(row, start=1):
                size, start = len(prompt) + len(answer), IMAGE_TOKENS + at
                tokens[r, at:at + size] = prompt + answer
                labels[r, at + len(prompt) - 1:at + size - 1] = answer
                positions[r, start:start + size] = IMAGE_TOKENS + np.arange(size)
                group[r, start:start + size] = g
                at += size
        same = (group[:, :, None] == group[:, None, :]) | (group[:, None, :] == 0)
        mask = same & np.tri(group.shape[1], dtype=bool)
        return tokens, labels, positions, mask[:, None]

    def _pair(self, question: Question) -> tuple[list[int], list[int]]:
        answer = self.tokenizer.encode(question.answer)
        return (
            prompt_tokens(self.tokenizer, question.text),
            [*answer, self.tokenizer.special['<eos>']],
        )
