# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""How much reading ahead saves, up to the size of SmolVLM-256M (make test-llama-server)."""

from __future__ import annotations

import os
import time

from llama_server.make_gguf import SIZES
import numpy as np
import pytest
from tiny_llama import llama_settings, tiny_llama
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import GenerationRequest

pytestmark = pytest.mark.skipif(
    os.environ.get('VLM_LLAMA') != 'full', reason='run by make test-llama-server'
)
TIMES = 10  # sooner, at least


def first_token(engine: LocalEngine, seed: int, ahead: bool) -> tuple[float, float]:
    """Ask about a new picture; return the seconds to the first token, and of reading ahead."""
    image = engine.encode(render(random_scene(np.random.default_rng(seed)), 640, 480))
    started = time.monotonic()
    if ahead:
        engine.prepare((image,), Cancellation())
    asked = time.monotonic()
    with engine.generate(GenerationRequest('what do you see?', (image,), 4)) as generation:
        next(generation)
    return time.monotonic() - asked, asked - started


@pytest.mark.parametrize('size, repeats', [('small', 5), ('256m', 1)])
def test_first_token_about_a_picture_that_was_read_ahead(size: str, repeats: int) -> None:
    engine = load_engine(llama_settings(tiny_llama(SIZES[size])))
    seeds = iter(range(2 * repeats))
    plain, ahead = [], []
    for _ in range(repeats):
        plain.append(first_token(engine, next(seeds), ahead=False)[0])
        ahead.append(first_token(engine, next(seeds), ahead=True))
    engine.close()
    without, with_it = np.median(plain), np.median([seconds for seconds, _ in ahead])
    read = np.median([seconds for _, seconds in ahead])
    print(f'\n{size}, one thread: first token after {without:.2f} s; after {with_it:.3f} s, '
          f'{without / with_it:.0f} times sooner, if the picture was read ahead in {read:.2f} s')
    assert without > TIMES * with_it
