# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What the commands that ask are tried on: a picture, a video, a terminal, a simulated board."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import simulated
from simulated.board import board_tree
from terminal import Run, terminal, VLM_NPU
from vlm_npu_ros.demo.scenes import random_scene, render

SIMULATED = Path(simulated.__path__[0])


def scene(seed: int) -> np.ndarray:
    """Return a scene, (240, 320, 3) uint8 BGR."""
    rgb = render(random_scene(np.random.default_rng(seed)), 320, 240)
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / 'scene.png'
    cv2.imwrite(str(path), scene(3))
    return path


@pytest.fixture
def other_picture(tmp_path: Path) -> Path:
    path = tmp_path / 'other scene.png'
    cv2.imwrite(str(path), scene(4))
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Give three scenes, each a second long, as a video file."""
    path = tmp_path / 'clip.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10.0, (320, 240))
    for seed in (3, 4, 5):
        for _ in range(10):
            writer.write(scene(seed))
    writer.release()
    return path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    folders = {f'XDG_{kind.upper()}_HOME': str(tmp_path / kind) for kind in ('state', 'cache')}
    return {**os.environ, **folders}


@pytest.fixture
def vlm_npu(environment: dict[str, str]) -> Run:
    return lambda *arguments, **more: terminal(
        [*VLM_NPU, *map(str, arguments)], {**environment, **more}
    )


@pytest.fixture(scope='session')
def board_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip('onnx')
    from simulated import runtime, weights

    folder = tmp_path_factory.mktemp('board')
    board_tree(folder)
    weights.write_model(folder / 'demo.rkllm')
    runtime.build('1.2.3', folder)
    return folder


@pytest.fixture
def board(board_files: Path, environment: dict[str, str]) -> list[str]:
    """Let the environment be a simulated board; return the arguments to use it."""
    environment['VLM_NPU_SYSROOT'] = str(board_files)
    environment['PYTHONPATH'] = f'{SIMULATED}:{environment.get("PYTHONPATH", "")}'
    return [
        str(SIMULATED.parent / 'data' / 'demo_encoder.rknn'), str(board_files / 'demo.rkllm'),
        '--model', str(SIMULATED / 'demo_rknpu.yaml'),
        '--library', str(board_files / '1.2.3' / 'librkllmrt.so'),
    ]
