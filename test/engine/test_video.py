# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import struct

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


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each box of an MP4 file in that span, and where it begins and ends."""
    while start < (len(data) if end is None else end):
        (size,) = struct.unpack_from('>I', data, start)
        yield data[start + 4:start + 8], start, start + size
        start += size


def with_box(data: bytes, names: list[bytes], new: bytes) -> bytes:
    """Put other contents into a box, which names lead to from the outside in."""
    start, end = next(span for name, *span in boxes(data) if name == names[0])
    inner = data[start + 8:end]
    inner = with_box(inner, names[1:], new) if len(names) > 1 else new
    box = struct.pack('>I', len(inner) + 8) + names[0] + inner
    return data[:start] + box + data[end:]


TRACK = [b'moov', b'trak']
TIMES = [*TRACK, b'mdia', b'minf', b'stbl', b'stts']


def with_durations(data: bytes, durations: list[float]) -> bytes:
    """Let the frames of an MP4 file last so many seconds each."""
    at = data.index(b'mdhd') + 16
    (scale,) = struct.unpack_from('>I', data, at)
    table = b''.join(struct.pack('>II', 1, round(scale * seconds)) for seconds in durations)
    total = struct.pack('>I', round(scale * sum(durations)))
    data = data[:at + 4] + total + data[at + 8:]
    data = data.replace(b'edts', b'free')  # which would end it after its first duration
    return with_box(data, TIMES, struct.pack('>II', 0, len(durations)) + table)


def with_header_first(data: bytes) -> bytes:
    """Move the header of an MP4 file to its beginning, as for the web."""
    (start, end), (media, _) = (
        next(span for name, *span in boxes(data) if name == wanted)
        for wanted in (b'moov', b'mdat'))
    header = data[start:end]
    at = header.index(b'stco') + 8
    (count,) = struct.unpack_from('>I', header, at)
    offsets = [offset + len(header) for offset in struct.unpack_from(f'>{count}I', header, at + 4)]
    header = header[:at + 4] + struct.pack(f'>{count}I', *offsets) + header[at + 4 + 4 * count:]
    return data[:media] + header + data[media:start] + data[end:]


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
    short = claimed == 7 and cv2.__version__ == '4.5.4'  # which reads no further than that
    assert numbers(frames_of(path, 4)) == ([0, 2, 5, 7] if short else [0, 8, 16, 24])


def test_video_that_is_cut_short_yields_what_is_there(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.avi')
    path.write_bytes(path.read_bytes()[:-3000])
    first, *_, last = numbers(frames_of(path, 4))
    assert first == 0 and 5 < last < 24


@pytest.mark.parametrize('durations', [
    [0.05] * 15 + [1.0] * 10,
    [1.0] * 10 + [0.05] * 15,
    [0.1, 0.4] * 12 + [0.1],
])
def test_frames_are_evenly_spaced_in_time(durations: list[float], tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.mp4', 'mp4v', len(durations))
    path.write_bytes(with_durations(path.read_bytes(), durations))
    times = np.cumsum([0.0, *durations[:-1]])
    frames = frames_of(path, 5)
    seconds = [moment for moment, _ in frames]
    assert seconds == pytest.approx(times[numbers(frames)], abs=0.002)  # each is what it says
    wanted, step = np.linspace(0, times[-1], 5, retstep=True)
    assert np.abs(seconds - wanted).max() <= max(step / 4, max(durations) / 2)
    assert (seconds[0], seconds[-1]) == pytest.approx((0, times[-1]), abs=0.002)


def test_a_pause_in_a_recording_takes_no_frames_away(tmp_path: Path) -> None:
    durations = [0.1] * 5 + [20.0] + [0.1] * 5
    path = write_video(tmp_path / 'a.mp4', 'mp4v', len(durations))
    path.write_bytes(with_durations(path.read_bytes(), durations))
    seen = numbers(frames_of(path, 8))
    assert seen == sorted(set(seen)) and len(seen) == 8 and (seen[0], seen[-1]) == (0, 10)


def test_a_video_is_turned_as_its_header_says(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.mp4', 'mp4v')
    data = path.read_bytes()
    one = 1 << 16
    quarter = struct.pack('>9i', 0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    at = data.index(b'tkhd') + 44
    path.write_bytes(data[:at] + quarter + data[at + 36:])
    assert {rgb.shape for _, rgb in frames_of(path, 3)} == {(64, 48, 3)}


@pytest.mark.parametrize('kept', [0.97, 0.7, 0.4])
def test_an_mp4_that_is_cut_short_yields_what_is_there(kept: float, tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.mp4', 'mp4v', 25)
    data = with_header_first(path.read_bytes())
    path.write_bytes(data)
    assert numbers(frames_of(path, 4)) == [0, 8, 16, 24]
    media = data.index(b'mdat')
    path.write_bytes(data[:media + int(kept * (len(data) - media))])
    first, *_, last = numbers(frames_of(path, 4))
    assert first == 0 and 3 < last < 24


@pytest.mark.parametrize('content', [b'', b'no video', bytes(4)])
def test_what_is_no_video(
    content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'clip1.avi'
    path.write_bytes(content)
    with pytest.raises(ImageError, match='clip1.avi is not a picture, and not a video.*ffmpeg'):
        frames_of(path, 4)
    assert capfd.readouterr() == ('', '')


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match='nowhere.mp4 cannot be read: No such file'):
        frames_of(tmp_path / 'nowhere.mp4', 4)
    with pytest.raises(ImageError, match='cannot be read: Is a directory'):
        frames_of(tmp_path, 4)
    with pytest.raises(ImageError, match='1 or more'):
        frames_of(write_video(tmp_path / 'a.avi'), 0)
