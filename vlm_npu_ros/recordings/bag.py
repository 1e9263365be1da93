# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Bags of ROS 1 and ROS 2, without ROS."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from vlm_npu_ros.engine.conversions import to_rgb
from vlm_npu_ros.engine.errors import BackendUnavailableError, ImageError
from vlm_npu_ros.engine.pip import pip_install
from vlm_npu_ros.recordings.recording import Frame, Recording

_ENDINGS = ('.bag', '.mcap', '.db3')
_PICTURES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
_NANOSECONDS = 1_000_000_000


def is_bag(path: Path) -> bool:
    """Tell whether it is a bag: a file, or the folder that `ros2 bag record` makes."""
    if not path.is_dir():
        return path.suffix in _ENDINGS
    names = [file.name for file in path.iterdir()]
    # One that was broken off has no metadata.yaml, but perhaps drive_0.db3-wal.
    parts = [name for name in names if any(ending in name for ending in _ENDINGS)]
    return 'metadata.yaml' in names or bool(parts) and parts == names


class Bag(Recording):
    """
    The pictures of one topic; `times` are those at which they were recorded.

    Raises ImageError if the bag cannot be read or has no such pictures.
    """

    def __init__(self, path: Path, topic: str = '') -> None:
        self._path, self._bag, self._open = path, _reader(path), ExitStack()
        try:
            self._open.enter_context(self._bag)
            self._topic = _chosen(self._bag, path, topic)
            self._recorded = [time for _, time, _ in self._bag.messages(self._topic)]
        except ImageError:
            self.close()
            raise
        except Exception as error:  # rosbags raises what the parts of a damaged bag lead to
            self.close()
            raise _unreadable(path, error) from error
        if not self._recorded:
            self.close()
            raise ImageError(f'{path} has no message of {self._topic[0].topic}')
        first = self._recorded[0]
        self.times = [(time - first) / _NANOSECONDS for time in self._recorded]

    def frame(self, number: int) -> Frame:
        """Read a picture, with the stamp of its header."""
        time = self._recorded[number]
        same = number - self._recorded.index(time)  # several may come at the same moment
        try:
            messages = self._bag.messages(self._topic, start=time, stop=time + 1)
            connection, _, raw = next(islice(messages, same, None))
            message = self._bag.deserialize(raw, connection.msgtype)
        except Exception as error:
            raise _unreadable(self._path, error) from error
        stamp = message.header.stamp
        return Frame(to_rgb(message), self.times[number], (stamp.sec, stamp.nanosec))

    def close(self) -> None:
        """Close the files."""
        self._open.close()


def _reader(path: Path) -> Any:
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import get_typestore, Stores
    except ImportError as error:
        raise BackendUnavailableError(
            f'Reading bags needs the Python package rosbags: {error}',
            f'Install it: `{pip_install("rosbags")}` (extra: vlm_npu_ros[bag])',
        ) from error
    try:
        # Bags of ROS 2 before Iron do not hold their types; those of pictures have not changed.
        return AnyReader([path], default_typestore=get_typestore(Stores.LATEST))
    except Exception as error:
        raise _unreadable(path, error) from error


def _chosen(bag: Any, path: Path, topic: str) -> list[Any]:
    """Find the connections of the topic."""
    with_pictures = sorted({c.topic for c in bag.connections if c.msgtype in _PICTURES})
    known = ', '.join(with_pictures) or 'none'
    if not topic and len(with_pictures) != 1:
        raise ImageError(
            f'Which topic of {path}? There are pictures on {known}', 'Name it: --topic TOPIC')
    wanted = topic or with_pictures[0]
    if wanted not in with_pictures:
        raise ImageError(f'{path} has no pictures on {wanted}, but on {known}')
    return [c for c in bag.connections if c.topic == wanted and c.msgtype in _PICTURES]


def _unreadable(path: Path, error: Exception) -> ImageError:
    return ImageError(
        f'{path} cannot be read as a bag: {str(error) or type(error).__name__}',
        'A recording that was broken off is repaired by `ros2 bag reindex`, or `mcap recover`',
    )
