# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Frames of a video file, or of a stream."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import time

import cv2
import numpy as np
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.opencv import quiet, turned
from vlm_npu_ros.engine.sources import opened, SECONDS, shown, Source

# Frames of a stream without an end are so far apart.
STREAM_INTERVAL = 1.0  # s
# How long before a point of time a search for it begins, if one from it itself led beyond it. An
# index is rarely sparser; and a file whose sound is longer than its pictures ends so much earlier.
_RUN_UPS = (0.0, 2.0, 10.0)  # s

Frame = tuple[float, np.ndarray]


def frames_of(source: Source, count: int) -> list[Frame]:
    """
    Return frames of a video, evenly spaced in time, including the first and the last one.

    A file that cannot be searched, or whose header tells a wrong length, is read from start to
    end. A stream that has no end gives the frames of the next seconds, STREAM_INTERVAL apart.

    :param source: a file, or an address that FFmpeg reads.
    :param count: number of frames; a shorter video gives all it has, 1 gives the last one.
    :return: (seconds since the start, (height, width, 3) uint8 RGB) of each.
    :raises ImageError: no such file, or OpenCV cannot read frames from it.
    """
    if count < 1:
        raise ImageError(f'{count} frames of {shown(source)} cannot be taken', 'Take 1 or more')
    if isinstance(source, Path):
        opened(source).close()  # tells why it cannot be read
    with _video(source) as video:
        if isinstance(source, str) and video.get(cv2.CAP_PROP_FRAME_COUNT) <= 0:
            frames = _next(video, count)
        else:
            frames = _sought(video, count) or _read_through(source, count)
    if not frames:
        raise _unreadable(source)
    return frames


def times_of(path: Path) -> list[float]:
    """
    Return the times of all frames of a video file, in seconds since its start.

    It is read through, without converting a frame. Raises ImageError.
    """
    opened(path).close()
    with _video(path) as video:
        times = list(_times(video))
    if not times:
        raise _unreadable(path)
    return times


def frame_at(path: Path, seconds: float) -> np.ndarray:
    """Return the frame of one of `times_of`, (height, width, 3) uint8 RGB; raise ImageError."""
    with _video(path) as video:
        rate = video.get(cv2.CAP_PROP_FPS)
        found = _found(video, seconds, 0.25 / rate) if rate > 0 else None
    if found is None:
        with _video(path) as video:
            found = next(
                ((time, _rgb(video)) for time in _times(video) if time >= seconds), None)
    if found is None:
        raise _unreadable(path)
    return found[1]


@contextmanager
def _video(source: Source) -> Iterator[cv2.VideoCapture]:
    milliseconds = int(1000 * SECONDS)
    with quiet():
        # Another backend would take name1.avi for the first of many pictures.
        video = cv2.VideoCapture(str(source), cv2.CAP_FFMPEG, [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds,
        ])
        try:
            if not video.isOpened():
                raise _unreadable(source)
            yield video
        finally:
            video.release()


def _unreadable(source: Source) -> ImageError:
    if isinstance(source, str):
        return ImageError(f'{shown(source)} is no picture or video that OpenCV can read, '
                          f'or nothing came within {SECONDS:.0f} s')
    return ImageError(
        f'{source} is not a picture, and not a video that OpenCV can read, or it is truncated',
        f'Convert it, for example with `ffmpeg -i {source.name} -c:v libx264 converted.mp4`',
    )


def _times(video: cv2.VideoCapture) -> Iterator[float]:
    """Take one frame after the other; yield its time in seconds."""
    last, step = -1.0, 1 / max(video.get(cv2.CAP_PROP_FPS), 1.0)
    while video.grab():
        seconds = max(video.get(cv2.CAP_PROP_POS_MSEC) / 1000, 0.0)
        # 0 for the last frames of many files in OpenCV 4.5.
        last = seconds if seconds > last else last + step
        yield last


def _sought(video: cv2.VideoCapture, count: int) -> list[Frame]:
    """Return frames that were found by searching for their times, [] if that fails."""
    rate = video.get(cv2.CAP_PROP_FPS)
    total = video.get(cv2.CAP_PROP_FRAME_COUNT)
    if not rate > 0 or total <= 2 * count:
        return []
    first = next(_times(video), None)
    if first is None:
        return []
    frames = [(first, _rgb(video))]
    last = _last(video, (total - 1) / rate)
    if last is None:
        return []
    step = (last[0] - first) / max(count - 1, 1)
    for number in range(1, count - 1):
        frame = _found(video, first + number * step, step / 4)
        if frame is None:
            return []
        frames.append(frame)
    return [*frames[:count - 1], last]


def _last(video: cv2.VideoCapture, expected: float) -> Frame | None:
    """Return the last frame, which should be at that time."""
    for run_up in _RUN_UPS:
        video.set(cv2.CAP_PROP_POS_MSEC, 1000 * max(expected - run_up, 0.0))
        last = None
        for seconds in _times(video):
            last = seconds, _rgb(video)
        if last and last[0] > 0:
            return last
    return None


def _found(video: cv2.VideoCapture, wanted: float, tolerance: float) -> Frame | None:
    """Return the first frame from half a frame before a time, None if it is too far from it."""
    earliest = wanted - 0.5 / video.get(cv2.CAP_PROP_FPS)
    for run_up in _RUN_UPS:
        video.set(cv2.CAP_PROP_POS_MSEC, 1000 * max(wanted - run_up, 0.0))
        reached = next((seconds for seconds in _times(video) if seconds >= earliest), None)
        if reached is not None and reached <= wanted + tolerance:
            return reached, _rgb(video)
    return None


def _read_through(source: Source, count: int) -> list[Frame]:
    with _video(source) as video:
        times = list(_times(video))
    chosen = set(_evenly(times, count))
    with _video(source) as video:
        return [
            (seconds, _rgb(video)) for number, seconds in enumerate(_times(video))
            if number in chosen
        ]


def _evenly(times: list[float], count: int) -> list[int]:
    """Choose so many different ones of these times, as evenly as they allow."""
    if count == 1 or len(times) <= count:
        return list(range(len(times)))[-1 if count == 1 else 0:]
    chosen: list[int] = []
    for number, wanted in enumerate(np.linspace(times[0], times[-1], count)):
        after = bisect_left(times, wanted)
        nearest = min((after - 1, after), key=lambda i: abs(times[max(i, 0)] - wanted))
        least, most = (chosen[-1] + 1 if chosen else 0), len(times) - count + number
        chosen.append(min(max(nearest, least), most))
    return chosen


def _next(video: cv2.VideoCapture, count: int) -> list[Frame]:
    """Return the frames of the next seconds."""
    frames: list[Frame] = []
    started = time.monotonic()
    while len(frames) < count and video.grab():
        seconds = time.monotonic() - started
        if seconds >= len(frames) * STREAM_INTERVAL:
            frames.append((seconds, _rgb(video)))
    return frames


def _rgb(video: cv2.VideoCapture) -> np.ndarray:
    success, bgr = video.retrieve()
    if not success:
        raise ImageError('OpenCV cannot read a frame of the video')
    return turned(bgr)
