"""The seam behind which models run: a backend is a vision encoder and a language model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from vlm_npu_ros.engine.choices.instructions import Instructions
from vlm_npu_ros.engine.types import Chunk, GenerationRequest, ImageEmbedding


class VisionEncoder(ABC):
    """
    Turns pictures into embeddings.

        embedding = ImageEmbedding(encoder.encode(rgb), encode_seconds=0.0)

    size: side in pixels of the square that it fits them into; 0 = it takes them as they are.
    embedding_type: the kind of embedding that its data are.
    needs_npu: whether no answer may be written while it works, since NPUs hang then.
    """

    size: int = 0
    embedding_type: type[ImageEmbedding] = ImageEmbedding
    needs_npu: bool = True

    @abstractmethod
    def encode(self, rgb: np.ndarray) -> np.ndarray:
        """
        Return the embedding of a picture of any size.

        rgb: (height, width, 3) uint8.
        Returns (tokens, outputs, dim) float32, C-contiguous, unless `embedding_type` says
        otherwise. Raises ImageError for an array that does not hold a picture and
        BackendCrashedError when the runtime fails.
        """

    def close(self) -> None:
        """Free the model; may be called twice."""


class LanguageModel(ABC):
    """
    Writes answers about embeddings.

    context: tokens.
    instructions: how the model is asked for one of several answers.
    """

    name: str
    context: int
    instructions: Instructions = Instructions()

    @abstractmethod
    def tokens(self, request: GenerationRequest) -> int:
        """Return the tokens of images, turns and question, at most; the answer's are not in it."""

    @abstractmethod
    def generate(self, request: GenerationRequest) -> Iterator[Chunk]:
        """
        Yield the answer in chunks as it is written.

        The last chunk, and only it, has a finish reason and figures. Raises ContextError, before
        any chunk, if the request does not fit into the context, and BackendCrashedError when the
        runtime fails.
        """

    def score(
        self, request: GenerationRequest, said: str, endings: tuple[str, ...]
    ) -> tuple[float, ...] | None:
        """
        Return how probable each ending is after the beginning of an answer; None = unknown.

        Called after `generate` of the same request has ended.
        """
        return None

    @abstractmethod
    def abort(self) -> None:
        """End the running generation soon, as cancelled; may be called from any thread."""

    @abstractmethod
    def reset(self) -> None:
        """Forget everything that earlier requests left behind."""

    def close(self) -> None:
        """Free the model; may be called twice."""
