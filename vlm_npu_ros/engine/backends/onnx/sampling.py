# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Choice of the next token."""

from __future__ import annotations

import numpy as np
from vlm_npu_ros.engine.types import Sampling


def pick_token(logits: np.ndarray, sampling: Sampling, rng: np.random.Generator | None) -> int:
    """
    Choose the next token, by its index: top-k first, then top-p at the given temperature.

    That is the order of the usual samplers (Holtzman et al., arXiv 1904.09751, for top-p). At
    temperature 0 the likeliest token is taken, and rng may be None.

    logits: (vocabulary,) float.
    """
    if sampling.temperature <= 0:
        return int(logits.argmax())
    assert rng is not None
    order = np.argsort(-logits)[:sampling.top_k if sampling.top_k > 0 else None]
    scaled = (logits[order] - logits[order[0]]).astype(np.float64) / sampling.temperature
    weights = np.exp(scaled)
    weights /= weights.sum()
    # Keep the token that crosses top_p: at least one always stays.
    keep = np.cumsum(weights) - weights < sampling.top_p
    keep[0] = True
    weights = np.where(keep, weights, 0)
    return int(rng.choice(order, p=weights / weights.sum()))
