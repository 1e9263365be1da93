# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.recordings.opening import opened


def test_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for number in (10, 9, 100, 1):
        cv2.imwrite(str(tmp_path / f'frame{number}.png'), np.full((8, 8, 3), number, np.uint8))
    cv2.imwrite(str(tmp_path / 'end200.png'), np.full((8, 8, 3), 200, np.uint8))
    (tmp_path / '.hidden').write_text('')
    with opened(tmp_path) as recording:
        frames = [recording.frame(number) for number in range(5)]
    assert [frame.name for frame in frames] == [
        'end200.png', *(f'frame{n}.png' for n in (1, 9, 10, 100))]
    assert [int(frame.rgb[0, 0, 0]) for frame in frames] == [200, 1, 9, 10, 100]
    assert list(recording.times) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_what_is_no_picture_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('no picture')
    (tmp_path / 'other.bag').touch()  # beside it
    with opened(tmp_path) as recording, pytest.raises(ImageError, match='notes.txt is no picture'):
        recording.frame(0)
    (tmp_path / 'empty').mkdir()
    for path in (tmp_path / 'empty', tmp_path / 'notes.txt', tmp_path / 'nothing.mp4'):
        with pytest.raises(ImageError, match=path.name):
            opened(path)


def test_frame_of_a_video_is_the_one_of_its_time(tmp_path: Path) -> None:
    path = tmp_path / 'clip.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10.0, (64, 48))
    for number in range(30):
        writer.write(np.full((48, 64, 3), 8 * number, np.uint8))
    writer.release()
    with opened(path) as recording:
        assert len(recording.times) == 30
        for number in (29, 0, 17, 3):
            frame = recording.frame(number)
            assert frame.seconds == pytest.approx(number / 10, abs=0.02)
            assert abs(int(frame.rgb.mean()) - 8 * number) <= 4
