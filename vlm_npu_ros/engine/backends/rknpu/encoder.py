# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Vision encoder as a .rknn file, run by RKNNLite or by librknnrt.so itself."""

from __future__ import annotations

from pathlib import Path
import threading

import numpy as np
from vlm_npu_ros.engine.backends.base import VisionEncoder
from vlm_npu_ros.engine.backends.rknpu.descriptions import described_elsewhere
from vlm_npu_ros.engine.backends.rknpu.sessions import open_rknn
from vlm_npu_ros.engine.backends.rknpu.shared_npu import SharedNpu
from vlm_npu_ros.engine.errors import BackendCrashedError
from vlm_npu_ros.engine.images import letterbox, normalise
from vlm_npu_ros.engine.model_files.agreement import check_agreement
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import ModelProfile

# All cores of the chips that have several; elsewhere any mask is refused.
_ALL_CORES = {'rk3588': 7, 'rk3576': 3}
# Smaller changes of a pixel may change no token, in 16 bits.
_OTHER_PICTURE = 32
_READ_LOG = 'The log above may say why'


class RknnEncoder(VisionEncoder):
    """
    Runs a graph with one input, the picture, and one output or several of the same shape.

    Its shapes come from the file or, if that is encrypted, from the runtime or the profile; an
    encrypted graph must normalise the pixels itself.

    size: side of the square picture in pixels.
    tokens, outputs, dim: shape of the embeddings.
    """

    def __init__(
        self, path: Path, profile: ModelProfile, *,
        platform: str = 'rk3588', core_mask: int | None = None, size: int = 0, lock: str = '',
        runtime: str = 'auto',
    ) -> None:
        """
        Load the file: takes seconds, and with RKNNLite for a moment as much memory as it has.

        platform: the board's chip.
        core_mask: RKNN_NPU_CORE_* to use; None = all of the platform's, 0 = any one.
        size: side of the picture, for files that do not tell it; 0 = as the profile says.
        lock: file of SharedNpu.
        runtime: see open_rknn.
        Raises BackendError if file, profile, board and runtime do not fit together.
        """
        core_mask = _ALL_CORES.get(platform, 0) if core_mask is None else core_mask
        found, source = RknnFile.try_read(path), 'the file'
        if found is not None:
            check_agreement(found, source, profile, platform, size)
        self._npu = SharedNpu(lock)
        try:
            self._session = open_rknn(path, found, core_mask, runtime)
        except BaseException:
            self._npu.close()
            raise
        # Both runtimes let two threads into one context.
        self._lock = threading.Lock()
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        try:
            if found is None:
                found, source = described_elsewhere(self._session, path, profile, size)
                check_agreement(found, source, profile, platform, size)
        except BaseException:
            self.close()
            raise
        self._file, self._image = found, profile.image
        self.size, self.tokens, self.dim = found.size, found.tokens, found.dim
        self.outputs = len(found.outputs)

    def encode(self, rgb: np.ndarray) -> np.ndarray:
        picture = letterbox(rgb, self.size)
        with self._lock:
            fed = self._fed(picture)
            with self._npu.held():
                results = self._session.run(fed)
            embedding = self._checked(results)
            self._check_fresh(picture, embedding)
        return embedding

    @property
    def versions(self) -> str:
        """Versions of librknnrt.so and of the driver; '' if the runtime does not tell."""
        return self._session.versions

    def close(self) -> None:
        with self._lock:
            self._session.release()
            self._npu.close()
            self._last = None

    def _fed(self, picture: np.ndarray) -> np.ndarray:
        """Make the four-dimensional array that the session takes."""
        if self._file.folded:
            return picture[None]
        assert self._image is not None  # check_agreement
        return normalise(picture, self._image.mean, self._image.std)[None]

    def _checked(self, results: list[np.ndarray]) -> np.ndarray:
        """
        Interleave the outputs for each token, as the language model reads them.

        RKNNLite returns arrays even if the run failed: with whatever was in them before.
        """
        shapes, wanted = [r.shape for r in results], (self.tokens, self.dim)
        if len(shapes) != self.outputs or any(
            s[-2:] != wanted or set(s[:-2]) - {1} for s in shapes
        ):
            raise BackendCrashedError(
                f'The vision encoder returned {shapes}, expected {self.outputs} of {wanted}'
            )
        for number, result in enumerate(results):
            if not np.isfinite(result).all() or not result.any():
                raise BackendCrashedError(
                    f'Output {number} of the vision encoder is all zeros or not finite: the run '
                    'on the NPU failed',
                    _READ_LOG,
                )
        return np.stack([r.reshape(wanted) for r in results], axis=1)

    def _check_fresh(self, picture: np.ndarray, embedding: np.ndarray) -> None:
        """Raise BackendCrashedError if this is the embedding of the previous picture."""
        if self._last is not None and np.array_equal(embedding, self._last[1]):
            change = np.abs(picture.astype(np.int16) - self._last[0]).max()
            if change >= _OTHER_PICTURE:
                raise BackendCrashedError(
                    'The vision encoder returned the embedding of an earlier, different picture: '
                    'the run on the NPU failed',
                    _READ_LOG,
                )
        else:
            self._last = picture, embedding.copy()
