# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Vision encoder in an ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from vlm_npu_ros.engine.backends.base import VisionEncoder
from vlm_npu_ros.engine.backends.onnx.sessions import open_session
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.images import letterbox


class OnnxEncoder(VisionEncoder):
    """
    Runs a graph with one input and one output; raises ModelFileError for others.

    Input: (1, size, size, 3) uint8 RGB, normalised inside the graph.
    Output: (1, tokens, dim) float32.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self._session = open_session(path, threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        match [(i.type, *i.shape) for i in inputs], [(o.type, *o.shape) for o in outputs]:
            case (
                [('tensor(uint8)', _, int(size), int(width), 3)],
                [('tensor(float)', _, _, int(dim))],
            ) if size == width:
                self._input, self.size, self.dim = inputs[0].name, size, dim
            case found:
                raise ModelFileError(
                    f'{path} is not a vision encoder: expected one input (1, size, size, 3) of '
                    f'uint8 and one output (1, tokens, dim) of float32, found {found}'
                )

    def encode(self, rgb: np.ndarray) -> np.ndarray:
        picture = letterbox(rgb, self.size)
        (embedding,) = self._session.run(None, {self._input: picture[None]})
        return np.ascontiguousarray(embedding[0][:, None, :])
