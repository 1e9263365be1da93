# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The embedded model, against its graphs called bare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import importlib.util
from pathlib import Path
import sys
import time
from typing import Any

import numpy as np
from pairs import alternate, COST, Effort, Pair, SHARE
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.models import load_profile
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import GenerationRequest, ImageEmbedding

BAR = 0.9
_QUESTION = 'what do you see?'
_DEMO_MODEL = Path(__file__).resolve().parents[1] / 'demo_model'
Speed = tuple[float, float]  # milliseconds to the first token; tokens a second after it
Step = Callable[[list[int], np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def measure(effort: Effort) -> Iterator[Pair]:
    """Answer the same question by the engine, and by a loop around its graph."""
    folder = load_profile('demo').folder
    assert folder
    engine = load_engine(EngineSettings())
    frame = render(random_scene(np.random.default_rng(1)), 640, 480)
    image = engine.encode(frame)
    tokenizer = Tokenizer.load(folder / 'tokenizer.json')
    # The very same one: another would have weights, buffers and threads of its own, and where
    # these happen to lie is worth a tenth of a run.
    session = engine._language_model._session
    past = tuple(next(i.shape for i in session.get_inputs() if i.name == 'past')[1:])
    steps = {'bare onnxruntime': _onnx_step(session)}
    if importlib.util.find_spec('torch') and importlib.util.find_spec('onnx'):
        steps['PyTorch eager'] = _torch_step(folder, tokenizer)
    request = GenerationRequest(_QUESTION, (image,), 64)
    loops = [_Loop(step, tokenizer, image, past) for step in steps.values()]
    said = engine.answer(request)
    for name, loop in zip(steps, loops, strict=True):
        assert loop.answer() == said, f'{name} says something else'
    ours, *others = alternate(
        3 if effort.short else 300,
        lambda: _of_engine(engine.write(request, Cancellation())),  # as the node reads it
        *(loop.speed for loop in loops),
    )
    for name, other in zip(steps, others, strict=True):
        firsts, rates = (tuple(zip(*speeds, strict=True)) for speeds in (ours, other))
        yield Pair('tokens a second', name, '/s', firsts[1], rates[1], SHARE, BAR)
        yield Pair('first token', name, 'ms', firsts[0], rates[0], COST, 1 / BAR)
    engine.close()


def _of_engine(chunks: Iterator[object]) -> Speed:
    started = time.perf_counter()
    arrivals = [time.perf_counter() for _ in chunks]
    # The last chunk has no text: it came with the end of the answer.
    first, count = arrivals[0], len(arrivals) - 1
    return 1000 * (first - started), count / (arrivals[-1] - first)


class _Loop:
    """The shortest program that answers a question with this model."""

    def __init__(
        self, step: Step, tokenizer: Tokenizer, image: ImageEmbedding, past: tuple[int, ...]
    ) -> None:
        self._step, self._tokenizer = step, tokenizer
        self._image = image.data.reshape(image.tokens, -1)
        special = tokenizer.special
        self._prompt = [
            *image.tokens * [special['<image>']], special['<user>'],
            *tokenizer.encode(_QUESTION), special['<assistant>'],
        ]
        self._end = special['<eos>']
        self._empty = np.zeros((0, *past), np.float32)

    def answer(self) -> str:
        """Answer once, as text."""
        text = self._tokenizer.stream()
        return ''.join(text.push(token) for token, _ in self._tokens()) + text.finish()

    def speed(self) -> Speed:
        """Measure one answer."""
        started = time.perf_counter()
        arrivals = [at for _, at in self._tokens()]
        ended = time.perf_counter()
        return 1000 * (arrivals[0] - started), len(arrivals) / (ended - arrivals[0])

    def _tokens(self) -> Iterator[tuple[int, float]]:
        tokens, past = self._prompt, self._empty
        while True:
            logits, present = self._step(tokens, self._image, past)
            token = int(logits.argmax())
            if token == self._end:
                return
            yield token, time.perf_counter()
            past = np.concatenate([past, present])
            tokens = [token]


def _onnx_step(session: Any) -> Step:
    def step(
        tokens: list[int], image: np.ndarray, past: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        inputs = {'tokens': np.array(tokens, np.int64), 'image': image, 'past': past}
        return session.run(['logits', 'present'], inputs)

    return step


def _torch_step(folder: Path, tokenizer: Tokenizer) -> Step:
    sys.path.insert(0, str(_DEMO_MODEL))
    from restore import restore
    import torch

    model = restore(folder / 'language_model.onnx', tokenizer).eval()

    @torch.no_grad()
    def step(
        tokens: list[int], image: np.ndarray, past: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        inputs = torch.tensor(tokens), torch.from_numpy(image), torch.from_numpy(past)
        return tuple(output.numpy() for output in model(*inputs))

    return step
