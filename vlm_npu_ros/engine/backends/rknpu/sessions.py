# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Loaded .rknn files: the seam between the encoder and the runtimes that can run it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from vlm_npu_ros.engine.backends.rknpu.librknnrt import LibrknnrtSession
from vlm_npu_ros.engine.backends.rknpu.rknnlite import has_rknnlite, RknnliteSession
from vlm_npu_ros.engine.model_files.rknn import RknnFile


class RknnSession(Protocol):
    """
    A graph with one picture as its input, for one thread at a time.

    versions: of librknnrt.so and driver, for people; '' if the runtime does not tell.
    """

    versions: str

    def described(self) -> Mapping[str, Mapping[str, Any]]:
        """Describe inputs and outputs as rknn-toolkit2 does; empty if the runtime cannot."""

    def run(self, pixels: np.ndarray) -> list[np.ndarray]:
        """
        Return the outputs as float32.

        pixels: [1, height, width, 3], uint8, or float32 if the graph does not normalise them.
        Raises BackendCrashedError if the run failed and the runtime says so.
        """

    def release(self) -> None:
        """Free the model; may be called twice."""


def open_rknn(
    path: Path, file: RknnFile | None, core_mask: int, runtime: str = 'auto'
) -> RknnSession:
    """
    Load a model.

    file: its description; None = encrypted.
    core_mask: RKNN_NPU_CORE_*; 0 = the runtime chooses.
    runtime: rknnlite, librknnrt, or auto: rknnlite where it can be imported.
    Raises BackendError with what to do if that fails.
    """
    if runtime == 'librknnrt' or (runtime == 'auto' and not has_rknnlite()):
        return LibrknnrtSession(path, file, core_mask)
    return RknnliteSession(path, file, core_mask)
