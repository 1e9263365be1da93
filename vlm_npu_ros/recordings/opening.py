# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Which recording a path means."""

from __future__ import annotations

from pathlib import Path

from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.recordings.bag import Bag, is_bag
from vlm_npu_ros.recordings.files import Folder, Video
from vlm_npu_ros.recordings.recording import Recording


def opened(path: Path, topic: str = '') -> Recording:
    """
    Open a bag of ROS 1 or 2, a folder of pictures, or a video.

    topic: of the pictures in a bag; '' = the only one that has pictures.
    Raises ImageError for what is none of these, BackendUnavailableError without rosbags.
    """
    if not path.exists():
        raise ImageError(f'There is no file or folder {path}')
    if is_bag(path):
        return Bag(path, topic)
    return Folder(path) if path.is_dir() else Video(path)
