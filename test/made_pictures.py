# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Pictures made by hand, and parts of their files."""

from __future__ import annotations

import struct
import zlib

import numpy as np


def ramp(width: int, height: int) -> np.ndarray:
    """Return an image whose red rises from left to right and whose green from top to bottom."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:, :, 0] = np.linspace(0, 255, width)
    rgb[:, :, 1] = np.linspace(0, 255, height)[:, np.newaxis]
    return rgb


def noise(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def chunk(name: bytes, data: bytes) -> bytes:
    """Write a part of a PNG."""
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def segment(marker: int, data: bytes) -> bytes:
    """Write a part of a JPEG."""
    return struct.pack('>BBH', 0xff, marker, len(data) + 2) + data
