"""What goes into the models and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np


class FinishReason(str, Enum):
    """Why an answer ended."""

    EOS = 'eos'  # the model ended it
    LENGTH = 'length'  # max_new_tokens reached
    STOP = 'stop'  # the engine ended it: a stop string, a repetition, a decisive token
    CANCELLED = 'cancelled'
    TIMEOUT = 'timeout'
    ERROR = 'error'


@dataclass(frozen=True)
class ImageEmbedding:
    """
    One image as the language model reads it.

    data: (tokens, outputs, dim) float32, C-contiguous; outputs is 1 unless the encoder feeds
        several layers of the language model (deepstack).
    encode_seconds: what it took to make.
    """

    data: np.ndarray
    encode_seconds: float

    @staticmethod
    def is_sound(data: np.ndarray) -> bool:
        """Return whether that is what `data` must be."""
        return data.ndim == 3 and data.dtype == np.float32 and data.flags.c_contiguous

    @property
    def tokens(self) -> int:
        """Return the number of prompt tokens that the image takes."""
        return int(self.data.shape[0])

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes."""
        return self.data.nbytes


def same_images(
    first: tuple[ImageEmbedding, ...], second: tuple[ImageEmbedding, ...]
) -> bool:
    """Return whether both are the very same embeddings, not only equal ones."""
    return len(first) == len(second) and all(a is b for a, b in zip(first, second, strict=True))


@dataclass(frozen=True)
class Sampling:
    """
    How the next token is drawn.

    temperature: 0 takes the most likely token always (greedy).
    top_k: draw among this many most likely tokens; 0 = all.
    top_p: draw among the most likely tokens that hold this share of probability; 1 = all.
    seed: None draws differently every time.
    """

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    seed: int | None = None


@dataclass(frozen=True)
class Turn:
    """A question of a dialogue, and the answer that was given."""

    question: str
    answer: str


@dataclass(frozen=True)
class Verdict:
    """
    What an answer decides for.

    index: into the choices of the request; None = for none of them, it is unclear.
    probability: that the model gave to this choice, 0..1; None where it does not tell.
    """

    index: int | None
    probability: float | None = None


@dataclass(frozen=True)
class GenerationRequest:
    """
    A question about images, in the order in which the model shall see them.

    turns: what was said about these images before, the oldest first.
    keep: whether a question may follow that goes on from this one; what the model has read then
        stays where it is.
    video: the images are frames of one video, oldest first, not pictures of their own.
    choices: the answer is to be one of these, and ends as soon as it is.
    min_probability: a choice less likely than this is unclear, where the backend tells.
    backend: which one of a chain shall answer; '' = the first that can.
    """

    question: str
    images: tuple[ImageEmbedding, ...]
    max_new_tokens: int = 256
    sampling: Sampling = Sampling()
    turns: tuple[Turn, ...] = ()
    keep: bool = False
    video: bool = False
    choices: tuple[str, ...] = ()
    min_probability: float = 0.0
    backend: str = ''

    def with_images(self, images: tuple[ImageEmbedding, ...]) -> GenerationRequest:
        """Return the same question about other images."""
        return replace(self, images=images)


@dataclass(frozen=True)
class GenerationFigures:
    """What a generation cost, as the backend measured it; seconds of wall time."""

    image_tokens: int  # among prompt_tokens
    prompt_tokens: int  # read for this answer; not what was still held of a dialogue
    new_tokens: int
    prefill_seconds: float
    decode_seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Return the speed of writing; 0 if that was too short to tell."""
        if self.decode_seconds <= 0 or self.new_tokens < 2:
            return 0.0
        return (self.new_tokens - 1) / self.decode_seconds


@dataclass(frozen=True)
class Source:
    """Who wrote an answer: names of a backend and of its model."""

    backend: str
    model: str


@dataclass(frozen=True)
class Chunk:
    """
    A piece of an answer; the last one says why the answer ended and what it cost.

    verdict: in the last one, of a request with choices; None if it was cancelled.
    source: who wrote it, where there is a chain of backends.
    """

    text: str
    finish_reason: FinishReason | None = None
    figures: GenerationFigures | None = None
    verdict: Verdict | None = None
    source: Source | None = None
