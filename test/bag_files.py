# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Bags as `ros2 bag record` writes them, of any pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

TOPIC = '/camera/image_raw'
START = 1_700_000_000_123_456_789  # nanoseconds


def write_bag(
    folder: Path, pictures: Sequence[np.ndarray], storage: str = 'mcap', compressed: bool = False,
    period: float = 0.5, topic: str = TOPIC, encoding: str = 'rgb8',
) -> list[tuple[int, int]]:
    """
    Write (height, width, 3) uint8 RGB pictures, `period` seconds apart; return their stamps.

    They are recorded 7 ms after they were taken. storage: mcap or sqlite3.
    """
    rosbag2 = pytest.importorskip('rosbags.rosbag2')
    from rosbags.typesys import get_typestore, Stores

    types = get_typestore(Stores.ROS2_JAZZY)
    kind = f'sensor_msgs/msg/{"CompressedImage" if compressed else "Image"}'
    plugin = rosbag2.StoragePlugin[storage.upper()]
    stamps = []
    with rosbag2.Writer(folder, version=9, storage_plugin=plugin) as writer:
        other = writer.add_connection('/chatter', 'std_msgs/msg/String', typestore=types)
        connection = writer.add_connection(topic, kind, typestore=types)
        for number, rgb in enumerate(pictures):
            taken = START + round(number * period * 1e9)
            stamps.append(divmod(taken, 1_000_000_000))
            message = _message(types, kind, rgb, stamps[-1], encoding)
            said = types.types['std_msgs/msg/String']('beside it')
            writer.write(other, taken, types.serialize_cdr(said, 'std_msgs/msg/String'))
            writer.write(connection, taken + 7_000_000, types.serialize_cdr(message, kind))
    return stamps


def _message(
    types: Any, kind: str, rgb: np.ndarray, stamp: tuple[int, int], encoding: str
) -> Any:
    of = types.types
    header = of['std_msgs/msg/Header'](of['builtin_interfaces/msg/Time'](*stamp), 'camera')
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    if kind.endswith('CompressedImage'):
        _, data = cv2.imencode('.jpg', bgr)
        return of[kind](header, 'rgb8; jpeg compressed bgr8', data.ravel())
    height, width = rgb.shape[:2]
    pixels = np.ascontiguousarray(rgb) if encoding == 'rgb8' else bgr
    return of[kind](header, height, width, encoding, 0, 3 * width, pixels.ravel())
