# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What language models answer, as tests read it."""

from __future__ import annotations

from collections.abc import Iterable

from vlm_npu_ros.engine.backends.base import LanguageModel
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.types import Chunk, GenerationRequest


def text(chunks: Iterable[Chunk]) -> str:
    return ''.join(chunk.text for chunk in chunks)


def chunks_of(model: LanguageModel, request: GenerationRequest) -> list[Chunk]:
    return list(model.generate(request, Cancellation()))


def text_of(model: LanguageModel, request: GenerationRequest) -> str:
    return text(chunks_of(model, request))
