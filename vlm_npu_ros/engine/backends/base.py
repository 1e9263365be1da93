# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Interface of the models: a backend is a vision encoder and a language model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np
from vlm_npu_ros.engine.choices.instructions import Instructions
from vlm_npu_ros.engine.errors import ContextError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.locating.grounding import Grounding
from vlm_npu_ros.engine.types import (
    Chunk,
    GenerationFigures,
    GenerationRequest,
    ImageEmbedding,
    NOTHING_READ,
    ReadAhead,
)

# Writes an answer, as `LanguageModel.generate` does.
Answer = Callable[[GenerationRequest, Cancellation], Iterator[Chunk]]


class VisionEncoder(ABC):
    """
    Turns pictures into embeddings.

        embedding = ImageEmbedding(encoder.encode(rgb), encode_seconds=0.0)

    size: side in pixels of the square that pictures are fitted into; 0 = any size.
    embedding_type: type of the embeddings.
    needs_npu: no answer may be written while it works, because NPUs hang then.
    """

    size: int = 0
    embedding_type: type[ImageEmbedding] = ImageEmbedding
    needs_npu: bool = True

    @abstractmethod
    def encode(self, rgb: np.ndarray) -> np.ndarray:
        """
        Encode a picture of any size.

        rgb: (height, width, 3) uint8.
        Returns (tokens, outputs, dim) float32, C-contiguous, unless `embedding_type` says
        otherwise. Raises ImageError for an array that does not hold a picture and
        BackendCrashedError when the runtime fails.
        """

    def seen(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height in pixels of what the model gets of a picture of this size."""
        return (self.size, self.size) if self.size else (width, height)

    def close(self) -> None:
        """Free the model; may be called twice."""


class LanguageModel(ABC):
    """
    Writes answers about embeddings, one at a time.

        request = GenerationRequest('What is on the table?', (embedding,))
        for chunk in model.generate(request, Cancellation()):
            print(chunk.text, end='')

    context: tokens of question, images, dialogue and answer.
    instructions: how the model is asked for one of several answers.
    grounding: how it is asked where something is, and says so; None = it cannot.
    unopened_thoughts: its text may begin within a thought, because the prompt has opened it; None
        = unknown. The engine keeps thoughts out of answers (thoughts.py); a model yields what it
        wrote, and thoughts that it can tell apart itself as `Chunk.thought`.
    tells_probabilities: `score` works for what comes first in the answer that is being written:
        then a choice need not be read on. Where `score` fails nevertheless, the model is asked
        back.
    takes_up_dialogues: a dialogue that another one has displaced can go on.
    takes_system_prompt: its prompts have a place for the role that it is to play.
    read_ahead: whether `prepare` works; it may change when an answer shows that it does not.
    """

    name: str
    context: int
    unopened_thoughts: bool | None = False
    instructions: Instructions = Instructions()
    grounding: Grounding | None = None
    tells_probabilities: bool = False
    takes_up_dialogues: bool = True
    takes_system_prompt: bool = False
    read_ahead: ReadAhead = ReadAhead()

    @property
    def probabilities(self) -> str:
        """How they are had and why not better, for people; '' = as always."""
        return ''

    @abstractmethod
    def tokens(self, request: GenerationRequest) -> int:
        """Count the tokens of images, turns and question, not of the answer; an upper bound."""

    def may_displace(self, request: GenerationRequest) -> bool:
        """Tell whether the dialogue of a request ends with it, or can be taken up again."""
        return self.takes_up_dialogues or not request.keep

    def learn(self, request: GenerationRequest, room: int, cancelled: Cancellation) -> None:
        """
        Find out more about the tokens of a request that may not fit into so many.

        For models whose `tokens` is far too high for a text at first; it may run the model
        until `cancelled` is set.
        """

    def check_fits(self, request: GenerationRequest, needed: str, tokens: int) -> None:
        """
        Raise ContextError if the prompt leaves no room for the answer.

        needed: what the prompt takes, in words. tokens: the same as a number.
        """
        if tokens + request.max_new_tokens > self.context:
            raise ContextError(
                f'The question takes {needed} ({request.image_tokens} of them for the image) and '
                f'the answer up to {request.max_new_tokens}, but the context of {self.name} holds '
                f'{self.context}: ask shorter or lower max_new_tokens'
            )

    def prepare(
        self, images: tuple[ImageEmbedding, ...], cancelled: Cancellation
    ) -> GenerationFigures:
        """
        Read these images into the cache, with all that comes before the question in a prompt.

        Called only where `read_ahead.possible`, and not while an answer is written. The next
        `generate` about the same images then reads only what follows, tells the rest as
        `GenerationFigures.read_ahead_tokens`, and answers just as it would have without. Raises
        BackendCrashedError if the runtime fails.

        cancelled: as for `generate`; what was read by then may be kept.
        """
        return NOTHING_READ

    @abstractmethod
    def generate(self, request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        """
        Yield the answer in chunks while it is written.

        Only the last chunk has a finish reason and figures. Raises ContextError, before any chunk,
        if the request does not fit into the context, and BackendCrashedError if the runtime fails.

        cancelled: ends the answer soon, with the finish reason CANCELLED; it may be set at any
            time, even before the answer begins. Closing the iterator ends the answer, too.
        """

    def score(
        self, request: GenerationRequest, said: str, endings: tuple[str, ...]
    ) -> tuple[float, ...] | None:
        """
        Tell how probable each ending is after the beginning of an answer; None = unknown.

        Called after `generate` of the same request has ended.
        """
        return None

    def close(self) -> None:
        """Free the model; may be called twice."""
