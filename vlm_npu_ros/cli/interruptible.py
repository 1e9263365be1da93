"""An answer that Ctrl-C ends, and nothing else."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
import os
import queue
import signal
import threading

from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.types import Chunk, GenerationRequest

_PATIENCE = 3.0  # seconds that a runtime has to end an answer nobody waits for


def generate(engine: Engine, request: GenerationRequest) -> Iterator[Chunk]:
    """
    Yield the chunks of an answer, in the main thread; Ctrl-C ends it as CANCELLED.

    A second Ctrl-C while the model still does not end raises KeyboardInterrupt. However the
    iterator ends, the answer has ended, too, or the runtime hangs.
    """
    # The model runs in a thread of its own: no signal can meet it while it holds a lock.
    events: queue.SimpleQueue[Chunk | BaseException | signal.Signals | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            for chunk in engine.generate(request):
                events.put(chunk)
            events.put(None)
        except BaseException as error:  # noqa: B902
            events.put(error)

    thread = threading.Thread(target=run, name='answer', daemon=True)
    before = signal.signal(signal.SIGINT, lambda *_: events.put(signal.SIGINT))
    interrupted = False
    try:
        thread.start()
        while (event := events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, Chunk):
                yield event
            elif interrupted:
                raise KeyboardInterrupt
            else:
                interrupted = True
                engine.abort()
    finally:
        engine.abort()
        thread.join(_PATIENCE)
        if thread.is_alive():
            # Python would wait for native code that hangs, or crash in it, when it ends. Nor shall
            # one more Ctrl-C disturb that end: the handler stays.
            atexit.register(os._exit, 128 + signal.SIGINT)
        else:
            signal.signal(signal.SIGINT, before)
