# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A GGUF model, from the server to its answers."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
from hub_server import Hub
import numpy as np
import pytest
from tiny_llama import tiny_llama
from vlm_npu_ros.cli.main import main
from vlm_npu_ros.pull.pulling import pull, Wish

NAME = 'hf:test/SmolVLM-GGUF'


def test_pulled_model_answers_offline(
    hub: Hub, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, mmproj = tiny_llama()
    hub.repositories['test/SmolVLM-GGUF'] = {
        'SmolVLM-Q8_0.gguf': model.read_bytes(), 'mmproj-SmolVLM-Q8_0.gguf': mmproj.read_bytes(),
    }
    found = pull(
        Wish(NAME), lambda line: None,
        lambda repository, file, part: repository.fetch(file, part, lambda count: None))
    assert found.backend == 'llamacpp' and found.folder.is_relative_to(models)
    hub.repositories.clear()
    picture = tmp_path / 'picture.png'
    cv2.imwrite(str(picture), np.full((48, 64, 3), 90, np.uint8))
    asked = [str(picture), '-q', 'what do you see?', '--json', '--new-tokens', '12', '--context',
             '512', '--threads', '1', '--image-tokens', '32', '--isolation', 'none']
    answers = []
    for how in (['--model', NAME], [], [str(model), str(mmproj)]):
        assert main(['chat', *asked, *how]) == 0
        answers.append(json.loads(capsys.readouterr().out)['answer'])
    assert answers[0] and len(set(answers)) == 1
