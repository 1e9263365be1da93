"""Freshness of frames."""

from __future__ import annotations

import numpy as np
import pytest
from std_msgs.msg import Header
from vlm_npu_ros.engine.errors import NoFrameError, StaleFrameError
from vlm_npu_ros.engine.types import ImageEmbedding
from vlm_npu_ros.node.frames import CachedFrame, Freshness, NANOSECONDS


def frame_at(seconds: float) -> CachedFrame:
    embedding = ImageEmbedding(np.zeros((1, 1, 1), np.float32), 0.0)
    return CachedFrame(Header(), round(seconds * NANOSECONDS), embedding)


@pytest.mark.parametrize(
    ('stamp', 'now', 'not_before', 'admitted'),
    [
        (100, 104.9, 0, True),
        (100, 105, 0, True),
        (100, 105.1, 0, False),
        (100, 101, 100, True),
        (100, 101, 100.001, False),
        (100, 99, 0, True),  # the camera's clock is ahead
    ],
)
def test_admits(stamp: float, now: float, not_before: float, admitted: bool) -> None:
    freshness = Freshness(5 * NANOSECONDS, round(not_before * NANOSECONDS))
    assert freshness.admits(frame_at(stamp), round(now * NANOSECONDS)) is admitted


def test_no_frame_is_never_admitted() -> None:
    assert not Freshness(5 * NANOSECONDS).admits(None, 0)


@pytest.mark.parametrize(
    ('frame', 'not_before', 'error', 'words'),
    [
        (None, 0, NoFrameError, 'no usable frame yet'),
        (frame_at(100), 0, StaleFrameError, '20.0 s old, 5.0 s are allowed'),
        (frame_at(118), 119, NoFrameError, '1.0 s before the time asked for'),
    ],
)
def test_complaint_names_camera_topic_and_age(
    frame: CachedFrame | None, not_before: int, error: type[Exception], words: str
) -> None:
    freshness = Freshness(5 * NANOSECONDS, not_before * NANOSECONDS)
    complaint = freshness.complaint('front', '/front/image', frame, 120 * NANOSECONDS)
    assert type(complaint) is error
    assert words in str(complaint)
    assert "'front'" in str(complaint) and '/front/image' in str(complaint)
