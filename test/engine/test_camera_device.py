# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from vlm_npu_ros.engine.camera_device import CameraDevice, snapshot
from vlm_npu_ros.engine.errors import ImageError

COLOUR = (200, 100, 50)  # BGR


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10.0, (64, 48))
    for _ in range(3):
        writer.write(np.full((48, 64, 3), COLOUR, np.uint8))
    writer.release()
    return path


def test_video_stands_in_for_a_camera(clip: Path) -> None:
    with CameraDevice(str(clip), (1920, 1080)) as camera:
        assert not camera.is_device
        for _ in range(3):
            bgr = camera.read()
            assert bgr.shape == (48, 64, 3)
            assert abs(bgr.reshape(-1, 3).mean(0) - COLOUR).max() < 8
        with pytest.raises(ImageError, match='has ended'):
            camera.read()
    rgb = snapshot(f'camera://{clip}')
    assert abs(rgb.reshape(-1, 3).mean(0) - COLOUR[::-1]).max() < 8


def test_missing_camera_is_told(tmp_path: Path) -> None:
    there = ', '.join(sorted(map(str, Path('/dev').glob('video*')))) or 'none'
    for name in ('63', '/dev/video63', str(10**20)):
        with pytest.raises(ImageError, match='cannot be opened') as caught:
            CameraDevice(name)
        assert there in caught.value.what and 'group video' in caught.value.remedy
    for name in (str(tmp_path / 'nothing.mp4'), 'http://user:secret@127.0.0.1:9/stream'):
        with pytest.raises(ImageError, match='is no camera') as caught:
            CameraDevice(name)
        assert 'secret' not in str(caught.value)
