# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The frames of a question: the newest one, several, or those of its dialogue."""

from __future__ import annotations

from collections.abc import Mapping

from vlm_npu_ros.engine.conversation import Conversation, Conversations
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import VlmError
from vlm_npu_ros.engine.types import Turn
from vlm_npu_ros.node.ask import Ask
from vlm_npu_ros.node.cameras import CameraFeed, FrameEncoder
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.complaints import complaint, obstacle
from vlm_npu_ros.node.frames import CachedFrame, NANOSECONDS, View


class Views:
    """Selects the frames of each question, and remembers those of each dialogue."""

    def __init__(
        self,
        clock: StampClock,
        feeds: Mapping[str, CameraFeed],
        encoder: FrameEncoder,
        conversations: Conversations[CachedFrame],
    ) -> None:
        self._clock = clock
        self._feeds = feeds
        self._encoder = encoder
        self._conversations = conversations

    def view_for(self, ask: Ask) -> View | None:
        """Return the frames and turns of a question; None while no frame fits."""
        options = ask.options
        if options.goes_on:
            conversation = self._conversations.get(options.conversation_id)
            if conversation:
                return View(conversation.frames, conversation.turns)
        feeds = [self._feeds[camera] for camera in options.cameras]
        newest = [self._encoder.admitted(feed, options.freshness) for feed in feeds]
        if not all(newest):
            return None
        if options.num_frames == 1:
            return View(tuple(filter(None, newest)))
        frames = feeds[0].history.spread(
            options.num_frames, options.window, self._encoder.period
        )
        note = ''
        if len(frames) < options.num_frames:
            note = (
                f'{len(frames)} of {options.num_frames} frames: the cache has no more of the last '
                f'{in_words(options.window / NANOSECONDS)}'
            )
        return View(tuple(frames), note=note)

    def forget_before(self, ask: Ask) -> int:
        """Forget the dialogue that the question restarts; return the number of its turns."""
        options = ask.options
        if options.goes_on or not options.conversation_id:
            return 0
        conversation = self._conversations.get(options.conversation_id)
        self._conversations.forget(options.conversation_id)
        return len(conversation.turns) if conversation else 0

    def remember(self, ask: Ask, view: View, answer: str) -> None:
        """Add the question and its whole answer to its dialogue, if it has one."""
        key = ask.options.conversation_id
        if key:
            turns = (*view.turns, Turn(ask.options.request.question, answer))
            self._conversations.keep(Conversation(key, view.frames, turns))

    def is_encoding(self, ask: Ask) -> bool:
        """Return whether a frame for the question is being encoded."""
        return any(self._feeds[camera].encoding for camera in ask.options.cameras)

    def obstacle(self, ask: Ask) -> VlmError | None:
        """Return why a question will get no frame, however long it waits; None = it may."""
        options = ask.options
        for feed in (self._feeds[camera] for camera in options.cameras):
            if feed.failure and feed.failed_at >= ask.times.asked:
                return feed.failure
            error = obstacle(feed, options.freshness, self._clock, options.timeout)
            if error:
                return error
        return None

    def complaint(self, ask: Ask) -> VlmError:
        """Return the error of a question that got no frame."""
        now, freshness = self._clock.now(), ask.options.freshness
        feeds = [self._feeds[camera] for camera in ask.options.cameras]
        feed = next((f for f in feeds if not freshness.admits(f.frame, now)), feeds[0])
        return complaint(feed, freshness, self._clock)
