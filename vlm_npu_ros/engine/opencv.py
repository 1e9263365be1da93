# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What differs between the versions of OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import re
import unicodedata

import cv2
import numpy as np

_SILENT = 0  # LOG_LEVEL_SILENT
# These functions moved in OpenCV 5.
_logging = getattr(cv2.utils, 'logging', cv2)
_DRAWS_UNICODE = int(cv2.__version__.partition('.')[0]) >= 5
_LIKE = {'Mn': '', 'Pd': '-', 'Pf': "'", 'Pi': "'"}  # ASCII for categories of characters


@contextmanager
def quiet() -> Iterator[None]:
    """Keep OpenCV from printing about what is reported as an error anyway."""
    level = _logging.getLogLevel()
    _logging.setLogLevel(_SILENT)
    try:
        yield
    finally:
        _logging.setLogLevel(level)


def turned(picture: np.ndarray) -> np.ndarray:
    """Return a copy with the channels in the other order: BGR of RGB, or RGB of BGR."""
    if picture.shape[:2] == (1, 1):  # which OpenCV 4.5 does not take
        return picture[:, :, ::-1].copy()
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def drawable(text: str) -> str:
    """
    Return a text as `cv2.putText` can draw it, in one line.

    OpenCV 5 draws most scripts, OpenCV 4 only ASCII: letters lose their accents there, and what
    has no likeness in ASCII becomes a question mark.
    """
    line = ''.join(filter(str.isprintable, ' '.join(text.split())))
    if _DRAWS_UNICODE:
        return line
    parts = unicodedata.normalize('NFKD', line)
    likeness = ''.join(_LIKE.get(unicodedata.category(part), part) for part in parts)
    return re.sub('[^ -~]+', '?', likeness)
