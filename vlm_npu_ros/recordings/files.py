# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Videos, and folders of pictures."""

from __future__ import annotations

from pathlib import Path
import re

from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.image_files import read_if_image
from vlm_npu_ros.engine.video import frame_at, times_of
from vlm_npu_ros.recordings.recording import Frame, Recording


class Folder(Recording):
    """Pictures in the order of their names, numbers as numbers; they count as a second apart."""

    def __init__(self, path: Path) -> None:
        self._files = sorted(
            (file for file in path.iterdir() if file.is_file() and not file.name.startswith('.')),
            key=_natural,
        )
        if not self._files:
            raise ImageError(f'{path} is no bag, and there are no pictures in it')
        self.times = [float(number) for number in range(len(self._files))]

    def frame(self, number: int) -> Frame:
        """Read a picture."""
        path = self._files[number]
        rgb = read_if_image(path)
        if rgb is None:
            raise ImageError(f'{path} is no picture')
        return Frame(rgb, self.times[number], name=path.name)


class Video(Recording):
    """Frames of a video file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.times = times_of(path)

    def frame(self, number: int) -> Frame:
        """Search for a frame."""
        return Frame(frame_at(self._path, self.times[number]), self.times[number])


def _natural(path: Path) -> list[tuple[str, int]]:
    return [(text, int(part or 0)) for text, part in re.findall(r'(\D*)(\d*)', path.name)]
