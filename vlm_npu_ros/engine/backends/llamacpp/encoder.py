# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Pictures for llama.cpp, which encodes them itself when it reads them."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from vlm_npu_ros.engine.backends.openai.encoder import JpegEncoder
from vlm_npu_ros.engine.types import ImageEmbedding

_SIDE = 64  # pixels of a token's side in SmolVLM; in others it is smaller
_QUALITY = 90


@dataclass(frozen=True)
class Picture(ImageEmbedding):
    """
    A picture that llama.cpp encodes itself.

    data: (tokens, 1, length) uint8, a JPEG file and zeros behind it; it takes at most so many
        tokens, and other processes know its shape alone.
    """

    @staticmethod
    def is_sound(data: np.ndarray) -> bool:
        return data.ndim == 3 and data.dtype == np.uint8


class PictureEncoder(JpegEncoder):
    """
    Makes JPEG files on the CPU.

    tokens: LlamaCppSettings.image_tokens.
    """

    embedding_type = Picture

    def __init__(self, tokens: int) -> None:
        super().__init__(round(_SIDE * sqrt(tokens)), _QUALITY)
        # Tiles are rounded up; the whole picture, and marks around each, come on top.
        self._most = tokens + tokens // 4 + 128

    def encode(self, rgb: np.ndarray) -> np.ndarray:
        jpeg = super().encode(rgb)
        data = np.zeros((self._most, 1, -(-jpeg.size // self._most)), np.uint8)
        data.reshape(-1)[:jpeg.size] = jpeg
        return data
