# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
One run of the engine's process, seen from the parent.

Messages to the child: load(settings), encode(job, key, shape), generate(job, request, keys),
prepare(job, keys), fit(job, request, shapes, limit), tokens(job, request, shapes), cancel(job),
release(keys) and close().

Messages from the child: progress(event), ready(model, context, picture size, read ahead) or
failed(error), then taken(job), chunk(job, chunk), result(job, value) or error(job, error), and
alive(bytes, probabilities).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
import functools
import itertools
import mmap
from multiprocessing.connection import Connection
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import (
    BackendCrashedError,
    CancelledError,
    InactiveError,
    VlmError,
)
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.progress import Loading, Progress, Trial
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.stream import Stream
from vlm_npu_ros.engine.types import Chunk, GenerationRequest, ReadAhead

_TICK = 0.1  # seconds between checks of the time limits
_HEARTBEAT_LIMIT = 10.0  # seconds; ten heartbeats
_CLOSING = 1.5  # seconds that the child may take to free its models
_LAST_LINES = 4  # of the child's output, in the message about its end


@dataclass(frozen=True)
class StageLimits:
    """
    Seconds of silence after which the engine counts as hung; never too short for a slow board.

    The slowest supported board (RK3562) encodes in about 10 s, reads some 20 tokens a second and
    writes about one; a model of 8 GB loads in 4 minutes from a slow SD card.

    factor: applies to all of them.
    """

    factor: float = 1.0

    def load(self, settings: EngineSettings) -> float:
        """Seconds for loading these files."""
        paths = (settings.encoder_path, settings.language_model_path)
        size = sum(map(os.path.getsize, filter(os.path.isfile, paths)))
        return self.factor * (120 + size / 20e6)

    @property
    def encode(self) -> float:
        """Seconds for an encoding."""
        return self.factor * 30

    def prefill(self, request: GenerationRequest) -> float:
        """Seconds until the first token; the texts may be read twice, to count their tokens."""
        said = [request.question, *(turn.question + turn.answer for turn in request.turns)]
        return self.reading(sum(map(len, said)) + request.image_tokens)

    def reading(self, tokens: int) -> float:
        """Seconds for reading so many tokens."""
        return self.factor * (10 + 0.1 * tokens)

    @property
    def trial(self) -> float:
        """Seconds for something that may hang; it ends itself if it can."""
        return self.factor * 120

    @property
    def token(self) -> float:
        """Seconds between two tokens, and for small work."""
        return self.factor * 10


@dataclass
class Job:
    """
    A call to the child.

    stage: what the child does for it, for messages.
    limit: seconds of silence allowed.
    """

    number: int
    stage: str
    limit: float
    key: int = 0  # of the embedding that it creates
    begun: bool = False  # the models are working on it
    cancelled: Cancellation | None = None  # of what can be cancelled
    told: Stream[Any] = field(default_factory=Stream)


class EngineProcess:
    """
    Starts the child and loads the models there; not usable before `wait_until_ready`.

    limits: seconds of silence after which the child is killed.
    progress: gets an event for each step of the loading.
    log: gets each line that the child prints.
    released: keys of embeddings that are no longer needed; it is emptied now and then.
    """

    def __init__(
        self,
        settings: EngineSettings,
        limits: StageLimits,
        progress: Progress,
        log: Callable[[str], None],
        released: deque[int],
    ) -> None:
        self.model_name, self.context, self.picture_size = '', 0, 0
        self.read_ahead = ReadAhead()  # as it was when the models were loaded
        self.held: set[int] = set()  # keys of the embeddings that the child has
        self.memory, self.probabilities = 0, ''  # resident bytes; as LanguageModel has it
        self.trying = ''  # what loading again may leave out; '' = nothing
        self.answered = False  # a generation has completed
        self._limits, self._progress, self._log = limits, progress, log
        self._released = released
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._numbers = itertools.count(1)
        self._jobs: dict[int, Job] = {}
        self._lock = threading.Lock()  # for the jobs and for sending
        self._picture_lock = threading.Lock()
        self._end: VlmError | None = None
        self._loading = Job(0, 'loading', limits.load(settings))
        self._jobs[0] = self._loading
        self._heard = self._alive = time.monotonic()
        self._memory_file = os.memfd_create('pictures')
        ours, theirs = socket.socketpair()
        self._connection = Connection(ours.detach())
        try:
            self._child = _started(theirs.fileno(), self._memory_file)
        except OSError:
            self._connection.close()
            os.close(self._memory_file)
            raise
        finally:
            theirs.close()
        self._logger = threading.Thread(target=self._forward, name='engine log', daemon=True)
        self._logger.start()
        self._receiver = threading.Thread(target=self._receive, name='engine', daemon=True)
        self._receiver.start()
        self._send('load', settings)

    @property
    def has_ended(self) -> bool:
        """Whether the child has ended, or is about to."""
        return self._end is not None

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    def wait_until_ready(self) -> None:
        """Wait for the models; raise BackendError if they cannot be loaded."""
        try:
            facts = self._loading.told.next()
            self.model_name, self.context, self.picture_size, self.read_ahead = facts
        except VlmError:
            self.close()
            raise

    def wait_until_ended(self) -> VlmError:
        """Wait for the end of the child and return its reason."""
        self._receiver.join()
        assert self._end
        return self._end

    def encode(self, key: int, picture: np.ndarray) -> Job:
        """
        Encode a picture and keep the embedding as `key`; return when the child has the picture.

        picture: (height, width, 3) uint8, C-contiguous. The result of the job is the embedding's
        shape and the seconds of the encoding.
        """
        job = self._job('encoding', self._limits.encode, key=key)
        with self._picture_lock:
            if not self._end:  # else the file may be closed, and its number that of another one
                os.ftruncate(self._memory_file, max(picture.nbytes, 1))
                with mmap.mmap(self._memory_file, picture.nbytes) as memory:
                    np.frombuffer(memory, np.uint8)[:] = picture.reshape(-1)
                self._send('encode', job.number, key, picture.shape)
            job.told.next()  # 'taken'
        return job

    def generate(
        self,
        request: GenerationRequest,
        keys: tuple[int, ...],
        chunks: Stream[Chunk],
        cancelled: Cancellation,
    ) -> None:
        """Write an answer into a stream, which ends when the child has finished."""
        job = self._job(
            'reading the prompt', self._limits.prefill(request), told=chunks, cancelled=cancelled
        )
        self._send('generate', job.number, request.with_images(()), keys)
        cancelled.add_callback(functools.partial(self._cancel, job.number))

    def prepare(self, keys: tuple[int, ...], tokens: int, cancelled: Cancellation) -> Job:
        """
        Read images of so many tokens ahead; the result is (GenerationFigures, ReadAhead).

        cancelled: ends the job at once with CancelledError, whatever the child does.
        """
        job = self._job('reading ahead', self._limits.reading(tokens), cancelled=cancelled)
        self._send('prepare', job.number, keys)
        cancelled.add_callback(functools.partial(self._cancel, job.number))
        cancelled.add_callback(functools.partial(job.told.cut, CancelledError('It is not needed')))
        return job

    def fit(self, request: GenerationRequest, limit: int) -> Job:
        """Have a request fitted; the result is (indices of images left, turns dropped)."""
        job = self._job('counting tokens', self._limits.prefill(request))
        self._send('fit', job.number, request.with_images(()), _shapes(request), limit)
        return job

    def tokens(self, request: GenerationRequest) -> Job:
        """Count the tokens of a request."""
        job = self._job('counting tokens', self._limits.token)
        self._send('tokens', job.number, request.with_images(()), _shapes(request))
        return job

    def abandon(self) -> None:
        """Cancel generations, end other jobs with InactiveError; do not wait for the child."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            if job.cancelled:
                job.cancelled.set()
            else:
                job.told.cut(InactiveError('The engine was paused'))

    def close(self) -> None:
        """Let the child free its models and end; may be called twice."""
        with self._lock:
            self._end = self._end or InactiveError('The engine is closed')
        self._send('close')
        try:
            self._child.wait(_CLOSING)
        except subprocess.TimeoutExpired:
            self._child.kill()
        self._receiver.join()

    def _job(self, stage: str, limit: float, **more: Any) -> Job:
        with self._lock:
            job = Job(next(self._numbers), stage, limit, **more)
            if self._end:
                job.told.end(copy(self._end))
                return job
            if not self._jobs:
                self._heard = time.monotonic()
            self._jobs[job.number] = job
        return job

    def _cancel(self, number: int) -> None:
        if number in self._jobs:
            self._send('cancel', number)

    def _send(self, *message: object) -> None:
        with self._lock:
            try:
                if self._released:
                    keys = tuple(self._released.popleft() for _ in range(len(self._released)))
                    self.held.difference_update(keys)
                    self._connection.send(('release', keys))
                self._connection.send(message)
            except OSError:  # it has ended; the receiver reports that
                pass

    def _forward(self) -> None:
        assert self._child.stdout
        with self._child.stdout as stream:
            for line in stream:
                text = line.decode('utf-8', 'replace').rstrip()
                self._lines.append(text)
                self._log(text)

    def _receive(self) -> None:
        try:
            while True:
                if self._connection.poll(_TICK):
                    kind, *values = self._connection.recv()
                    self._take(kind, values)
                self._check_alive()
        except (EOFError, OSError):
            self._child.kill()  # it may only have closed the socket
        self._bury()

    def _take(self, kind: str, values: list[Any]) -> None:
        self._alive = time.monotonic()
        if kind == 'alive':
            self.memory, self.probabilities = values
            return
        self._heard = self._alive
        if kind == 'progress':
            self.trying = values[0].text if isinstance(values[0], Trial) else ''
            if isinstance(values[0], Loading):
                self._loading.stage = f'loading the {values[0].describe()}'
            elif self.trying:
                self._loading.stage = f'trying {self.trying}'
                self._loading.limit = self._limits.trial
            self._progress(values[0])
        elif kind in ('ready', 'failed'):
            del self._jobs[0]
            if kind == 'ready':
                self._loading.told.put(values)
            self._loading.told.end(None if kind == 'ready' else values[0])
        else:
            self._tell(kind, *values)

    def _tell(self, kind: str, number: int, value: Any = None) -> None:
        """Pass on a message about a job: taken, chunk, result or error."""
        with self._lock:
            job = self._jobs[number]
            if kind == 'chunk':
                job.begun, job.stage, job.limit = True, 'writing', self._limits.token
            if kind in ('chunk', 'taken'):
                job.told.put(value)
                return
            del self._jobs[number]
            if kind == 'result':
                self.answered |= job.begun
                if job.key:
                    self.held.add(job.key)
                if value is not None:
                    job.told.put(value)
            job.told.end(value if kind == 'error' else None)

    def _check_alive(self) -> None:
        now = time.monotonic()
        with self._lock:
            jobs = list(self._jobs.values())
        # While one answer is being written, the others wait.
        jobs = [job for job in jobs if job.begun] or jobs
        hung = max(jobs, key=lambda job: job.limit, default=None)
        if hung and now - self._heard > hung.limit:
            self._kill(BackendCrashedError(
                f'The engine hung while {hung.stage}: nothing came from it for '
                f'{in_words(hung.limit)} (parameter watchdog), it is being restarted'
            ))
        elif not jobs and now - self._alive > _HEARTBEAT_LIMIT:
            self._kill(BackendCrashedError(
                f'The engine gave no sign of life for {_HEARTBEAT_LIMIT:.0f} s, '
                'it is being restarted'
            ))

    def _kill(self, reason: VlmError) -> None:
        """End the child at once."""
        with self._lock:
            self._end = self._end or reason
        self._child.kill()

    def _bury(self) -> None:
        """End all jobs with the reason of the child's end."""
        status = self._child.wait()
        self._logger.join()
        with self._lock:
            stages = ' and '.join(job.stage for job in self._jobs.values()) or 'it was idle'
            restarted = '' if 0 in self._jobs else ', it is being restarted'
            self._end = self._end or BackendCrashedError(
                f'The engine ended by {_described(status)} while {stages}{restarted}; '
                f'its last words: {" | ".join(self._lines) or "none"}',
                'Run `vlm-npu doctor`: do runtime, models, driver and memory go together?',
            )
            for job in self._jobs.values():
                job.told.end(copy(self._end))
            self._jobs.clear()
        self._connection.close()
        with self._picture_lock:
            os.close(self._memory_file)


def _started(*inherited: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, '-u', '-m', 'vlm_npu_ros.engine.worker', *map(str, inherited)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=inherited,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,  # the parent handles Ctrl-C
    )


def _shapes(request: GenerationRequest) -> list[tuple[int, ...]]:
    return [image.data.shape for image in request.images]


def _described(status: int) -> str:
    if status >= 0:
        return f'exit status {status}'
    number = signal.Signals(-status)
    return number.name + _HINTS.get(number, '')


_HINTS = {
    signal.SIGKILL: ' (the kernel does this when memory runs out)',
    signal.SIGILL: ' (an instruction that this CPU does not have)',
}
