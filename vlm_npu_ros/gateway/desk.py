# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Where all questions from outside come in: bounded in number, and counted."""

from __future__ import annotations

from contextlib import aclosing
import time

from vlm_npu_ros.client.answer import Answer
from vlm_npu_ros.engine.errors import BusyError
from vlm_npu_ros.gateway.metrics import Metrics
from vlm_npu_ros.gateway.source import failed, Items, Question, Source


class Desk:
    """Passes questions on to a source, and tells the metrics about them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.metrics = Metrics(source)
        self._open = 0

    async def ask(self, question: Question) -> Items:
        """Yield the pieces of an answer, then the answer; close the iterator to cancel."""
        if self._open >= self.source.most_open:
            yield failed(BusyError(f'{self._open} questions are open', 'Ask again later'))
            return
        self._open += 1
        self.metrics.began()
        asked, begun, end = time.monotonic(), False, None
        try:
            async with aclosing(self.source.ask(question)) as items:
                async for item in items:
                    if isinstance(item, Answer):
                        end = item
                        self.metrics.whole(time.monotonic() - asked)
                    elif not begun:
                        begun = True
                        self.metrics.first_token(time.monotonic() - asked)
                    yield item
        finally:
            self._open -= 1
            self.metrics.ended(end)
