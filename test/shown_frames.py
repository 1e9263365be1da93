# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Frames that a test shows to a queue of questions, in place of cameras."""

from __future__ import annotations

from vlm_npu_ros.engine.conversation import Conversations
from vlm_npu_ros.engine.errors import StaleFrameError, VlmError
from vlm_npu_ros.node.ask import Ask
from vlm_npu_ros.node.frames import CachedFrame, View
from vlm_npu_ros.node.views import Views


class ShownFrames(Views):
    """The frame of each camera; a question waits while its camera has none."""

    def __init__(self, **frames: CachedFrame) -> None:
        self.frames = frames
        self._conversations = Conversations(lambda: 8, lambda: 600.0)
        self._keeps_pictures = lambda: False

    def view_for(self, ask: Ask) -> View | None:
        frame = self.frames.get(ask.options.cameras[0])
        return View((frame,)) if frame else None

    def is_encoding(self, ask: Ask) -> bool:
        return False

    def obstacle(self, ask: Ask) -> VlmError | None:
        return None

    def complaint(self, ask: Ask) -> VlmError:
        return StaleFrameError('stale')
