# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What must become of a camera message, whatever it holds."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from vlm_npu_ros.engine.conversions import to_rgb
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.images import letterbox

ANY_TEXT = st.text(st.characters(), max_size=20)  # unpaired surrogates too
RANDOM = np.random.default_rng(0).bytes(1 << 20)
_LONGEST_MESSAGE = 1000  # characters
_REASONS = (
    'is not known', 'depth image', 'pixels or more', 'needs a step', 'bytes of data',
    'shares its colour', 'no known format', 'not read here', 'cut short', 'says that it is',
    'holds no picture', 'scans', 'grey and transparent', 'cannot be decoded',
    'cannot be converted',
)


def take(msg: Image | CompressedImage, counts: Counter[str]) -> bool:
    """Return whether the node can show a message to the encoder, or else refuses it."""
    try:
        rgb = to_rgb(msg)
    except ImageError as error:
        text = str(error)
        assert len(text) < _LONGEST_MESSAGE
        text.encode()  # or the log would not take it
        counts[f'ImageError: {next(reason for reason in _REASONS if reason in text)}'] += 1
        return False
    assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.size
    if isinstance(msg, Image):
        assert rgb.shape == (msg.height, msg.width, 3)
    assert letterbox(rgb, 28).shape == (28, 28, 3)
    counts['converted'] += 1
    return True
