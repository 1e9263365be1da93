# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
The engine's own process, started by IsolatedEngine.

It inherits a socket to its parent, for pickled tuples in both directions, and an anonymous memory
file with pictures; no other process can reach them. The messages are listed in process.py.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
import contextlib
from dataclasses import replace
import mmap
from multiprocessing.connection import Connection
import os
from pathlib import Path
import queue
import signal
import sys
import threading
from typing import Any

import numpy as np
from vlm_npu_ros.engine.errors import as_vlm_error, BackendCrashedError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.trials import call_off
from vlm_npu_ros.engine.types import (
    GenerationFigures,
    GenerationRequest,
    ImageEmbedding,
    ReadAhead,
)

HEARTBEAT = 1.0  # seconds
_OOM_SCORE = '500'  # so that the kernel kills this process before the node
_PAGE = os.sysconf('SC_PAGE_SIZE')

Keys = tuple[int, ...]
Shapes = list[tuple[int, int, int]]


class Worker:
    """
    Serves the parent until the socket is closed.

    The main thread only reads messages, so that the parent's end is noticed whatever the models
    do. Two threads work: one encodes, one generates.
    """

    def __init__(self, connection: Connection, memory: int) -> None:
        self._connection = connection
        self._memory = memory
        self._sending = threading.Lock()
        self._engine: LocalEngine | None = None
        self._embeddings: dict[int, Future[ImageEmbedding]] = {}
        self._cancelled: dict[int, Cancellation] = {}  # by job
        self._work: dict[str, queue.SimpleQueue[Callable[[], None]]] = {}
        for name in ('encode', 'generate'):
            self._work[name] = queue.SimpleQueue()
            threading.Thread(target=self._run, args=(name,), name=name, daemon=True).start()

    def serve(self) -> None:
        """Handle messages."""
        threading.Thread(target=self._beat, name='heartbeat', daemon=True).start()
        while True:
            kind, *values = self._connection.recv()
            getattr(self, f'_{kind}')(*values)

    def _send(self, *message: object) -> None:
        with self._sending:
            self._connection.send(message)

    def _run(self, name: str) -> None:
        while True:
            self._work[name].get()()

    def _beat(self) -> None:
        beat = threading.Event()
        while not beat.wait(HEARTBEAT):
            told = self._engine.probabilities if self._engine else ''
            self._send('alive', _resident_bytes(), told)

    # Messages of the parent

    def _load(self, settings: Any) -> None:
        self._work['generate'].put(lambda: self._load_now(settings))

    def _encode(self, job: int, key: int, shape: tuple[int, ...]) -> None:
        size = int(np.prod(shape))
        with mmap.mmap(self._memory, size, prot=mmap.PROT_READ) as memory:
            picture = np.frombuffer(memory, np.uint8, size).reshape(shape).copy()
        made = self._embeddings[key] = Future()
        self._send('taken', job)
        self._work['encode'].put(
            lambda: self._answer(job, lambda: self._encode_now(made, picture))
        )

    def _generate(self, job: int, request: GenerationRequest, keys: Keys) -> None:
        images = [self._embeddings[key] for key in keys]  # some may not be encoded yet
        cancelled = self._cancelled[job] = Cancellation()

        def generate() -> None:
            made = request.with_images(tuple(image.result() for image in images))
            for chunk in self._ready.write(made, cancelled):
                self._send('chunk', job, chunk)

        self._work['generate'].put(lambda: self._answer(job, generate))

    def _prepare(self, job: int, keys: Keys) -> None:
        images = [self._embeddings[key] for key in keys]
        cancelled = self._cancelled[job] = Cancellation()

        def prepare() -> tuple[GenerationFigures, ReadAhead]:
            made = tuple(image.result() for image in images)
            return self._ready.prepare(made, cancelled), self._ready.read_ahead

        self._work['generate'].put(lambda: self._answer(job, prepare))

    def _fit(self, job: int, request: GenerationRequest, shapes: Shapes, limit: int) -> None:
        sized = _with_shapes(request, shapes)

        def fit() -> tuple[tuple[int, ...], int]:
            fitted = self._ready.fit(sized, limit)
            return fitted.images, fitted.dropped_turns

        if self._ready.fits(sized, limit):
            self._answer(job, fit)
        else:  # behind the answers before it, because the model may have to count
            self._work['generate'].put(lambda: self._answer(job, fit))

    def _tokens(self, job: int, request: GenerationRequest, shapes: Shapes) -> None:
        self._answer(job, lambda: self._ready.tokens(_with_shapes(request, shapes)))

    def _cancel(self, job: int) -> None:
        if job in self._cancelled:
            self._cancelled[job].set()

    def _release(self, keys: Keys) -> None:
        for key in keys:
            self._embeddings.pop(key, None)

    def _close(self) -> None:
        call_off()  # now: it may take the models long to end
        if self._engine:
            self._engine.close()
        _exit()

    # Work

    @property
    def _ready(self) -> LocalEngine:
        assert self._engine
        return self._engine

    def _load_now(self, settings: Any) -> None:
        try:
            settings = replace(settings, own_process=True)
            self._engine = load_engine(settings, lambda event: self._send('progress', event))
        except Exception as error:
            self._send('failed', as_vlm_error(error, BackendCrashedError))
        else:
            engine = self._engine
            facts = engine.model_name, engine.context, engine.picture_size, engine.read_ahead
            self._send('ready', *facts)

    def _encode_now(
        self, made: Future[ImageEmbedding], picture: np.ndarray
    ) -> tuple[tuple[int, ...], float]:
        try:
            embedding = self._ready.encode(picture)
        except Exception as error:
            made.set_exception(error)
            raise
        made.set_result(embedding)
        return embedding.data.shape, embedding.encode_seconds

    def _answer(self, job: int, work: Callable[[], object]) -> None:
        try:
            self._send('result', job, work())
        except Exception as error:
            self._send('error', job, as_vlm_error(error, BackendCrashedError))
        finally:
            self._cancelled.pop(job, None)


def _with_shapes(request: GenerationRequest, shapes: Shapes) -> GenerationRequest:
    """Give the request images of which only the shape is known: enough to count tokens."""
    nothing = [np.broadcast_to(np.float32(np.nan), shape) for shape in shapes]
    return request.with_images(tuple(ImageEmbedding(data, 0.0) for data in nothing))


def _resident_bytes() -> int:
    return int(Path('/proc/self/statm').read_text().split()[1]) * _PAGE


def _exit() -> None:
    """Exit at once, because threads may be stuck in native code."""
    call_off()
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    """Serve the parent, whose two file descriptors are the arguments."""
    # The parent handles those that all processes get, by Ctrl-C or systemd, and ends this one.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path('/proc/self/oom_score_adj').write_text(_OOM_SCORE)
    socket, memory = map(int, sys.argv[1:])
    with contextlib.suppress(EOFError, ConnectionError):
        Worker(Connection(socket), memory).serve()
    _exit()


if __name__ == '__main__':
    main()
