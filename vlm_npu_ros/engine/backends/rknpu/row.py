# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A row of numbers that the runtime hands out beside the text, as probabilities of tokens."""

from __future__ import annotations

import numpy as np
from vlm_npu_ros.engine.model_files.lm_head import LmHead

_NEAR = 0.5  # logits that differ by less are equal: runs of quantised models differ


class RowError(Exception):
    """A row did not come, or cannot be right."""


class Row:
    """
    How probable each token is as the next one, among all or among those of an LM head.

    values: logits or, with a head, a hidden state, as the runtime gave them; None = it did not.
    Raises RowError for what no model can have meant.
    """

    def __init__(self, values: np.ndarray | None, head: LmHead | None = None) -> None:
        if values is None:
            raise RowError('nothing came')
        if not np.isfinite(values).all():
            raise RowError('what came is not finite')
        if head and not head.takes(values):
            raise RowError('the states are not those that the LM head takes')
        self._head = head
        self.logits = head.logits(values) if head else values
        if np.ptp(self.logits) <= 1:
            raise RowError('what came is the same for all tokens')
        weights = np.exp(self.logits - self.logits.max(), dtype=np.float64)
        self.probabilities = weights / weights.sum()

    def probability(self, token: int) -> float | None:
        """Return that of a token; None = the LM head does not have it."""
        at = self._head.index.get(token, -1) if self._head else token
        return float(self.probabilities[at]) if 0 <= at < len(self.probabilities) else None

    def check(self, token: int) -> None:
        """Raise RowError unless the token that the model wrote is, about, the most likely one."""
        probability = self.probability(token)
        if probability is None:
            raise RowError('the LM head lacks the token that the answer has')
        if probability < self.probabilities.max() * np.exp(-_NEAR):
            raise RowError('another token than that of the answer would be the most likely one')
