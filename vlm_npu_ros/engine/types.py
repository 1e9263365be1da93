# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Requests to the models, and what comes back: embeddings, chunks, figures."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import Enum
import math

import numpy as np
from vlm_npu_ros.engine.placement import Placement

YES_NO = ('yes', 'no')
UNCLEAR = 'unclear'


class FinishReason(str, Enum):
    """Why an answer ended."""

    EOS = 'eos'  # the model ended it
    LENGTH = 'length'  # max_new_tokens reached
    STOP = 'stop'  # the engine ended it: a stop string, a decisive token
    REPETITION = 'repetition'  # the engine cut it, because it repeated itself without end
    CANCELLED = 'cancelled'
    TIMEOUT = 'timeout'
    ERROR = 'error'

    @property
    def is_whole(self) -> bool:
        """Whether all was said that will be: a question can follow the answer up."""
        return self in (
            FinishReason.EOS, FinishReason.LENGTH, FinishReason.STOP, FinishReason.REPETITION
        )


@dataclass(frozen=True)
class ImageEmbedding:
    """
    One image as the language model reads it.

    data: (tokens, outputs, dim) float32, C-contiguous; outputs is 1 unless the encoder feeds
        several layers of the language model (deepstack).
    encode_seconds: wall time of the encoding.
    """

    data: np.ndarray
    encode_seconds: float

    @staticmethod
    def is_sound(data: np.ndarray) -> bool:
        """Return whether `data` has the shape, type and layout described above."""
        return data.ndim == 3 and data.dtype == np.float32 and data.flags.c_contiguous

    @property
    def tokens(self) -> int:
        """Prompt tokens that the image takes."""
        return int(self.data.shape[0])

    @property
    def nbytes(self) -> int:
        return self.data.nbytes


def same_images(first: tuple[ImageEmbedding, ...], second: tuple[ImageEmbedding, ...]) -> bool:
    """Return whether both hold the same embedding objects, not only equal ones."""
    return len(first) == len(second) and all(a is b for a, b in zip(first, second, strict=True))


@dataclass(frozen=True)
class Sampling:
    """
    How the next token is drawn.

    temperature: 0 always takes the most likely token (greedy).
    top_k: number of most likely tokens to draw from; 0 = all.
    top_p: draw from the most likely tokens that together have this probability; 1 = all.
    seed: of the random numbers; None = different every time.
    """

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    seed: int | None = None


@dataclass(frozen=True)
class Turn:
    """A question of a dialogue and its answer."""

    question: str
    answer: str


class DecidedBy(str, Enum):
    """In which way it was decided what an answer says."""

    PROBABILITY = 'probability'  # the model's own probabilities of the choices
    WORDS = 'words'  # its first words
    ASKED_BACK = 'asked_back'  # the model was asked what it said
    NOTHING = ''

    @property
    def told(self) -> str:
        """Say it in words, for people."""
        return {'probability': 'its probability', 'words': 'its first words',
                'asked_back': 'asking back'}.get(self.value, '')


@dataclass(frozen=True)
class Verdict:
    """
    The choice that an answer decides for.

    index: into the choices of the request; None = unclear.
    probability: of this choice according to the model, 0..1; None = not reported.
    decided_by: the way; NOTHING where none of them decided, so that it is unclear.
    number: the answer to a question for a number, whose index is 0; None = there is none.
    """

    index: int | None
    probability: float | None = None
    decided_by: DecidedBy = DecidedBy.NOTHING
    number: float | None = None


Corners = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Spot:
    """
    Where a thing is.

    corners: of the box around it, in pixels of the picture, or whatever the function that returns
        it says; equal ones if only a place is told.
    score: how sure the model is, 0..1; 0 = not told.
    """

    label: str
    corners: Corners
    score: float = 0.0


@dataclass(frozen=True)
class NumberRange:
    """
    The numbers that a question can be answered with.

    unit: that the answer is in; '' = things are counted, or the question says it.
    """

    low: float = -math.inf
    high: float = math.inf
    unit: str = ''


@dataclass(frozen=True)
class GenerationRequest:
    """
    A question about images, in the order in which the model sees them.

    turns: what was said about these images before, oldest first.
    keep: a follow-up may come, so the backend keeps what the model has read.
    video: the images are frames of one video, oldest first, not separate pictures.
    choices: the allowed answers; generation stops at the words that decide.
    min_probability: a choice less likely than this is unclear, if the backend reports it.
    number: the answer is a number; not together with choices.
    schema: the answer is JSON that fits this JSON Schema, a text; '' = any JSON, None = free text.
    system_prompt: the role that the model is to play; '' = its own.
    locate: the answer tells where the things are that the question names, for example 'the red
        box', in the picture from which the last image came to the model in this way.
    ask_back: where the first words do not decide, the model is asked what it said; where JSON does
        not fit, it is asked once more.
    backend: the one of a chain to ask; '' = the first that can answer.

    >>> GenerationRequest('Is the path clear?', (embedding,), choices=('yes', 'no'))
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
    number: NumberRange | None = None
    schema: str | None = None
    system_prompt: str = ''
    locate: Placement | None = None
    ask_back: bool = True
    backend: str = ''

    @property
    def image_tokens(self) -> int:
        return sum(image.tokens for image in self.images)

    @property
    def is_typed(self) -> bool:
        """Whether the answer is one to branch on: a choice or a number."""
        return bool(self.choices or self.number)

    def decided(self, verdict: Verdict) -> str:
        """Name what an answer decides for: one of the choices, a number, or unclear."""
        if verdict.number is not None:
            return f'{verdict.number:.15g}'
        return UNCLEAR if verdict.index is None else self.choices[verdict.index]

    def with_images(self, images: tuple[ImageEmbedding, ...]) -> GenerationRequest:
        """Copy the request with other images."""
        return replace(self, images=images)


@dataclass(frozen=True)
class ReadAhead:
    """
    Whether a model reads pictures before the question comes, see `Engine.prepare`.

    possible: it can, and its answers stay the same.
    unasked: it does so unless it is told not to, because that costs nothing but its own time.
    why: it does not do so unasked; '' = it does.
    dialogues_return: a dialogue that it displaces can be taken up again.
    """

    possible: bool = False
    unasked: bool = False
    why: str = 'this backend cannot read ahead'
    dialogues_return: bool = True

    @classmethod
    def wanted(cls, is_wanted: bool) -> ReadAhead:
        """Make that of a model which can always do it, and does if its settings want it."""
        return cls(True, True, '') if is_wanted else cls(why='it was loaded without read_ahead')


@dataclass(frozen=True)
class GenerationFigures:
    """Cost of a generation as measured by the backend; times are seconds of wall time."""

    image_tokens: int  # among prompt_tokens
    prompt_tokens: int  # read for this answer, without what was held already
    new_tokens: int
    prefill_seconds: float
    decode_seconds: float
    thought_tokens: int = 0  # among new_tokens: what the model thought, about
    odd_events: int = 0  # of a server's answer that could not be read
    read_ahead_tokens: int = 0  # of the prompt, but read before the question; none of a dialogue

    @property
    def tokens_per_second(self) -> float:
        """Speed of writing; 0 if the answer was too short to measure."""
        if self.decode_seconds <= 0 or self.new_tokens < 2:
            return 0.0
        return (self.new_tokens - 1) / self.decode_seconds

    def __add__(self, other: GenerationFigures) -> GenerationFigures:
        """Add what another generation has cost."""
        return GenerationFigures(*(
            getattr(self, f.name) + getattr(other, f.name) for f in fields(self)
        ))


NOTHING_READ = GenerationFigures(0, 0, 0, 0.0, 0.0)


@dataclass(frozen=True)
class Source:
    """The backend and the model that wrote an answer, by name."""

    backend: str
    model: str


@dataclass(frozen=True)
class Chunk:
    """
    A piece of an answer; the last one has the finish reason and the figures.

    thought: what the model writes before its answer; no part of it. What may still turn out to be
        either is a thought at first.
    retracts: the text of all chunks before this one was a thought.
    verdict: in the last one, if the request has choices; None if it was cancelled.
    spots: in the last one, where the things are that the request locates, in its picture.
    note: in the last one, how the answer differs from what was asked for.
    source: the backend that wrote it, in a chain of backends.
    """

    text: str
    finish_reason: FinishReason | None = None
    figures: GenerationFigures | None = None
    verdict: Verdict | None = None
    spots: tuple[Spot, ...] = ()
    source: Source | None = None
    thought: str = ''
    retracts: bool = False
    note: str = ''
