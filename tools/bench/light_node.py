# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The node with one more backend, `light`, whose models take no time by themselves."""

from __future__ import annotations

from collections.abc import Iterator
import sys

import numpy as np
from stamps import stamped
from vlm_npu_ros.engine.backends.backend import Backend, Models
from vlm_npu_ros.engine.backends.base import VisionEncoder
from vlm_npu_ros.engine.backends.scripted import ScriptedLanguageModel
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.images import letterbox
from vlm_npu_ros.engine.registry import register
from vlm_npu_ros.engine.types import Chunk, FinishReason, GenerationRequest
from vlm_npu_ros.node import vlm_node


class LightEncoder(VisionEncoder):
    """Fits pictures into its square, and gives the same embedding for all."""

    size = 448

    def encode(self, rgb: np.ndarray) -> np.ndarray:
        """Make an embedding of shape (64, 1, 3)."""
        letterbox(rgb, self.size)
        return np.ones((64, 1, 3), np.float32)


class StampingModel(ScriptedLanguageModel):
    """Writes what the question orders, see stamps.py, or one word."""

    def __init__(self) -> None:
        super().__init__([''])

    def generate(self, request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        """Yield the words."""
        for word in stamped(request.question if request.question[0].isdigit() else '1 0'):
            yield Chunk(word)
        yield Chunk('', FinishReason.EOS)


def load(*_: object) -> Models:
    """Make the models, whatever the settings."""
    return LightEncoder(), StampingModel()


BACKEND = Backend('light', 'nothing', load)

if __name__ == '__main__':
    register(BACKEND)
    sys.exit(vlm_node.main())
