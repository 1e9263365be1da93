# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The topic of sentences."""

from __future__ import annotations

from rclpy.publisher import Publisher
from vlm_npu_ros.engine.sentences import SentenceSplitter
from vlm_npu_ros.msg import Sentence
from vlm_npu_ros.node.ask import Ask, Piece


class SentencePublisher:
    """Publishes each sentence of one answer when it is complete."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._splitter = SentenceSplitter()
        self._sequence = 0

    def take(self, ask: Ask, piece: Piece) -> None:
        """Add the next piece of the answer."""
        if piece.retracts:
            self._splitter.finish()
        for sentence in self._splitter.push(piece.delta):
            self._publish(ask, sentence, '')
        if piece.finish_reason:
            self._publish(ask, self._splitter.finish(), piece.finish_reason.value)

    def _publish(self, ask: Ask, text: str, finish_reason: str) -> None:
        if self._publisher.get_subscription_count():  # as for the topic of partial answers
            self._publisher.publish(Sentence(
                header=ask.header,
                request_id=ask.request_id,
                conversation_id=ask.options.conversation_id,
                sequence=self._sequence,
                text=text,
                done=bool(finish_reason),
                finish_reason=finish_reason,
            ))
        self._sequence += 1
