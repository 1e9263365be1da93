# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""One backend of a chain: its engine, its breaker and its embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from vlm_npu_ros.engine.breaker import Breaker, BreakerState
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import (
    AnswerTimeoutError,
    as_vlm_error,
    BackendCrashedError,
    BackendError,
    BackendUnavailableError,
    VlmError,
)
from vlm_npu_ros.engine.generation import Cancellation, Generation, StreamedGeneration
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.stream import Stream
from vlm_npu_ros.engine.types import (
    Chunk,
    GenerationFigures,
    GenerationRequest,
    ImageEmbedding,
    NOTHING_READ,
    Source,
)


@dataclass(frozen=True, eq=False)
class SharedEmbedding(ImageEmbedding):
    """
    A picture for all backends of a chain.

    data: embedding of the backend that encoded it first.
    picture: (height, width, 3) uint8, for the others.
    made: its embeddings, by backend.
    """

    picture: np.ndarray
    made: dict[str, ImageEmbedding]

    @property
    def tokens(self) -> int:
        """Prompt tokens that it takes in the backend that encoded it first."""
        return next(iter(self.made.values())).tokens

    @property
    def nbytes(self) -> int:
        """Bytes that it takes, all its embeddings included."""
        return self.picture.nbytes + sum(made.nbytes for made in list(self.made.values()))


class Member:
    """
    A backend of a chain.

    make: creates its engine.
    """

    def __init__(self, name: str, make: Callable[[], Engine], breaker: Breaker) -> None:
        self.name, self.breaker = name, breaker
        self.engine: Engine | None = None  # once it is loaded
        self.answered = 0  # questions
        self._make = make
        self._starting: Engine | None = None
        self._closed = False
        self._abandoned: Generation | None = None  # the last answer that took too long
        self._seen: ImageEmbedding | None = None  # the last one made, to count tokens with

    def load(self) -> None:
        """Load the models; raise BackendError, which says what to do."""
        try:
            self._starting = engine = self._make()
            if self._closed:
                engine.close()
            engine.load()
        except Exception as error:
            failure = as_vlm_error(error, BackendCrashedError)
            self.breaker.fail(str(failure), at_once=True)
            if failure is error:
                raise
            raise failure from error
        self.engine, self._starting = engine, None
        self.breaker.succeed()
        if self._closed:
            engine.close()

    @property
    def loaded(self) -> Engine:
        """Engine; raises BackendUnavailableError before it is loaded."""
        if self.engine is None:
            raise BackendUnavailableError(self._missing)
        return self.engine

    @property
    def _missing(self) -> str:
        reason = self.breaker.reason
        return f'it is not loaded: {reason}' if reason else 'it is still being loaded'

    @property
    def source(self) -> Source:
        """Names of the backend and of its model."""
        return Source(self.name, self.engine.model_name if self.engine else '')

    @property
    def obstacle(self) -> str:
        """Why another backend should be asked first; '' = there is no reason."""
        if self.engine is None:
            return self._missing
        if not self.engine.is_ready:
            return f'it is being restarted: {self.engine.failure or "its process has ended"}'
        if self._abandoned and not self._abandoned.join(0):
            return 'it is still busy with a question that took too long'
        if self.breaker.state is BreakerState.OPEN:
            return f'{self.breaker.reason}; tried again in {in_words(self.breaker.remaining)}'
        return ''

    def note(self, error: VlmError) -> None:
        """Take a failure; a request that is refused does not count as one."""
        if isinstance(error, (BackendError, AnswerTimeoutError)):
            lasting = isinstance(error, BackendError) and not isinstance(
                error, BackendCrashedError)
            self.breaker.fail(str(error), at_once=lasting)

    def encode(self, rgb: np.ndarray) -> ImageEmbedding:
        """Encode a picture, (height, width, 3) uint8 RGB."""
        self._seen = embedding = self.loaded.encode(rgb)
        return embedding

    def own(self, image: ImageEmbedding) -> ImageEmbedding:
        """Get this backend's embedding of a picture; encode it if that has not been done."""
        shared = _shared(image)
        if self.name not in shared.made:
            shared.made[self.name] = self.encode(shared.picture)
        return shared.made[self.name]

    def restore(self, image: ImageEmbedding) -> None:
        """Encode the picture now if this backend has no embedding of it."""
        self.loaded.restore(self.own(image))

    def sized(self, request: GenerationRequest) -> GenerationRequest | None:
        """Give the request pictures to count tokens of; None before any picture was encoded."""
        images = []
        for image in request.images:
            own = _shared(image).made.get(self.name, self._seen)
            if own is None:
                return None
            images.append(own)
        return request.with_images(tuple(images))

    def prepare(
        self, images: tuple[ImageEmbedding, ...], cancelled: Cancellation
    ) -> GenerationFigures:
        """Read images ahead that this backend has encoded already."""
        made = [_shared(image).made.get(self.name) for image in images]
        own = tuple(image for image in made if image is not None)
        return self.loaded.prepare(own, cancelled) if len(own) == len(made) else NOTHING_READ

    def generate(self, request: GenerationRequest) -> Generation:
        """
        Have this backend answer.

        Pictures that it has not encoded yet are encoded first, in a thread of their own, so that
        the reader does not have to wait for that.
        """
        if all(self.name in _shared(image).made for image in request.images):
            return self._asked(request)

        def begin(chunks: Stream[Chunk], cancelled: Cancellation, _: float | None) -> None:
            chunks.run(lambda: self._encoded(request, cancelled), f'ask {self.name}')

        return StreamedGeneration(begin)

    def _encoded(self, request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        with self._asked(request) as answer:
            cancelled.add_callback(answer.cancel)
            yield from answer
        answer.join()

    def _asked(self, request: GenerationRequest) -> Generation:
        images = tuple(map(self.own, request.images))
        return self.loaded.generate(request.with_images(images))

    def leave(self, answer: Generation) -> None:
        """Give up on an answer that takes too long; ask this backend again when it has ended."""
        answer.close()
        self._abandoned = answer

    def succeed(self) -> bool:
        """Record an answer; return whether it is the first one after failures."""
        self.answered += 1
        is_back = self.breaker.state is not BreakerState.CLOSED
        self.breaker.succeed()
        return is_back

    def close(self) -> None:
        """Free the models; may be called twice."""
        self._closed = True
        for engine in (self._starting, self.engine):
            if engine:
                engine.close()


def _shared(image: ImageEmbedding) -> SharedEmbedding:
    assert isinstance(image, SharedEmbedding)
    return image
