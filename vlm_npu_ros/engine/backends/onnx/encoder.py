"""Vision encoder as an ONNX graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vlm_npu_ros.engine.backends.base import VisionEncoder
from vlm_npu_ros.engine.backends.onnx.sessions import open_session
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.images import letterbox


class OnnxEncoder(VisionEncoder):
    """
    Runs a graph with one input and one output.

    Input: (1, size, size, 3) uint8 RGB, normalised inside the graph.
    Output: (1, tokens, dim) float32.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self._session = open_session(path, threads)
        shapes = [list(i.shape) for i in self._session.get_inputs()]
        self._input = self._session.get_inputs()[0].name
        if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] != shapes[0][2]:
            raise ModelFileError(
                f'{path} is no vision encoder: expected one input (1, size, size, 3), '
                f'found {shapes}'
            )
        self._size = int(shapes[0][1])
        self.dim = int(self._session.get_outputs()[0].shape[-1])

    def encode(self, rgb: np.ndarray) -> np.ndarray:
        """Return the embedding, (tokens, 1, dim) float32."""
        picture = letterbox(rgb, self._size)
        (embedding,) = self._session.run(None, {self._input: picture[None]})
        return np.ascontiguousarray(embedding[0][:, None, :])
