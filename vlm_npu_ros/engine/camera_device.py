# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A camera of this machine, without drivers of ROS: by OpenCV."""

from __future__ import annotations

from pathlib import Path
from typing import Union

import cv2
import numpy as np
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.opencv import quiet, turned
from vlm_npu_ros.engine.sources import shown

SCHEME = 'camera://'  # of the address of a camera: camera://0
_DARK = 5  # pictures at the start, while a camera finds its exposure


class CameraDevice:
    """
    An open camera, or a video or stream in its place.

        with CameraDevice('0') as camera:
            bgr = camera.read()

    name: number or path of a device (0, /dev/video2), a video file, or the address of a stream.
    size: width and height to ask a device for; it may give others. (0, 0) = its own.
    Raises ImageError, which says what is missing.
    """

    def __init__(self, name: str, size: tuple[int, int] = (0, 0)) -> None:
        self.name = name
        source: Union[int, str] = int(name) if name.isdecimal() else name
        self.is_device = isinstance(source, int) or name.startswith('/dev/')
        try:
            with quiet():
                self._video = cv2.VideoCapture(source)
        except cv2.error as error:  # a number that is too large
            raise self._missing() from error
        if not self._video.isOpened():
            raise self._missing()
        for what, pixels in zip(
            (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), size, strict=True
        ):
            if pixels and self.is_device:
                self._video.set(what, pixels)

    def read(self) -> np.ndarray:
        """Wait for the next picture, (height, width, 3) uint8 BGR; ImageError if none comes."""
        with quiet():
            success, bgr = self._video.read()
        if not success:
            what = 'gives no more pictures' if self.is_device else 'has ended'
            raise ImageError(f'The camera {shown(self.name)} {what}', 'Is it still connected?')
        return bgr

    def close(self) -> None:
        """Let other programs have it."""
        self._video.release()

    def __enter__(self) -> CameraDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _missing(self) -> ImageError:
        there = ', '.join(sorted(map(str, Path('/dev').glob('video*')))) or 'none'
        if not self.is_device:
            name = shown(self.name) or 'An empty name'
            return ImageError(f'{name} is no camera, video or stream that can be read')
        return ImageError(
            f'The camera {self.name} cannot be opened; there are {there}',
            'Connect one, or name another; this user has to be in the group video, and no other '
            'program may have it',
        )


def snapshot(address: str) -> np.ndarray:
    """Take a picture, (height, width, 3) uint8 RGB, with the camera of an address: camera://0."""
    with CameraDevice(address.removeprefix(SCHEME)) as camera:
        for _ in range(_DARK if camera.is_device else 0):
            camera.read()
        return turned(camera.read())
