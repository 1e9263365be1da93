# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What a typed answer costs whose first words decide, against these words alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
import itertools

import numpy as np
from pairs import COST, Effort, Pair
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.backends.scripted import ScriptedEncoder, ScriptedLanguageModel
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import GenerationRequest, YES_NO

_QUESTION = 'is the path clear?'


def measure(effort: Effort) -> Iterator[Pair]:
    """Count the tokens of typed answers, and those of the words up to the first break."""
    demo = load_engine(EngineSettings())
    rng = np.random.default_rng(1)
    views = [demo.encode(render(random_scene(rng), 320, 240)) for _ in range(effort.repeats(20))]
    asked = [GenerationRequest(_QUESTION, (view,), 32, choices=YES_NO) for view in views]
    whole = [demo.answer(replace(request, choices=())) for request in asked]
    encode = demo._language_model._tokenizer.encode
    yield Pair(
        'tokens of the embedded model', 'its yes or no and the comma', '',
        tuple(_tokens(demo, request) for request in asked),
        tuple(float(len(encode(text.partition(',')[0] + ','))) for text in whole), COST, 1.0,
    )
    demo.close()
    scripted = LocalEngine(ScriptedEncoder(), ScriptedLanguageModel(['Yes.', 'No']))
    words = tuple(_tokens(scripted, GenerationRequest('?', (), choices=YES_NO)) for _ in asked)
    yield Pair(
        'tokens without probabilities', 'the one word', '', words,
        tuple(itertools.repeat(1.0, len(words))), COST, 1.0,
    )


def _tokens(engine: LocalEngine, request: GenerationRequest) -> float:
    """Answer and count what was written."""
    *_, last = engine.generate(request)
    assert last.figures and last.verdict and last.verdict.index is not None
    return float(last.figures.new_tokens)
