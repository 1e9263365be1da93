# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Pictures for a server: JPEG files."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
from vlm_npu_ros.engine.backends.base import VisionEncoder
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.image_formats import jpeg_size
from vlm_npu_ros.engine.images import shrink, shrunk
from vlm_npu_ros.engine.types import ImageEmbedding

_PATCH = 28  # pixels of a token's side in Qwen-VL models; others differ
_HEADER = 1024  # bytes; that of an OpenCV file has 600


@dataclass(frozen=True)
class JpegImage(ImageEmbedding):
    """
    A picture that the server encodes itself.

    data: (length,) uint8, a JPEG file.
    """

    @staticmethod
    def is_sound(data: np.ndarray) -> bool:
        return data.ndim == 1 and data.dtype == np.uint8

    @property
    def tokens(self) -> int:
        """About how many tokens it takes; only the server knows exactly."""
        width, height = jpeg_size(self.data[:_HEADER].tobytes())
        return ceil(width / _PATCH) * ceil(height / _PATCH)


class JpegEncoder(VisionEncoder):
    """
    Makes JPEG files on the CPU.

    longest: longer side in pixels; smaller pictures keep their size.
    quality: 1..100.
    """

    embedding_type: type[ImageEmbedding] = JpegImage
    needs_npu = False

    def __init__(self, longest: int, quality: int) -> None:
        self._longest, self._quality = longest, quality

    def encode(self, rgb: np.ndarray) -> np.ndarray:
        bgr = cv2.cvtColor(shrink(rgb, self._longest), cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        if not done:
            raise ImageError(f'No JPEG can be made of an image of shape {rgb.shape}')
        return data.reshape(-1)

    def seen(self, width: int, height: int) -> tuple[int, int]:
        return shrunk(width, height, self._longest)
