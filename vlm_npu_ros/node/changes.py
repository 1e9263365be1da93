# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Whether a camera sees something else than in the frame that was encoded last."""

from __future__ import annotations

import cv2
import numpy as np
from vlm_npu_ros.engine.types import ImageEmbedding

_PARTS = 32  # along each side
_LEAST_PIXELS = 8  # along each side of a part, which level the noise of a camera out


class Changes:
    """
    Compares pictures with the one that was encoded last.

    Of one part in 32 x 32, because a mean of the whole picture hides a person at the door; by
    the mean of that part, because single pixels are never still. With the last one encoded, not
    with the last one seen, so that slow changes add up.
    """

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, ImageEmbedding] | None = None

    def same(self, rgb: np.ndarray, threshold: float) -> ImageEmbedding | None:
        """
        Return the embedding of the last picture, if this one looks the same; else None.

        rgb: (height, width, 3) uint8. threshold: difference in any part, of 1 from black to white,
        from which it looks different.
        """
        if self._last is None:
            return None
        before, embedding = self._last
        parts = _parts(rgb)
        if parts.shape != before.shape or np.abs(parts - before).max() >= 255 * threshold:
            return None
        return embedding

    def put(self, rgb: np.ndarray, embedding: ImageEmbedding) -> None:
        """Remember a picture that was encoded."""
        self._last = _parts(rgb), embedding

    def clear(self) -> None:
        """Forget it."""
        self._last = None


def _parts(rgb: np.ndarray) -> np.ndarray:
    """Average the parts of a picture: (height, width, 3) float32."""
    height, width = (min(max(side // _LEAST_PIXELS, 1), _PARTS) for side in rgb.shape[:2])
    # In whole numbers first, because floats of a large picture take long.
    if min(rgb.shape[0] // height, rgb.shape[1] // width) >= 2 * _LEAST_PIXELS:
        rgb = cv2.resize(rgb, (8 * width, 8 * height), interpolation=cv2.INTER_AREA)
    means = cv2.resize(rgb.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(means)
