# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Interface of the engines, which answer questions about pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from vlm_npu_ros.engine.breaker import Breaker
from vlm_npu_ros.engine.generation import Cancellation, Generation
from vlm_npu_ros.engine.types import (
    Chunk,
    GenerationFigures,
    GenerationRequest,
    ImageEmbedding,
    ReadAhead,
    Source,
)


@dataclass(frozen=True)
class FittedRequest:
    """
    A request that fits into the context.

    images: indices of the remaining images in the original request.
    """

    request: GenerationRequest
    images: tuple[int, ...]
    dropped_turns: int


class EngineMember(Protocol):
    """
    One backend of a chain, as its users see it; `Member` implements it.

    answered: number of answered questions.
    """

    name: str
    breaker: Breaker
    answered: int

    @property
    def engine(self) -> Engine | None:
        """Engine of the backend; None until it is loaded."""

    @property
    def source(self) -> Source:
        """Names of the backend and of its model."""

    @property
    def obstacle(self) -> str:
        """Why other backends are asked first; '' if they are not."""


class Engine(ABC):
    """
    Answers questions about pictures; safe to use from several threads.

    LocalEngine runs the models in this process, IsolatedEngine in a child process, and
    FallbackEngine asks one of several such engines.

        engine.load()
        image = engine.encode(rgb)
        fitted = engine.fit(GenerationRequest('What is on the table?', (image,)))
        with engine.generate(fitted.request) as generation:
            for chunk in generation:
                print(chunk.text, end='', flush=True)  # chunk.thought is no part of the answer
        engine.close()

    All errors are VlmErrors.
    """

    @property
    @abstractmethod
    def model_name(self) -> str:
        """Name of the model that answers."""

    @property
    @abstractmethod
    def context(self) -> int:
        """Tokens that question, images, dialogue and answer share."""

    @property
    def is_ready(self) -> bool:
        """Whether a question could be answered without waiting for a restart."""
        return True

    @property
    def failure(self) -> str:
        """Why no question can be answered now; '' = questions can be answered."""
        return ''

    @property
    def restarts(self) -> int:
        """How many times processes of the engine were restarted."""
        return 0

    @property
    def memory(self) -> int:
        """Resident bytes of the engine's own processes."""
        return 0

    @property
    def probabilities(self) -> str:
        """How the model tells probabilities of choices, and why not better; '' = as its kind."""
        return ''

    @property
    def members(self) -> tuple[EngineMember, ...]:
        """Backends of a chain in order of preference; () for an engine of one backend."""
        return ()

    @property
    @abstractmethod
    def read_ahead(self) -> ReadAhead:
        """Whether `prepare` works; it may stop to while questions are answered."""

    def load(self) -> None:
        """
        Load the models, unless they were loaded when the engine was created.

        Raises BackendError, or InactiveError if the engine is closed meanwhile.
        """

    @abstractmethod
    def encode(self, rgb: np.ndarray) -> ImageEmbedding:
        """
        Encode a picture, (height, width, 3) uint8 RGB.

        Raises ImageError for any other array, BackendError if the encoder fails.
        """

    def restore(self, embedding: ImageEmbedding) -> None:
        """Encode the picture of an embedding again now, if a restart has lost it."""

    @abstractmethod
    def tokens(self, request: GenerationRequest) -> int:
        """Return an upper bound of the tokens of images, turns and question."""

    @abstractmethod
    def fit(self, request: GenerationRequest, limit: int = 0) -> FittedRequest:
        """
        Leave out turns and images that the context has no room for.

        The oldest turns go first; if none is left, the images are thinned out evenly. A request
        that still does not fit ends with ContextError when it is generated.
        limit: tokens of images, turns and question; 0 = as many as the context allows.
        """

    @abstractmethod
    def prepare(
        self, images: tuple[ImageEmbedding, ...], cancelled: Cancellation
    ) -> GenerationFigures:
        """
        Read what a question about these images begins with, so that its answer begins sooner.

            engine.prepare((image,), Cancellation())
            engine.answer(GenerationRequest('What is on the table?', (image,)))

        Returns what it has cost when that is read: no tokens if all is held already, if the
        backend cannot do it, or if other work goes first. Answers stay the same. A live dialogue
        is displaced by it, as by any other question.

        cancelled: ends the waiting at once, and the reading as soon as the backend can. A question
            about other images waits for the rest of it at most.
        """

    @abstractmethod
    def generate(self, request: GenerationRequest) -> Generation:
        """
        Answer a question; one at a time, others wait for their turn.

        With choices, the answer ends at the words that decide, and the last chunk has the verdict.
        """

    def write(
        self, request: GenerationRequest, cancelled: Cancellation
    ) -> Generator[Chunk, None, None]:
        """
        Answer a question for a thread that has nothing else to wait for; exhaust or close it.

        Models in this process write in that thread, which saves handing over each token. A cancel
        then ends the answer when the model notices, as a rule at its next token.
        """
        with self.generate(request) as generation:
            cancelled.add_callback(generation.cancel)
            yield from generation

    def write_out(
        self, request: GenerationRequest, cancelled: Cancellation
    ) -> Iterator[Chunk]:
        """Answer as `write` does, but end a cancelled answer with the model's own last chunk."""
        return self.write(request, cancelled)

    def answer(self, request: GenerationRequest) -> str:
        """Generate the whole answer."""
        text = ''
        for chunk in self.generate(request):
            text = chunk.text if chunk.retracts else text + chunk.text
        return text

    def pause(self) -> None:
        """Cancel the running generation; until `resume`, no call waits for a restart."""

    def resume(self) -> None:
        """Accept questions again."""

    @abstractmethod
    def close(self) -> None:
        """Free the models; open calls end with InactiveError. May be called twice."""
