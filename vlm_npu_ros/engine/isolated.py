# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The engine in a process of its own, so that native code can crash, hang or leak only there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
import functools
import itertools
import threading
import time
from typing import Any
import weakref

import numpy as np
from vlm_npu_ros.engine.errors import (
    as_vlm_error,
    BackendCrashedError,
    CancelledError,
    InactiveError,
    VlmError,
)
from vlm_npu_ros.engine.generation import Cancellation, Generation, StreamedGeneration
from vlm_npu_ros.engine.images import check_pixels, letterbox
from vlm_npu_ros.engine.interface import Engine, FittedRequest
from vlm_npu_ros.engine.process import EngineProcess, Job, StageLimits
from vlm_npu_ros.engine.progress import Caution, Progress
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.stream import Stream
from vlm_npu_ros.engine.types import (
    Chunk,
    GenerationFigures,
    GenerationRequest,
    ImageEmbedding,
    NOTHING_READ,
    ReadAhead,
)

# Delay in seconds before the n-th restart in a row; the last value repeats.
_BACK_OFF = (0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_STEADY = 60.0  # seconds of running that count as success


@dataclass(frozen=True, eq=False)
class RemoteEmbedding(ImageEmbedding):
    """
    An embedding that the engine's process holds.

    data: only its shape is right; the values are NaN, and take no memory.
    key: its name there.
    picture: what it was made of, to make it again after a restart.
    """

    key: int
    picture: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in both processes."""
        return self.data.nbytes + self.picture.nbytes


class IsolatedEngine(Engine):
    """
    Runs a LocalEngine in a child process, which is restarted when it crashes or hangs.

    Calls in progress then end with BackendCrashedError; calls during the restart wait for it.
    Embeddings from before are made again when they are needed.

    limits: seconds of silence after which the child counts as hung.
    progress: gets an event for each step of the loading.
    log: gets each line that the child prints.
    on_change: gets the reason when the child is lost, and '' when it is ready again; called in a
        thread of the engine.
    """

    model_name, context, read_ahead = '', 0, ReadAhead()
    restarts, failure = 0, ''

    def __init__(
        self,
        settings: EngineSettings,
        *,
        limits: StageLimits,
        progress: Progress = lambda event: None,
        log: Callable[[str], None] = lambda line: None,
        on_change: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._settings, self._limits = settings, limits
        self._progress, self._log, self._on_change = progress, log, on_change
        self._changed = threading.Condition()
        self._process: EngineProcess | None = None  # once it is ready
        self._starting: EngineProcess | None = None
        self._closed = self._paused = False
        self._keys = itertools.count(1)
        self._released: deque[int] = deque()
        self._supervisor: threading.Thread | None = None

    def load(self) -> None:
        """
        Load the models.

        Raises BackendError, which says what to do, or InactiveError if closed meanwhile.
        """
        process = self._loaded()
        self._use(process)
        self._supervisor = threading.Thread(
            target=self._supervise, args=(process,), name='supervisor', daemon=True
        )
        self._supervisor.start()

    @property
    def is_ready(self) -> bool:
        """Whether there is a child that no call would have to wait for."""
        process = self._process
        return process is not None and not process.has_ended

    @property
    def memory(self) -> int:
        process = self._process
        return process.memory if process else 0

    @property
    def probabilities(self) -> str:
        process = self._process
        return process.probabilities if process else ''

    @property
    def pid(self) -> int:
        """Process id of the child, which may have ended meanwhile."""
        return self._ready().pid

    def encode(self, rgb: np.ndarray) -> RemoteEmbedding:
        process = self._ready()
        if process.picture_size:
            picture = letterbox(rgb, process.picture_size)
        else:
            check_pixels(rgb)
            picture = np.array(rgb, order='C')
        key = next(self._keys)
        try:
            shape, seconds = self._result(process.encode(key, picture))
        except VlmError:
            self._released.append(key)  # the child may have made it nevertheless
            raise
        nothing = np.broadcast_to(np.float32(np.nan), shape)
        embedding = RemoteEmbedding(nothing, seconds, key, picture)
        weakref.finalize(embedding, self._released.append, key)
        return embedding

    def restore(self, embedding: ImageEmbedding) -> None:
        """Encode the picture of an embedding again if a restart has lost it."""
        job = self._hand_over(self._ready(), embedding)
        if job:
            self._result(job)

    def prepare(
        self, images: tuple[ImageEmbedding, ...], cancelled: Cancellation
    ) -> GenerationFigures:
        process, keys = self._process, _keys(images)
        if cancelled.is_set() or not (
                process and self.read_ahead.possible and process.held.issuperset(keys)):
            return NOTHING_READ
        job = process.prepare(keys, sum(image.tokens for image in images), cancelled)
        try:
            figures, self.read_ahead = self._result(job)
        except CancelledError:
            return NOTHING_READ
        return figures

    def generate(self, request: GenerationRequest) -> Generation:
        """Let the child write an answer, as soon as a child is ready."""
        return StreamedGeneration(functools.partial(self._begin, request))

    def write_out(
        self, request: GenerationRequest, cancelled: Cancellation
    ) -> Iterator[Chunk]:
        chunks: Stream[Chunk] = Stream()
        self._begin(request, chunks, cancelled, None)
        yield from chunks

    def _begin(
        self,
        request: GenerationRequest,
        chunks: Stream[Chunk],
        cancelled: Cancellation,
        timeout: float | None,
    ) -> None:
        cancelled.add_callback(self._wake)
        process = self._ready(timeout, cancelled)
        for image in request.images:
            self._hand_over(process, image)
        process.generate(request, _keys(request.images), chunks, cancelled)
        if self._paused:
            cancelled.set()

    def tokens(self, request: GenerationRequest) -> int:
        """Count the tokens; raises BackendCrashedError at once while the engine restarts."""
        process = self._process
        if process is None:
            raise BackendCrashedError(self.failure)
        return int(process.tokens(request).told.next())

    def fit(self, request: GenerationRequest, limit: int = 0) -> FittedRequest:
        if not request.turns and len(request.images) < 2:
            return FittedRequest(request, tuple(range(len(request.images))), 0)
        kept, dropped = self._result(self._ready().fit(request, limit))
        images, turns = tuple(request.images[i] for i in kept), request.turns[dropped:]
        return FittedRequest(replace(request, images=images, turns=turns), kept, dropped)

    def pause(self) -> None:
        """
        Cancel generations, end all other calls with InactiveError and refuse more until `resume`.

        The child finishes what it is doing; its results are thrown away.
        """
        with self._changed:
            self._paused = True
            self._changed.notify_all()
            process = self._process
        if process:
            process.abandon()

    def resume(self) -> None:
        self._paused = False

    def close(self) -> None:
        """Free the models; may be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            processes = [p for p in (self._process, self._starting) if p]
        for process in processes:
            process.close()
        if self._supervisor:
            self._supervisor.join()

    def _loaded(self) -> EngineProcess:
        """Start a child and wait for the models; what kills it while it is tried is left out."""
        fatal: set[str] = set()
        while True:
            process = self._start()
            try:
                process.wait_until_ready()
                return process
            except BackendCrashedError as error:
                if not process.trying or process.trying in fatal:  # it was not left out
                    raise
                fatal.add(process.trying)
                self._progress(Caution(str(error)))

    def _start(self) -> EngineProcess:
        with self._changed:
            if self._closed:
                raise InactiveError('The engine is closed')
            settings = self._settings
            if self.model_name:  # it has been loaded before
                settings = replace(settings, proved=self.read_ahead)
            self._starting = EngineProcess(
                settings, self._limits, self._progress, self._log, self._released
            )
            return self._starting

    def _use(self, process: EngineProcess) -> None:
        with self._changed:
            self._process, self._starting, self.failure = process, None, ''
            self.model_name, self.context = process.model_name, process.context
            self.read_ahead = process.read_ahead
            self._changed.notify_all()

    def _supervise(self, first: EngineProcess) -> None:
        """Restart the child whenever it has ended, until the engine is closed."""
        process, failures = first, 0
        while True:
            started = time.monotonic()
            end = process.wait_until_ended()
            steady = process.answered or time.monotonic() - started > _STEADY
            failures = 0 if steady else failures + 1
            self._lost(end)
            while not self._closed:
                if self._waited(_BACK_OFF[min(failures, len(_BACK_OFF) - 1)]):
                    break
                try:
                    self.restarts += 1
                    process = self._loaded()
                    break
                except Exception as error:  # there may be no memory for a process
                    failures += 1
                    self._lost(as_vlm_error(error, BackendCrashedError))
            if self._closed:
                return
            self._use(process)
            self._on_change('')

    def _lost(self, reason: VlmError) -> None:
        with self._changed:
            self._process, self.failure = None, str(reason)
        if not self._closed:
            self._on_change(self.failure)

    def _waited(self, delay: float) -> bool:
        """Wait; return True if the engine is closed."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, delay)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _ready(
        self, timeout: float | None = None, cancelled: Cancellation | None = None
    ) -> EngineProcess:
        """
        Wait for a child that is ready.

        Raises InactiveError if the engine is paused or closed, CancelledError if `cancelled` is
        set, and TimeoutError after `timeout` seconds.
        """
        def is_over() -> bool:
            is_cancelled = cancelled is not None and cancelled.is_set()
            return self._closed or self._paused or is_cancelled or self.is_ready

        with self._changed:
            if not self._changed.wait_for(is_over, timeout):
                raise TimeoutError
            if self._closed or self._paused:
                raise InactiveError('The engine is paused or closed')
            if self._process is None:
                raise CancelledError('The question was cancelled')
            return self._process

    def _result(self, job: Job) -> Any:
        """Wait for the next item of a job; raise InactiveError if the engine was paused before."""
        if self._paused:
            raise InactiveError('The engine is paused')
        return job.told.next()

    def _hand_over(self, process: EngineProcess, image: ImageEmbedding) -> Job | None:
        """Let the child encode a picture again if it does not hold the embedding."""
        assert isinstance(image, RemoteEmbedding)
        return None if image.key in process.held else process.encode(image.key, image.picture)


def _keys(images: tuple[ImageEmbedding, ...]) -> tuple[int, ...]:
    return tuple(image.key for image in images if isinstance(image, RemoteEmbedding))
