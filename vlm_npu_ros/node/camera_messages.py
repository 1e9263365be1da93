# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Pictures as messages of a camera."""

from __future__ import annotations

import array

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header


def raw_image(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """Make a message of (height, width, 3) uint8 in the encoding rgb8 or bgr8."""
    height, width = pixels.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        step=3 * width,
        # rclpy copies an array as a block, but bytes and lists number by number.
        data=array.array('B', pixels.tobytes()),
    )


def jpeg_image(bgr: np.ndarray, encoding: str, header: Header) -> CompressedImage:
    """Make a message of (height, width, 3) uint8 BGR; encoding: that of the raw pictures."""
    _, data = cv2.imencode('.jpg', bgr)
    return CompressedImage(
        header=header,
        format=f'{encoding}; jpeg compressed bgr8',
        data=array.array('B', data.tobytes()),
    )
