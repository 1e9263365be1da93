# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
The demo model answers alike from its .onnx encoder and from the simulated .rknn.

`make test-convert` runs this, in an environment of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vlm_npu_ros.convert import rknn
from vlm_npu_ros.convert.prologue import Picture
from vlm_npu_ros.demo.questions import random_question
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.images import letterbox
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.share import share_dir
from vlm_npu_ros.engine.types import GenerationRequest, ImageEmbedding

DEMO: Path = share_dir() / 'resource' / 'demo_model' / 'vision_encoder.onnx'
# Of scenes and phrasings that the model was not trained on, as in tools/demo_model/evaluate.py.
SEED = 1_000_003


@pytest.mark.filterwarnings('ignore:pkg_resources is deprecated')
def test_same_answers_on_99_of_100_held_out_scenes() -> None:
    engine = load_engine(EngineSettings())
    toolkit = rknn.open_toolkit()
    recipe = rknn.Recipe('rk3588', (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    rknn.build(toolkit, DEMO, Picture.of(DEMO), recipe, {}, lambda line: None)
    same = right = 0
    for index in range(100):
        rng = np.random.default_rng((SEED, index))
        scene = random_scene(rng)
        question = random_question(scene, rng, held_out=True)
        rgb = render(scene, 640, 480)
        original = engine.encode(rgb)
        (rows,) = rknn.simulate(toolkit, letterbox(rgb, 128))
        simulated = ImageEmbedding(rows.reshape(original.data.shape), 0.0)
        assert not np.array_equal(simulated.data, original.data)
        answers = [
            engine.answer(GenerationRequest(question.text, (view,), 64))
            for view in (original, simulated)
        ]
        same += answers[0] == answers[1]
        right += answers[1] == question.answer
    toolkit.release()
    print(f'{same} of 100 answers are the same, {right} right')
    assert same >= 99
    assert right >= 90
