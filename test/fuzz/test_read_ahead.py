# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Answers are the same, token by token, whether frames are read ahead or not."""

from __future__ import annotations

from fuzz.fuzzing import FULL
from same_answers import Walk
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.settings import EngineSettings


def test_answers_of_the_embedded_model() -> None:
    scenes = 300 if FULL else 15
    plain, ahead = (load_engine(EngineSettings(threads=1, read_ahead=r)) for r in (False, True))
    walk = Walk(plain, ahead, seed=0)
    walk.go(scenes)
    assert walk.seen['answers'] > scenes and walk.seen['read ahead'] > scenes / 3, walk.seen
    assert walk.seen['cancelled'] and walk.seen['readings']
