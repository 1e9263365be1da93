# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The backend openai asks the gateway: two machines in a row answer as the engine alone does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from served import served
from vlm_npu_ros.demo.questions import random_question
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.backends.openai import OpenAISettings
from vlm_npu_ros.engine.image_files import decode_image
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import GenerationRequest, Turn, Verdict, YES_NO
from vlm_npu_ros.gateway.engine_source import EngineSource


def test_answers_are_those_of_the_engine_alone() -> None:
    alone = load_engine(EngineSettings())
    rng = np.random.default_rng(7)
    source = EngineSource(load_engine(EngineSettings()), 'onnx', 128)
    with served(source) as url:
        remote = load_engine(EngineSettings('openai', options=OpenAISettings(f'{url}/v1')))
        assert remote.model_name == 'demo'
        for _ in range(5):
            scene = random_scene(rng)
            there = remote.encode(render(scene))
            here = alone.encode(decode_image(there.data.tobytes()))  # what the server gets to see
            turns: tuple[Turn, ...] = ()
            for kind in ('describe', 'count'):
                question = random_question(scene, rng, kind).text
                asked = GenerationRequest(question, (here,), 64, turns=turns)
                answer = alone.answer(asked)
                assert answer and answer == remote.answer(asked.with_images((there,)))
                turns += (Turn(question, answer),)
            typed = GenerationRequest('is there a cone?', (here,), 16, choices=YES_NO)
            for request in (typed, replace(typed, question='which colour is it?',
                                           choices=('red', 'blue', 'green'))):
                here_and_there = [
                    list(engine.generate(request.with_images((image,))))[-1].verdict
                    for engine, image in ((alone, here), (remote, there))
                ]
                assert same(*here_and_there), here_and_there
        remote.close()
    alone.close()


def same(first: Verdict | None, second: Verdict | None) -> bool:
    """Tell whether both decide for the same, and are as sure."""
    assert first and second
    return first.index == second.index and (
        first.index is None or (first.decided_by, first.probability) ==
        (second.decided_by, pytest.approx(second.probability)))
