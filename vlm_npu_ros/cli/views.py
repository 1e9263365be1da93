# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What questions are about: a picture, several pictures, or the frames of a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vlm_npu_ros.cli.screen import ChatScreen
from vlm_npu_ros.engine.camera_device import SCHEME, snapshot
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.image_files import read_if_image
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.sources import is_web, shown, Source
from vlm_npu_ros.engine.types import ImageEmbedding
from vlm_npu_ros.engine.video import frames_of

_ENDINGS = frozenset(f'.{ending}' for ending in (
    'jpg jpeg png webp gif bmp tif tiff avif heic heif jp2 pgm ppm '
    'mp4 avi mov mkv m4v mpg mpeg webm ts mts m2ts flv 3gp wmv').split())


@dataclass(frozen=True)
class Pictures:
    """
    Pictures that were read from files or addresses.

    rgb: (height, width, 3) uint8 each.
    seconds: of each since the start of its video; () if they are not from a video file.
    """

    sources: tuple[Source, ...]
    rgb: list[np.ndarray]
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class View:
    """Pictures as the language model reads them; a view may be empty."""

    sources: tuple[Source, ...] = ()
    images: tuple[ImageEmbedding, ...] = ()
    seconds: tuple[float, ...] = ()

    @property
    def video(self) -> bool:
        """Whether the images follow one another in time."""
        return len(self.images) > 1

    def keep(self, indices: Sequence[int]) -> View:
        """Make a view of some of the images."""
        seconds = tuple(self.seconds[i] for i in indices) if self.seconds else ()
        return View(self.sources, tuple(self.images[i] for i in indices), seconds)

    def describe(self) -> str:
        """Describe the view in a line."""
        name = Path(shown(self.sources[0])).name
        if self.seconds:
            name += f': {len(self.images)} frames from {self.seconds[0]:.1f} s to '
            name += f'{self.seconds[-1]:.1f} s'
        elif self.video:
            name += f' to {Path(shown(self.sources[-1])).name}: {len(self.images)} frames'
        tokens = sum(image.tokens for image in self.images)
        took = sum(image.encode_seconds for image in self.images)
        return f'{name}, encoded in {took:.2f} s, {tokens} tokens'


def is_viewable(source: Source) -> bool:
    """Return whether it is an address, any file, or ends as pictures and videos do."""
    return isinstance(source, str) or source.suffix.lower() in _ENDINGS or source.is_file()


def read(sources: Sequence[Source], frames: int) -> Pictures:
    """
    Read a picture, a video, or pictures that are its frames.

    What it is shows in its first bytes. An address that is not of a picture is a stream.

    frames: how many to take from a video. Raises ImageError.
    """
    rgb: list[np.ndarray] = []
    for source in sources:
        picture = _picture(source)
        if picture is None and len(sources) > 1:
            raise ImageError(
                f'{shown(source)} is no picture', 'Give a video alone, or only pictures')
        if picture is None:
            seconds, of_video = zip(*frames_of(source, frames), strict=True)
            return Pictures(tuple(sources), list(of_video), seconds)
        rgb.append(picture)
    return Pictures(tuple(sources), rgb)


def _picture(source: Source) -> np.ndarray | None:
    """Read a picture; None if the source is no picture."""
    if isinstance(source, str) and source.startswith(SCHEME):
        return snapshot(source)
    return None if isinstance(source, str) and not is_web(source) else read_if_image(source)


def encoded(engine: Engine, pictures: Pictures, screen: ChatScreen) -> View:
    """Encode pictures and show the progress."""
    with screen.counted('Encoding frames', len(pictures.rgb)) as one_more:
        images = []
        for rgb in pictures.rgb:
            images.append(engine.encode(rgb))
            one_more()
    return View(pictures.sources, tuple(images), pictures.seconds)
