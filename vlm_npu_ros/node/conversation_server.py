# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The service that lists and forgets dialogues."""

from __future__ import annotations

import time

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from vlm_npu_ros.engine.conversation import Conversation, Conversations
from vlm_npu_ros.engine.errors import VlmError
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.types import GenerationRequest
from vlm_npu_ros.msg import Conversation as ConversationMessage
from vlm_npu_ros.node.frames import CachedFrame, duration, NANOSECONDS
from vlm_npu_ros.srv import Conversations as ConversationsService


class ConversationServer:
    """Serves `~/conversations`."""

    def __init__(
        self, node: Node, conversations: Conversations[CachedFrame], engine: Engine
    ) -> None:
        self._node = node
        self._conversations = conversations
        self._engine = engine
        self._service = node.create_service(
            ConversationsService,
            '~/conversations',
            self._serve,
            callback_group=ReentrantCallbackGroup(),
        )

    def close(self) -> None:
        """Remove the service."""
        self._node.destroy_service(self._service)

    def _serve(
        self, request: ConversationsService.Request, response: ConversationsService.Response
    ) -> ConversationsService.Response:
        kept = self._conversations.newest_first()
        keys = [conversation.key for conversation in kept] if request.clear_all else []
        response.cleared = self._conversations.forget(*request.clear, *keys)
        response.conversations = list(map(self._message, self._conversations.newest_first()))
        return response

    def _message(self, kept: Conversation[CachedFrame]) -> ConversationMessage:
        images = tuple(frame.embedding for frame in kept.frames)
        idle = round((time.monotonic() - kept.used) * NANOSECONDS)
        return ConversationMessage(
            conversation_id=kept.key,
            turns=len(kept.turns),
            tokens=self._tokens(GenerationRequest('', images, turns=kept.turns)),
            header=max(kept.frames, key=lambda frame: frame.stamp).header,
            idle=duration(idle),
        )

    def _tokens(self, request: GenerationRequest) -> int:
        try:
            return self._engine.tokens(request)
        except VlmError:  # unknown while the engine restarts
            return 0
