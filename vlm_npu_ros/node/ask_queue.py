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
from vlm_npu_ros.engine.types import FinishReason, GenerationRequest, Sampling
from vlm_npu_ros.node.ask import Ask, Stage
from vlm_npu_ros.node.frames import View
from vlm_npu_ros.node.views import Views

# Ends of answers that a dialogue can go on from.
_WHOLE = (FinishReason.EOS, FinishReason.LENGTH, FinishReason.STOP)


class AskQueue:
    """
    Answers questions one at a time, first come first served among those that have a frame.

    A question that ends early (cancel, timeout) ends at once for its caller; what the engine
    still does for it is thrown away.

    views: finds what a question looks at.
    size: returns how many questions may wait.
    sampling: returns how tokens are drawn.
    dialogue_tokens: returns how many tokens a dialogue may take; 0 = what the context holds.
    """

    def __init__(
        self,
        engine: Engine,
        views: Views,
        size: Callable[[], int],
        sampling: Callable[[], Sampling],
        dialogue_tokens: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._views = views
        self._size = size
        self._sampling = sampling
        self._dialogue_tokens = dialogue_tokens
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
            error = self._views.complaint(ask)
        else:
            error = AnswerTimeoutError(
                f'The answer was not complete after {ask.options.timeout:.1f} s '
                f'(stage {ask.stage}): allow more time or ask for fewer tokens'
            )
        self.end(ask, error)

    def _look(self, ask: Ask) -> View | None:
        """Return the view of a waiting question and set its stage."""
        view = self._views.view_for(ask)
        if view:
            ask.frame_is_ready(view.newest)
            ask.enter(Stage.QUEUED)
        else:
            waiting = Stage.ENCODING if self._views.is_encoding(ask) else Stage.WAITING_FOR_FRAME
            ask.enter(waiting)
        return view

    def _take(self) -> tuple[Ask, View] | None:
        for ask in self._waiting:
            view = self._look(ask)
            if view:
                self._waiting.remove(ask)
                return ask, view
        return None

    def _fit(self, ask: Ask, view: View) -> tuple[GenerationRequest, View, int]:
        """Return the request, what of the view it holds, and how many turns it does not."""
        request = GenerationRequest(
            question=ask.options.question,
            images=tuple(frame.embedding for frame in view.frames),
            max_new_tokens=ask.options.max_new_tokens,
            sampling=self._sampling(),
            turns=view.turns,
            keep=bool(ask.options.conversation_id),
            video=view.is_video,
        )
        fitted = self._engine.fit(request, self._dialogue_tokens())
        note = view.note
        if len(fitted.images) < len(view.frames):
            note = (
                f'{len(fitted.images)} of {ask.options.num_frames} frames: the context of '
                f'{self._engine.context} tokens has room for no more'
            )
        frames = tuple(view.frames[i] for i in fitted.images)
        return fitted.request, View(frames, fitted.request.turns, note), fitted.dropped_turns

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

    def _answer(self, ask: Ask, view: View) -> None:
        try:
            forgotten = self._views.forget_before(ask)
            request, view, dropped = self._fit(ask, view)
            ask.begin(view, dropped + forgotten)
            for chunk in self._engine.generate(request):
                if chunk.finish_reason in _WHOLE and not ask.done:
                    self._views.remember(ask, view, chunk.text)
                ask.add(chunk)
                if ask.done and not chunk.finish_reason:
                    self._engine.abort()
        except VlmError as error:
            ask.fail(error)
        except Exception as error:
            ask.fail(VlmError(f'{type(error).__name__}: {error}'))
