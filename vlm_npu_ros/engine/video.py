"""Frames of a video file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.local import evenly

_ERRORS_ONLY = 2  # LOG_LEVEL_ERROR

Frame = tuple[float, np.ndarray]


def frames_of(path: Path, count: int) -> list[Frame]:
    """
    Return frames of a video, evenly spaced, including the first and the last one.

    If the header gives a wrong number of frames, the file is read from start to end instead.

    :param count: number of frames; a shorter video gives all it has, 1 gives the last one.
    :return: (seconds since the start, (height, width, 3) uint8 RGB) of each.
    :raises ImageError: no such file, or OpenCV cannot read frames from it.
    """
    if count < 1:
        raise ImageError(f'{count} frames of {path} cannot be taken', 'Take 1 or more')
    with _opened(path) as video:
        total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        frames = list(_sought(video, _evenly(total, count)))
        if 0 < total and len(frames) == min(total, count) and not video.grab():
            return frames
    with _opened(path) as video:
        total = 0
        while video.grab():
            total += 1
    with _opened(path) as video:
        frames = list(_read(video, _evenly(total, count)))
    if not frames:
        raise _unreadable(path)
    return frames


def _evenly(total: int, count: int) -> list[int]:
    return evenly(total, min(total, count)) if total > 0 else []


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    try:
        path.open('rb').close()
    except OSError as error:
        raise ImageError(f'{path} cannot be read: {error.strerror}') from error
    # OpenCV would print warnings about what is reported as an error here.
    level = cv2.getLogLevel()
    cv2.setLogLevel(_ERRORS_ONLY)
    try:
        # Another backend would take name1.avi for the first of many pictures.
        video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    finally:
        cv2.setLogLevel(level)
    try:
        if not video.isOpened():
            raise _unreadable(path)
        yield video
    finally:
        video.release()


def _unreadable(path: Path) -> ImageError:
    return ImageError(
        f'{path} is not a video that OpenCV can read, or it is truncated',
        f'Convert it, for example with `ffmpeg -i {path.name} -c:v libx264 converted.mp4`',
    )


def _sought(video: cv2.VideoCapture, indices: Sequence[int]) -> Iterator[Frame]:
    for index in indices:
        video.set(cv2.CAP_PROP_POS_FRAMES, index)
        success, bgr = video.read()
        if success:
            yield _frame(video, bgr)


def _read(video: cv2.VideoCapture, indices: Sequence[int]) -> Iterator[Frame]:
    position = -1
    for index in indices:
        while position < index and video.grab():
            position += 1
        success, bgr = video.retrieve()
        if success:
            yield _frame(video, bgr)


def _frame(video: cv2.VideoCapture, bgr: np.ndarray) -> Frame:
    seconds = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
    return max(seconds, 0.0), cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
