# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The frames of a question: the newest one, several, or those of its dialogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from vlm_npu_ros.engine.conversation import Conversation, Conversations
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import AnswerTimeoutError, VlmError
from vlm_npu_ros.engine.types import Turn
from vlm_npu_ros.node.ask import Ask
from vlm_npu_ros.node.ask_options import AskOptions
from vlm_npu_ros.node.cameras import CameraFeed, Feed
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.complaints import complaint, obstacle
from vlm_npu_ros.node.frame_encoder import FrameEncoder
from vlm_npu_ros.node.frames import CachedFrame, NANOSECONDS, View


class Views:
    """
    Selects the frames of each question, and remembers those of each dialogue.

    keeps_pictures: tells whether the pictures of a dialogue are to be kept, too.
    """

    def __init__(
        self,
        clock: StampClock,
        feeds: Mapping[str, CameraFeed],
        encoder: FrameEncoder,
        conversations: Conversations[CachedFrame],
        keeps_pictures: Callable[[], bool] = lambda: False,
    ) -> None:
        self._clock = clock
        self._feeds = feeds
        self._encoder = encoder
        self._conversations = conversations
        self._keeps_pictures = keeps_pictures

    def view_for(self, ask: Ask) -> View | None:
        """Return the frames and turns of a question; None while no frame fits."""
        options = ask.options
        pictures = tuple(map(self._encoder.encoded, options.pictures))
        if not all(pictures):
            return None
        conversation = self._continued(ask)
        if conversation:
            return View(conversation.frames, conversation.turns)
        feeds = feeds_of(options, self._feeds)
        newest = [self._encoder.admitted(feed, options.freshness) for feed in feeds]
        if not all(newest):
            return None
        if options.num_frames == 1:
            return View(tuple(filter(None, (*newest, *pictures))))
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

    def _continued(self, ask: Ask) -> Conversation[CachedFrame] | None:
        """
        Return the dialogue that a question goes on with; None = it begins one, or has none.

        A question with other pictures, or about another region, begins it anew.
        """
        options = ask.options
        known = self._conversations.get(options.conversation_id) if options.goes_on else None
        if known is None:
            return None
        contents = [picture.frame.content for picture in options.pictures if picture.frame]
        if contents and contents != [f.content for f in known.frames if f.content]:
            return None
        if options.region and any(frame.region != options.region for frame in known.frames):
            return None
        return known

    def forget_before(self, ask: Ask) -> int:
        """Forget the dialogue that the question restarts; return the number of its turns."""
        key = ask.options.conversation_id
        if not key or self._continued(ask):
            return 0
        conversation = self._conversations.get(key)
        self._conversations.forget(key)
        return len(conversation.turns) if conversation else 0

    def remember(self, ask: Ask, view: View, answer: str) -> None:
        """Add the question and its whole answer to its dialogue, if it has one."""
        key = ask.options.conversation_id
        if key:
            turns = (*view.turns, Turn(ask.options.request.question, answer))
            frames = view.frames if self._keeps_pictures() else tuple(
                replace(frame, picture=None) for frame in view.frames)
            self._conversations.keep(Conversation(key, frames, turns))

    def is_encoding(self, ask: Ask) -> bool:
        """Return whether a frame or a picture for the question is being encoded."""
        options = ask.options
        waits = any(picture.wanted and not picture.frame for picture in options.pictures)
        return waits or any(feed.encoding for feed in feeds_of(options, self._feeds))

    def obstacle(self, ask: Ask) -> VlmError | None:
        """Return why a question will get no frame, however long it waits; None = it may."""
        options = ask.options
        for picture in options.pictures:
            if picture.failure:
                return picture.failure
        for feed in feeds_of(options, self._feeds):
            # What was being encoded before the question came is not its frame: the next one is.
            if feed.failure and feed.failure_began >= ask.times.asked:
                return feed.failure
            error = obstacle(feed, options.freshness, self._clock, options.timeout)
            if error:
                return error
        return None

    def complaint(self, ask: Ask) -> VlmError:
        """Return the error of a question that got no frame."""
        now, freshness = self._clock.now(), ask.options.freshness
        feeds = feeds_of(ask.options, self._feeds)
        if not feeds or any(picture.frame is None for picture in ask.options.pictures):
            return AnswerTimeoutError(
                'The pictures of the question were not encoded in time', 'Allow a longer timeout')
        feed = next((f for f in feeds if not freshness.admits(f.frame, now)), feeds[0])
        return complaint(feed, freshness, self._clock)


def feeds_of(options: AskOptions, cameras: Mapping[str, CameraFeed]) -> list[Feed]:
    """Return what a question looks at of its cameras."""
    return [cameras[name].of(options.region) for name in options.cameras]
