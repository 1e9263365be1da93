# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A model that says which colour each of its pictures has, so that tests know what it saw."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from vlm_npu_ros.engine.backends.scripted import ScriptedLanguageModel
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.types import Chunk, FinishReason, GenerationFigures, GenerationRequest


def told(*pictures: np.ndarray) -> str:
    """Return what the model says about pictures."""
    means = (p.reshape(-1, 3).mean(0, dtype=np.float32) for p in pictures)
    return ' '.join('{:.0f},{:.0f},{:.0f}'.format(*mean) for mean in means)


def _generate(
    self: ScriptedLanguageModel, request: GenerationRequest, cancelled: Cancellation
) -> Iterator[Chunk]:
    text = told(*(image.data for image in request.images))
    yield Chunk(text)
    figures = GenerationFigures(request.image_tokens, self.tokens(request), 1, 0.0, 0.0)
    yield Chunk('', FinishReason.EOS, figures)


@pytest.fixture
def seeing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the scripted backend say what it sees."""
    monkeypatch.setattr(ScriptedLanguageModel, 'generate', _generate)
