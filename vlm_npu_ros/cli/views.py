"""What questions are about: a picture, several pictures, or the frames of a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import os
from pathlib import Path

import numpy as np
from vlm_npu_ros.cli.screen import ChatScreen
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.images import read_image
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.types import ImageEmbedding
from vlm_npu_ros.engine.video import frames_of

_PICTURES = ('.jpg', '.jpeg', '.png')
_VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.m4v', '.mpg', '.webm')


@dataclass(frozen=True)
class Pictures:
    """
    Pictures that were read from files.

    rgb: (height, width, 3) uint8 each.
    seconds: of each since the start of its video; () if they are not from a video file.
    """

    paths: tuple[Path, ...]
    rgb: list[np.ndarray]
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class View:
    """Pictures as the language model reads them; a view may be empty."""

    paths: tuple[Path, ...] = ()
    images: tuple[ImageEmbedding, ...] = ()
    seconds: tuple[float, ...] = ()

    @property
    def video(self) -> bool:
        """Whether the images follow one another in time."""
        return len(self.images) > 1

    def keep(self, indices: Sequence[int]) -> View:
        """Make a view of some of the images."""
        seconds = tuple(self.seconds[i] for i in indices) if self.seconds else ()
        return View(self.paths, tuple(self.images[i] for i in indices), seconds)

    def describe(self) -> str:
        """Describe the view in a line."""
        name = self.paths[0].name
        if self.seconds:
            name += f': {len(self.images)} frames from {self.seconds[0]:.1f} s to '
            name += f'{self.seconds[-1]:.1f} s'
        elif self.video:
            name += f' to {self.paths[-1].name}: {len(self.images)} frames'
        tokens = sum(image.tokens for image in self.images)
        took = sum(image.encode_seconds for image in self.images)
        return f'{name}, encoded in {took:.2f} s, {tokens} tokens'


def is_viewable(path: Path) -> bool:
    """Return whether the path is that of a picture or video, existing or not, or of any file."""
    return path.suffix.lower() in _PICTURES + _VIDEOS or os.path.isfile(path)


def read(paths: Sequence[Path], frames: int) -> Pictures:
    """
    Read a picture, a video, or pictures that are its frames.

    frames: how many to take from a video file. Raises ImageError.
    """
    videos = [path for path in paths if path.suffix.lower() in _VIDEOS]
    if videos and len(paths) > 1:
        raise ImageError(f'{videos[0]} is a video', 'Give it alone, or only pictures')
    if videos:
        seconds, rgb = zip(*frames_of(videos[0], frames), strict=True)
        return Pictures(tuple(paths), list(rgb), seconds)
    return Pictures(tuple(paths), [read_image(path) for path in paths])


def encoded(engine: Engine, pictures: Pictures, screen: ChatScreen) -> View:
    """Encode pictures and show the progress."""
    with screen.counted('Encoding frames', len(pictures.rgb)) as one_more:
        images = []
        for rgb in pictures.rgb:
            images.append(engine.encode(rgb))
            one_more()
    return View(pictures.paths, tuple(images), pictures.seconds)
