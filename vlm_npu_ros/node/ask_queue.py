"""Questions wait here for their frame and for their turn."""

from __future__ import annotations

from collections.abc import Callable
import threading

from vlm_npu_ros.engine.engine import Engine
from vlm_npu_ros.engine.errors import (
    AnswerTimeoutError,
    BusyError,
    InactiveError,
    VlmError,
)
from vlm_npu_ros.engine.types import GenerationRequest, Sampling
from vlm_npu_ros.node.ask import Ask, Stage
from vlm_npu_ros.node.frames import CachedFrame


class AskQueue:
    """
    Answers questions one at a time, first come first served among those that have a frame.

    A question that ends early (cancel, timeout) ends at once for its caller; what the engine
    still does for it is thrown away.

    frame_for: returns the frame to answer from, or None while there is none that fits.
    is_encoding: returns whether the question's camera is being encoded.
    complaint: returns the error of a question that never got its frame.
    """

    def __init__(
        self,
        engine: Engine,
        frame_for: Callable[[Ask], CachedFrame | None],
        is_encoding: Callable[[Ask], bool],
        complaint: Callable[[Ask], VlmError],
        size: Callable[[], int],
        sampling: Callable[[], Sampling],
    ) -> None:
        self._engine = engine
        self._frame_for = frame_for
        self._is_encoding = is_encoding
        self._complaint = complaint
        self._size = size
        self._sampling = sampling
        self._changed = threading.Condition()
        self._waiting: list[Ask] = []
        self._running: Ask | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name='generate', daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Return the number of questions that wait."""
        return len(self._waiting)

    def submit(self, ask: Ask) -> None:
        """Take a question, or end it with BusyError or InactiveError at once."""
        ask.timer = threading.Timer(ask.options.timeout, self._expire, (ask,))
        ask.timer.daemon = True
        with self._changed:
            size = self._size()
            if self._closed:
                ask.fail(InactiveError('The node is being deactivated'))
            elif len(self._waiting) + (self._running is not None) > size:
                ask.fail(
                    BusyError(
                        f'{len(self._waiting)} questions are waiting already (queue_size {size}): '
                        'ask again later'
                    )
                )
            else:
                self._waiting.append(ask)
                self._look(ask)
                self._changed.notify()
                ask.timer.start()

    def end(self, ask: Ask, error: VlmError) -> None:
        """End a question with an error, wherever it is."""
        ask.fail(error)
        with self._changed:
            if ask in self._waiting:
                self._waiting.remove(ask)
            if ask is self._running:
                self._engine.abort()

    def frames_changed(self) -> None:
        """Look again: a frame was encoded, or is being encoded."""
        with self._changed:
            for ask in self._waiting:
                self._look(ask)
            self._changed.notify()

    def close(self) -> None:
        """End all questions with InactiveError and wait until the engine is at rest."""
        error = InactiveError('The node was deactivated before the answer was complete')
        with self._changed:
            self._closed = True
            waiting = [*self._waiting, *([self._running] if self._running else [])]
            self._changed.notify()
        for ask in waiting:
            self.end(ask, error)
        self._thread.join()

    def _expire(self, ask: Ask) -> None:
        if ask.stage in (Stage.WAITING_FOR_FRAME, Stage.ENCODING):
            error = self._complaint(ask)
        else:
            error = AnswerTimeoutError(
                f'The answer was not complete after {ask.options.timeout:.1f} s '
                f'(stage {ask.stage}): allow more time or ask for fewer tokens'
            )
        self.end(ask, error)

    def _look(self, ask: Ask) -> CachedFrame | None:
        """Return the frame for a waiting question and set its stage."""
        frame = self._frame_for(ask)
        if frame:
            ask.frame_is_ready(frame)
            ask.enter(Stage.QUEUED)
        else:
            ask.enter(Stage.ENCODING if self._is_encoding(ask) else Stage.WAITING_FOR_FRAME)
        return frame

    def _take(self) -> tuple[Ask, CachedFrame] | None:
        for ask in self._waiting:
            frame = self._look(ask)
            if frame:
                self._waiting.remove(ask)
                return ask, frame
        return None

    def _run(self) -> None:
        while True:
            with self._changed:
                taken = self._take()
                while taken is None and not self._closed:
                    self._changed.wait()
                    taken = self._take()
                if taken is None or self._closed:
                    return
                self._running = taken[0]
            self._answer(*taken)
            with self._changed:
                self._running = None

    def _answer(self, ask: Ask, frame: CachedFrame) -> None:
        ask.begin(frame)
        request = GenerationRequest(
            question=ask.options.question,
            images=(frame.embedding,),
            max_new_tokens=ask.options.max_new_tokens,
            sampling=self._sampling(),
        )
        try:
            for chunk in self._engine.generate(request):
                ask.add(chunk)
                if ask.done and not chunk.finish_reason:
                    self._engine.abort()
        except VlmError as error:
            ask.fail(error)
        except Exception as error:
            ask.fail(VlmError(f'{type(error).__name__}: {error}'))
