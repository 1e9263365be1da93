from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.video import frames_of

RATE = 10.0  # frames a second
FORMS = [('clip.mp4', 'mp4v'), ('clip.mov', 'mp4v'), ('clip.avi', 'MJPG'), ('clip.mkv', 'MJPG')]


def write_video(path: Path, code: str = 'MJPG', length: int = 25) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), RATE, (64, 48))
    for number in range(length):
        writer.write(np.full((48, 64, 3), (0, 0, 10 * number), np.uint8))
    writer.release()
    return path


def numbers(frames: list[tuple[float, np.ndarray]]) -> list[int]:
    assert all(rgb.shape == (48, 64, 3) and rgb.dtype == np.uint8 for _, rgb in frames)
    return [round(rgb[..., 0].mean() / 10) for _, rgb in frames]


@pytest.mark.parametrize('name, code', FORMS)
def test_frames_are_evenly_spaced(name: str, code: str, tmp_path: Path) -> None:
    frames = frames_of(write_video(tmp_path / name, code), 4)
    assert numbers(frames) == [0, 8, 16, 24]
    assert [seconds for seconds, _ in frames] == pytest.approx([0.0, 0.8, 1.6, 2.4])
    assert all(rgb[..., 1:].mean() < 15 for _, rgb in frames)  # red, not blue


@pytest.mark.parametrize('length, count, expected', [
    (1, 8, [0]), (3, 8, [0, 1, 2]), (8, 8, list(range(8))), (9, 2, [0, 8]), (9, 1, [8]),
])
def test_short_videos(length: int, count: int, expected: list[int], tmp_path: Path) -> None:
    assert numbers(frames_of(write_video(tmp_path / 'a.avi', length=length), count)) == expected


@pytest.mark.parametrize('claimed', [0, 7, 24, 26, 1000, 2**31 - 1])
def test_container_that_says_a_wrong_number_of_frames(claimed: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.avi')
    data = bytearray(path.read_bytes())
    # AVIMAINHEADER.dwTotalFrames, AVISTREAMHEADER.dwLength
    for chunk, offset in ((b'avih', 16), (b'strh', 32)):
        start = data.index(chunk) + 8 + offset
        assert data[start:start + 4] == (25).to_bytes(4, 'little')
        data[start:start + 4] = claimed.to_bytes(4, 'little')
    path.write_bytes(data)
    assert numbers(frames_of(path, 4)) == [0, 8, 16, 24]


def test_video_that_is_cut_short_yields_what_is_there(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.avi')
    path.write_bytes(path.read_bytes()[:-3000])
    first, *_, last = numbers(frames_of(path, 4))
    assert first == 0 and 5 < last < 24


@pytest.mark.parametrize('content', [b'', b'no video', bytes(4)])
def test_what_is_no_video(
    content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'clip1.avi'
    path.write_bytes(content)
    with pytest.raises(ImageError, match='clip1.avi is not a video.*ffmpeg'):
        frames_of(path, 4)
    assert capfd.readouterr() == ('', '')


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match='nowhere.mp4 cannot be read: No such file'):
        frames_of(tmp_path / 'nowhere.mp4', 4)
    with pytest.raises(ImageError, match='cannot be read: Is a directory'):
        frames_of(tmp_path, 4)
    with pytest.raises(ImageError, match='1 or more'):
        frames_of(write_video(tmp_path / 'a.avi'), 0)
