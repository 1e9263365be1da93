"""One backend of a chain: its engine, its breaker, and the answer that it is at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import queue
import threading

import numpy as np
from vlm_npu_ros.engine.breaker import Breaker, BreakerState
from vlm_npu_ros.engine.errors import (
    AnswerTimeoutError,
    BackendCrashedError,
    BackendError,
    BackendUnavailableError,
    VlmError,
)
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.types import (
    Chunk,
    FinishReason,
    GenerationRequest,
    ImageEmbedding,
    Source,
)


@dataclass(frozen=True, eq=False)
class SharedEmbedding(ImageEmbedding):
    """
    A picture that any backend of a chain can be asked about.

    data: of the backend that encoded it first.
    picture: (height, width, 3) uint8, for the others.
    made: its embeddings, by backend.
    """

    picture: np.ndarray
    made: dict[str, ImageEmbedding]

    @property
    def tokens(self) -> int:
        """Return the prompt tokens that it takes in the backend that encoded it first."""
        return next(iter(self.made.values())).tokens

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes, all its embeddings included."""
        return self.picture.nbytes + sum(made.nbytes for made in list(self.made.values()))


class Member:
    """
    A backend of a chain.

    make: returns its engine.
    """

    def __init__(self, name: str, make: Callable[[], Engine], breaker: Breaker) -> None:
        self.name, self.breaker = name, breaker
        self.engine: Engine | None = None  # once it is loaded
        self.answered = 0  # questions
        self._make = make
        self._starting: Engine | None = None
        self._closed = False
        self._run: Run | None = None
        self._seen: ImageEmbedding | None = None  # any picture, as this backend has it

    def load(self) -> None:
        """Load the models; raise BackendError with what to do about it."""
        try:
            self._starting = engine = self._make()
            engine.load()
        except Exception as error:
            failure = _typed(error)
            self.breaker.fail(str(failure), at_once=True)
            raise failure from failure.__cause__
        self.engine, self._starting = engine, None
        self.breaker.succeed()
        if self._closed:
            engine.close()

    @property
    def loaded(self) -> Engine:
        """Return the engine; raise BackendUnavailableError without one."""
        if self.engine is None:
            raise BackendUnavailableError(f'it is not loaded: {self.breaker.reason}')
        return self.engine

    @property
    def source(self) -> Source:
        """Return who answers."""
        return Source(self.name, self.engine.model_name if self.engine else '')

    @property
    def obstacle(self) -> str:
        """Return why another one should be asked first; '' = there is no reason."""
        if self.engine is None:
            return f'it is not loaded: {self.breaker.reason}'
        if not self.engine.is_ready:
            return f'it is started anew: {self.engine.failure or "its process has ended"}'
        if self._run and self._run.too_slow and not self._run.ended.is_set():
            return 'it is still at a question that it took too long for'
        if self.breaker.state is BreakerState.OPEN:
            return f'{self.breaker.reason}; tried again in {self.breaker.remaining:.0f} s'
        return ''

    def note(self, error: VlmError) -> None:
        """Take a failure; that a request is refused is none."""
        if isinstance(error, (BackendError, AnswerTimeoutError)):
            lasting = isinstance(error, BackendError) and not isinstance(
                error, BackendCrashedError)
            self.breaker.fail(str(error), at_once=lasting)

    def encode(self, rgb: np.ndarray) -> ImageEmbedding:
        """Return the embedding of a picture, (height, width, 3) uint8 RGB."""
        self._seen = embedding = self.loaded.encode(rgb)
        return embedding

    def own(self, image: ImageEmbedding) -> ImageEmbedding:
        """Return this backend's embedding of a picture; encode it if there is none."""
        assert isinstance(image, SharedEmbedding)
        if self.name not in image.made:
            image.made[self.name] = self.encode(image.picture)
        return image.made[self.name]

    def restore(self, image: ImageEmbedding) -> None:
        """Make sure that the picture needs no encoding when this backend is asked about it."""
        self.loaded.restore(self.own(image))

    def sized(self, request: GenerationRequest) -> GenerationRequest | None:
        """Return the request with pictures to count tokens of; None if none was ever seen."""
        images = []
        for image in request.images:
            assert isinstance(image, SharedEmbedding)
            own = image.made.get(self.name, self._seen)
            if own is None:
                return None
            images.append(own)
        return request.with_images(tuple(images))

    def start(self, request: GenerationRequest) -> Run:
        """Begin an answer, when the one before has come to its end."""
        self._run = Run(self, self.loaded, request, self._run)
        return self._run

    def close(self) -> None:
        """Free the models; may be called twice."""
        self._closed = True
        for engine in (self._starting, self.engine):
            if engine:
                engine.close()


class Run:
    """
    One answer of one backend, written in a thread of its own, so that it can be left alone.

    ended: set when the backend is done with it.
    too_slow: it was abandoned, because it did not begin.
    """

    def __init__(
        self, member: Member, engine: Engine, request: GenerationRequest, before: Run | None
    ) -> None:
        self.ended = threading.Event()
        self.too_slow = False
        self._member, self._engine, self._request = member, engine, request
        self._before = before.ended if before else None
        self._unwanted = False
        self._told: queue.SimpleQueue[Chunk | VlmError] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=f'ask {member.name}', daemon=True).start()

    def wait(self, timeout: float | None = None) -> Chunk:
        """
        Return the next chunk.

        Raises what the backend raises, and queue.Empty after so many seconds.
        """
        told = self._told.get(timeout=timeout)
        if isinstance(told, VlmError):
            raise told
        return told

    def abandon(self) -> None:
        """Have it ended: nobody listens any more."""
        self._unwanted = True
        if not self.ended.is_set():
            self._engine.abort()

    def cancel(self) -> None:
        """End it at once for who listens, as cancelled."""
        self._told.put(Chunk('', FinishReason.CANCELLED))
        self.abandon()

    def _work(self) -> None:
        if self._before:
            self._before.wait()
        try:
            self._write()
        except Exception as error:
            self._told.put(_typed(error))
        finally:
            self.ended.set()

    def _write(self) -> None:
        if self._unwanted:
            return
        request = self._request
        images = tuple(map(self._member.own, request.images))
        reason = None
        for chunk in self._engine.generate(request.with_images(images)):
            if self._unwanted:
                self._engine.abort()  # again: one that came too early is lost
            reason = chunk.finish_reason
            self._told.put(chunk)
        if reason is None:
            raise BackendCrashedError('The answer ended without saying why')


def _typed(error: Exception) -> VlmError:
    if isinstance(error, VlmError):
        return error
    failure = BackendCrashedError(f'{type(error).__name__}: {error}')
    failure.__cause__ = error
    return failure
