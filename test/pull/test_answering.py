# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A pulled model answers, in the terminal and over ROS; its weights are random."""

from __future__ import annotations

import json
from pathlib import Path

from asked_node import asked_node
import cv2
from hub_server import Hub
import numpy as np
import pytest
from tiny_llama import tiny_llama
from vlm_npu_ros.cli.main import main
from vlm_npu_ros.demo.scenes import random_scene, render

NAME = 'smolvlm2-256m'
REPOSITORY = 'ggml-org/SmolVLM2-256M-Video-Instruct-GGUF'
STEM = 'SmolVLM2-256M-Video-Instruct-Q8_0'


@pytest.fixture
def pulled(hub: Hub) -> None:
    """Pull it, then take the server's files away: what follows needs none."""
    model, mmproj = tiny_llama()
    hub.repositories[REPOSITORY] = {
        f'{STEM}.gguf': model.read_bytes(), f'mmproj-{STEM}.gguf': mmproj.read_bytes(),
    }
    assert main(['pull', NAME, '--backend', 'llamacpp']) == 0
    hub.repositories.clear()


def test_chat(pulled: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / 'scene.png'
    cv2.imwrite(str(picture), render(random_scene(np.random.default_rng(1)), 320, 240))
    ask = ['chat', str(picture), '--new-tokens', '12', '--threads', '1', '--json', '-q', 'what?']
    answers = []
    for model in ((), ('--model', NAME)):  # without a name, what was pulled last
        capsys.readouterr()
        assert main([*ask, *model]) == 0
        printed = capsys.readouterr()
        assert f'{STEM} loaded' in printed.err or not printed.err
        answers.append(json.loads(printed.out)['answer'])
    assert answers[0] and len(set(answers)) == 1


def test_node(pulled: None) -> None:
    """By itself, and where a board that has no such model comes first."""
    for backends in ({'backend': 'auto'}, {'backends': ['rknpu', 'llamacpp']}):
        with asked_node(model=NAME, cpu_threads=1, max_new_tokens=12, **backends) as (_, robot):
            robot.publish(render(random_scene(np.random.default_rng(2)), 320, 240))
            response = robot.ask(question='what do you see?')
        assert response.success and response.answer, response.error_msg
        assert (response.stats.backend, response.stats.model) == ('llamacpp', STEM)
