# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Where in space the things are that a camera sees: from its depth picture and calibration."""

from __future__ import annotations

from dataclasses import dataclass
import math
import threading

from geometry_msgs.msg import Point, PointStamped, Vector3
import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header
from vlm_npu_ros.engine.locating.distance import distance, Lens, unit
from vlm_npu_ros.engine.types import Spot
from vlm_npu_ros.msg import Located

_METRES = {'16UC1': ('u2', 0.001), 'mono16': ('u2', 0.001), '32FC1': ('f4', 1.0)}  # REP 118
_FISHEYE = 'equidistant'
_ON_ITS_WAY = 1.0  # seconds that depth and calibration may come after the answer
_COEFFICIENTS = (4, 5, 8, 12, 14)  # of distortion, as many as OpenCV knows


@dataclass(eq=False)
class Surroundings:
    """
    What is known about the space in a frame: a depth picture and a calibration, serialised.

    They may come later than the frame. size: width and height of the frame in pixels.
    rectified: the picture is free of distortion already, so that the calibration's P counts.
    complete: set when the nearest depth picture and the calibration are there, if there are topics
    for them; None = there is nothing to wait for.
    """

    size: tuple[int, int] = (0, 0)
    depth: bytes = b''
    info: bytes = b''
    rectified: bool = False
    complete: threading.Event | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return len(self.depth) + len(self.info)

    def wait(self) -> None:
        """Wait a moment for what is on its way."""
        if self.complete:
            self.complete.wait(_ON_ITS_WAY)


def located(spots: tuple[Spot, ...], header: Header, around: Surroundings) -> list[Located]:
    """Make messages of spots in a camera's picture, with their places in space if known."""
    if not spots:
        return []
    lens, depth = _lens(around), _depth(around)
    return [_located(spot, header, around.size, lens, depth) for spot in spots]


def told(place: Located) -> str:
    """Name a thing, how sure the model is, and how far ahead it is, as far as known."""
    words = [place.label]
    if place.score:
        words.append(f'{place.score:.0%}')
    if place.has_point:
        words.append(f'{place.point.point.z:.2f} m')
    return ', '.join(words)


def _located(
    spot: Spot, header: Header, size: tuple[int, int], lens: Lens | None, depth: np.ndarray | None
) -> Located:
    left, top, right, bottom = spot.corners
    message = Located(label=spot.label, box=_region(spot), score=float(spot.score))
    message.point.header = header
    if lens is None:
        return message
    ray = lens.ray((left + right) / 2, (top + bottom) / 2)
    message.bearing = Vector3(**dict(zip('xyz', unit(ray), strict=True)))
    if depth is not None:
        across, down = depth.shape[1] / size[0], depth.shape[0] / size[1]
        ahead = distance(depth, (left * across, top * down, right * across, bottom * down))
        if ahead is not None:
            point = Point(x=ray[0] * ahead, y=ray[1] * ahead, z=ahead)
            message.point, message.has_point = PointStamped(header=header, point=point), True
    return message


def _region(spot: Spot) -> RegionOfInterest:
    """Round to whole pixels; a box has at least one."""
    left, top, right, bottom = map(round, spot.corners)
    if spot.corners[0] == spot.corners[2] and spot.corners[1] == spot.corners[3]:
        return RegionOfInterest(x_offset=left, y_offset=top)
    return RegionOfInterest(
        x_offset=left, y_offset=top, width=max(right - left, 1), height=max(bottom - top, 1)
    )


def _lens(around: Surroundings) -> Lens | None:
    """Read a calibration for pictures of the frame's size; None if none can be read."""
    if not around.info:
        return None
    info = deserialize_message(around.info, CameraInfo)
    matrix, at = (info.p, (0, 5, 2, 6)) if around.rectified else (info.k, (0, 4, 2, 5))
    fx, fy, cx, cy = (float(matrix[i]) for i in at)
    if not (fx and fy and all(map(math.isfinite, (fx, fy, cx, cy)))):  # not calibrated
        return None
    is_fisheye = info.distortion_model == _FISHEYE and not around.rectified
    distortion = () if around.rectified else tuple(map(float, info.d))
    is_known = is_fisheye or not any(distortion) or len(distortion) in _COEFFICIENTS
    if not is_known or not all(map(math.isfinite, distortion)):
        return None
    full = info.roi.width or info.width, info.roi.height or info.height
    across, down = (n / f if f else 1.0 for n, f in zip(around.size, full, strict=True))
    return Lens(
        (fx * across, fy * down),
        ((cx - info.roi.x_offset + 0.5) * across - 0.5,
         (cy - info.roi.y_offset + 0.5) * down - 0.5),
        distortion,
        is_fisheye,
    )


def _depth(around: Surroundings) -> np.ndarray | None:
    """Read a depth picture in metres; None if there is none that can be read."""
    if not around.depth:
        return None
    message = deserialize_message(around.depth, Image)
    if message.encoding not in _METRES:
        return None
    kind, metres = _METRES[message.encoding]
    dtype = np.dtype(kind).newbyteorder('>' if message.is_bigendian else '<')
    height, width, step = message.height, message.width, message.step
    data = np.frombuffer(message.data, np.uint8)
    if not height or step < width * dtype.itemsize or data.size < height * step:
        return None
    rows = data[:height * step].reshape(height, step)[:, :width * dtype.itemsize]
    return np.ascontiguousarray(rows).view(dtype).astype(np.float32) * metres
