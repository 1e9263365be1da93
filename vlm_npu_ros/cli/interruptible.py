# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""An answer that Ctrl-C ends, and nothing else."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
import os
import signal

from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.stream import Stream
from vlm_npu_ros.engine.types import Chunk, GenerationRequest

_PATIENCE = 3.0  # seconds that a runtime has to end an answer that was given up


def generate(engine: Engine, request: GenerationRequest) -> Iterator[Chunk]:
    """
    Yield the chunks of an answer, in the main thread; Ctrl-C ends it as CANCELLED.

    Unlike that of a cancelled Generation, the last chunk is the model's own, with figures. A
    second Ctrl-C while the model still does not end raises KeyboardInterrupt. However the
    iterator ends, the answer has ended, too, or the runtime hangs.
    """
    cancelled, chunks = Cancellation(), Stream[Chunk]()

    def interrupt(*_: object) -> None:
        if cancelled.is_set():
            chunks.cut(KeyboardInterrupt())
        cancelled.set()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        # The model runs in a thread of its own: no signal can meet it while it holds a lock.
        chunks.run(lambda: engine.write_out(request, cancelled), 'answer')
        yield from chunks
    finally:
        cancelled.set()
        if chunks.join(_PATIENCE):
            signal.signal(signal.SIGINT, before)
        else:
            # Python would wait for native code that hangs, or crash in it, when it ends. Nor may
            # one more Ctrl-C disturb that end: the handler stays.
            atexit.register(os._exit, 128 + signal.SIGINT)
