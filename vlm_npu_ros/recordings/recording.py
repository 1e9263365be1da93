# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What a recording is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """
    A recorded picture.

    rgb: (height, width, 3) uint8. seconds: since the first one. stamp: of its message, seconds
    and nanoseconds; None if it has none. name: of its file; '' if it has none of its own.
    """

    rgb: np.ndarray
    seconds: float
    stamp: tuple[int, int] | None = None
    name: str = ''


class Recording(ABC):
    """
    Pictures in the order in which they were taken.

        with opened(Path('drive'), '/camera/image_raw') as recording:  # of opening.py
            print(recording.frame(len(recording.times) - 1).stamp)

    times: of all pictures, seconds since the first one.
    """

    times: Sequence[float]

    @abstractmethod
    def frame(self, number: int) -> Frame:
        """Read one of the pictures; raise ImageError if it cannot be decoded."""

    def close(self) -> None:
        """Give back what it holds."""

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
