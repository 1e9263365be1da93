# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""From a camera's message to the picture that a vision encoder takes."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator
from functools import partial
import time
from typing import NamedTuple

import cv2
import numpy as np
from pairs import ADDED, alternate, Effort, GAIN, Pair
from sensor_msgs.msg import CompressedImage, Image
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.conversions import to_rgb
from vlm_npu_ros.engine.images import letterbox, normalise

BAR = 4.0
SIZE = 448  # of the encoder's square; 1080p falls on whole pixels there
_PLAIN = 'pad, resize, float64'
_WIDTH, _HEIGHT = 1920, 1080
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

Convert = Callable[[np.ndarray], np.ndarray]


def _by(code: int) -> Convert:
    return lambda pixels: cv2.cvtColor(pixels, code)


def _eight(convert: Convert) -> Convert:
    return lambda pixels: convert((pixels / 257).round().astype(np.uint8))


def _nv24(planes: np.ndarray) -> np.ndarray:
    luma, chroma = planes[:_HEIGHT], planes[_HEIGHT:].reshape(_HEIGHT, _WIDTH, 2)
    y = 255 / 219 * (luma.astype(float) - 16)
    u, v = (255 / 224 * (chroma[:, :, i].astype(float) - 128) for i in (0, 1))
    rgb = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], axis=-1)
    return rgb.round().clip(0, 255).astype(np.uint8)


# Encoding, shape and type of the samples, and how the public programs make RGB of them.
_ENCODINGS: dict[str, tuple[tuple[int, ...], type, Convert]] = {
    'rgb8': ((_HEIGHT, _WIDTH, 3), np.uint8, np.asarray),
    'bgr8': ((_HEIGHT, _WIDTH, 3), np.uint8, _by(cv2.COLOR_BGR2RGB)),
    'rgba8': ((_HEIGHT, _WIDTH, 4), np.uint8, _by(cv2.COLOR_RGBA2RGB)),
    'bgra8': ((_HEIGHT, _WIDTH, 4), np.uint8, _by(cv2.COLOR_BGRA2RGB)),
    'rgb16': ((_HEIGHT, _WIDTH, 3), np.uint16, _eight(np.asarray)),
    'bgr16': ((_HEIGHT, _WIDTH, 3), np.uint16, _eight(_by(cv2.COLOR_BGR2RGB))),
    'mono8': ((_HEIGHT, _WIDTH), np.uint8, _by(cv2.COLOR_GRAY2RGB)),
    'mono16': ((_HEIGHT, _WIDTH), np.uint16, _eight(_by(cv2.COLOR_GRAY2RGB))),
    'bayer_rggb8': ((_HEIGHT, _WIDTH), np.uint8, _by(cv2.COLOR_BayerBG2RGB)),
    'bayer_rggb16': ((_HEIGHT, _WIDTH), np.uint16, _eight(_by(cv2.COLOR_BayerBG2RGB))),
    'yuv422': ((_HEIGHT, _WIDTH, 2), np.uint8, _by(cv2.COLOR_YUV2RGB_UYVY)),
    'yuv422_yuy2': ((_HEIGHT, _WIDTH, 2), np.uint8, _by(cv2.COLOR_YUV2RGB_YUY2)),
    'nv12': ((_HEIGHT * 3 // 2, _WIDTH), np.uint8, _by(cv2.COLOR_YUV2RGB_NV12)),
    'nv21': ((_HEIGHT * 3 // 2, _WIDTH), np.uint8, _by(cv2.COLOR_YUV2RGB_NV21)),
    'nv24': ((_HEIGHT * 3, _WIDTH), np.uint8, _nv24),
}


class _Case(NamedTuple):
    """What makes an encoder's input of a message, and how the public programs do it."""

    name: str
    ours: Callable[[], np.ndarray]
    reference: Callable[[], np.ndarray]
    bar: float | None = BAR


def measure(effort: Effort) -> Iterator[Pair]:
    """Take a frame of each encoding both ways."""
    cases = list(_cases(render(random_scene(np.random.default_rng(1)), _WIDTH, _HEIGHT)))
    # Each round takes all of them: a busy moment of the machine is in one round, not in one case.
    rounds = alternate(
        3 if effort.short else 45,
        *(partial(_timed, work) for case in cases for work in (case.ours, case.reference)),
    )
    for case, fast, slow in zip(cases, rounds[::2], rounds[1::2], strict=True):
        yield Pair(case.name, _PLAIN, 'ms', fast, slow, GAIN, case.bar)
        difference = float(np.abs(_pixels(case.ours()) - _pixels(case.reference())).max())
        yield Pair(
            f'{case.name}: largest difference', _PLAIN, '', (difference,), (0.0,), ADDED, 1.0
        )


def _cases(scene: np.ndarray) -> Iterator[_Case]:
    for name, (shape, kind, convert) in _ENCODINGS.items():
        message, pixels = _raw(name, shape, kind, scene)
        yield _Case(name, partial(ours, message), lambda p=pixels, c=convert: plain(c(p)))
    decode = _by(cv2.COLOR_BGR2RGB)
    data = cv2.imencode('.jpg', cv2.cvtColor(scene, cv2.COLOR_RGB2BGR))[1]
    jpeg = CompressedImage(format='bgr8; jpeg compressed bgr8')
    jpeg.data = array.array('B', data.tobytes())
    # No bar: both sides spend their time in the same decoder.
    yield _Case(
        'JPEG', partial(ours, jpeg),
        lambda: plain(decode(cv2.imdecode(data, cv2.IMREAD_COLOR))), None,
    )
    message, pixels = _raw('bgr8', scene.shape, np.uint8, scene)
    yield _Case(
        'bgr8 to floats', partial(ours, message, floats=True), lambda: plain(decode(pixels))
    )


def ours(message: Image | CompressedImage, floats: bool = False) -> np.ndarray:
    """
    Return what an encoder takes.

    floats: (1, 3, SIZE, SIZE) float32, for a graph that does not normalise by itself; else
        (1, SIZE, SIZE, 3) uint8, for one that does.
    """
    picture = letterbox(to_rgb(message), SIZE)
    return normalise(picture, _MEAN, _STD).transpose(2, 0, 1)[None] if floats else picture[None]


def plain(rgb: np.ndarray) -> np.ndarray:
    """Make what an encoder takes, (1, 3, SIZE, SIZE), as the public Python programs do it."""
    side = max(rgb.shape)
    square = np.full((side, side, 3), 128, np.uint8)
    top, left = (side - rgb.shape[0]) // 2, (side - rgb.shape[1]) // 2
    square[top:top + rgb.shape[0], left:left + rgb.shape[1]] = rgb
    pixels = cv2.resize(square, (SIZE, SIZE))
    pixels = (pixels.astype(np.float64) / 255 - _MEAN) / _STD
    return pixels.transpose(2, 0, 1)[None].astype(np.float32)


def _pixels(fed: np.ndarray) -> np.ndarray:
    """Turn an encoder's input back to pixels, 0 to 255."""
    if fed.dtype == np.uint8:
        return fed[0].astype(float)
    return ((fed[0].transpose(1, 2, 0) * _STD + _MEAN) * 255).round()


def _raw(
    name: str, shape: tuple[int, ...], kind: type, scene: np.ndarray
) -> tuple[Image, np.ndarray]:
    """Make a message and its samples; the scene's grey gives every channel its picture."""
    grey = cv2.cvtColor(scene, cv2.COLOR_RGB2GRAY)
    channels = shape[2] if len(shape) > 2 else 1
    if shape[:2] == scene.shape[:2] and channels >= 3:
        pixels = np.concatenate([scene, grey[..., None]], axis=2)[..., :channels]
    else:
        tall = cv2.resize(grey, (shape[1], shape[0]))
        pixels = np.repeat(tall[..., None], channels, axis=2) if channels > 1 else tall
    pixels = np.ascontiguousarray(pixels.astype(kind) * (257 if kind is np.uint16 else 1))
    message = Image(encoding=name, width=_WIDTH, height=_HEIGHT)
    message.step = pixels.nbytes // pixels.shape[0]
    message.data = array.array('B', pixels.tobytes())
    return message, pixels


def _timed(work: Callable[[], np.ndarray]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)
