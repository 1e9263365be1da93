# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
from vlm_npu_ros.engine.types import FinishReason, ImageEmbedding


@pytest.mark.parametrize('shape, tokens', [((64, 1, 128), 64), ((196, 4, 2048), 196)])
def test_image_takes_a_prompt_token_for_each_row(shape: tuple[int, ...], tokens: int) -> None:
    assert ImageEmbedding(np.zeros(shape, np.float32), 0.1).tokens == tokens


def test_finish_reason_is_its_text() -> None:
    assert FinishReason('eos') is FinishReason.EOS
    assert FinishReason.CANCELLED == 'cancelled'
