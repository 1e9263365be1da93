# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Pictures that come with a question, instead of a camera's frame or together with one."""

from __future__ import annotations

from collections import deque
import functools
import hashlib

from sensor_msgs.msg import CompressedImage, Image
from vlm_npu_ros.engine.conversions import to_rgb
from vlm_npu_ros.engine.errors import as_vlm_error, VlmError
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.placement import Box, Placement, Region
from vlm_npu_ros.engine.types import ImageEmbedding
from vlm_npu_ros.node.frames import CachedFrame, nanoseconds

_KEPT = 16  # embeddings


class Picture:
    """
    A picture of one question.

    region: the part of it to look at; None = all.
    frame: it is encoded. failure: it cannot be. wanted: it is to be, or was.
    """

    def __init__(self, message: Image | CompressedImage, region: Region | None = None) -> None:
        self.message: Image | CompressedImage | None = message  # until it is encoded
        self.region = region
        self.frame: CachedFrame | None = None
        self.failure: VlmError | None = None
        self.wanted = False


class Pictures:
    """
    Encodes pictures, in the thread that calls `encode`; equal ones only once.

    They are compared by their contents, so that a client may send the picture of a dialogue again
    with each of its questions.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: deque[Picture] = deque()
        self._kept: dict[str, tuple[ImageEmbedding, Placement]] = {}  # least recently used first

    @property
    def due(self) -> bool:
        """Whether there is something to encode."""
        return bool(self._waiting)

    def add(self, picture: Picture) -> None:
        """Have a picture encoded; from any thread."""
        picture.wanted = True
        self._waiting.append(picture)

    def encode(self) -> None:
        """Encode the picture that has waited for longest."""
        picture = self._waiting.popleft()
        message, picture.message = picture.message, None
        assert message
        try:
            content = _content(message, picture.region)
            known = self._kept.pop(content, None) or self._encoded(message, picture.region)
            self._kept[content] = known
            while len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
            embedding, placement = known
            picture.frame = CachedFrame(
                '', message.header, nanoseconds(message.header.stamp), embedding,
                placement=placement, region=picture.region, content=content,
                picture=functools.partial(to_rgb, message),
            )
        except Exception as error:
            picture.failure = as_vlm_error(error)

    def _encoded(
        self, message: Image | CompressedImage, region: Region | None
    ) -> tuple[ImageEmbedding, Placement]:
        rgb = to_rgb(message)
        height, width = rgb.shape[:2]
        box = region.box(width, height) if region else Box(0, 0, width, height)
        return self._engine.encode(box.cut(rgb)), Placement(box)


def _content(message: Image | CompressedImage, region: Region | None) -> str:
    """Return what is equal for equal pictures, whatever their headers."""
    about = [
        getattr(message, name) for name in message.get_fields_and_field_types()
        if name not in ('header', 'data')
    ]
    digest = hashlib.sha256(repr((about, region)).encode())
    digest.update(memoryview(message.data))
    return digest.hexdigest()
