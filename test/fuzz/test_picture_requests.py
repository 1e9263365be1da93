# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Questions with pictures, many damaged: an answer about exactly these, or a typed error."""

from __future__ import annotations

from array import array
from collections.abc import Callable
import random
from typing import Any

from asked_node import asked_node
import cv2
from fuzz.fuzzing import FULL, Outcomes
import numpy as np
import pytest
from seeing import seeing, told
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from vlm_npu_ros.client.messages import make_goal
from vlm_npu_ros.msg import ErrorCode

__all__ = ['seeing']
CAMERA = np.full((48, 64, 3), (1, 2, 3), np.uint8)  # no other picture has this colour
TYPED = {ErrorCode.BAD_IMAGE, ErrorCode.BAD_REQUEST}


def picture(rng: random.Random) -> np.ndarray:
    size = rng.randrange(1, 90), rng.randrange(1, 90), 3
    return np.full(size, [rng.randrange(20, 256) for _ in range(3)], np.uint8)


def png(rgb: np.ndarray) -> CompressedImage:
    data = cv2.imencode('.png', rgb[:, :, ::-1])[1].tobytes()
    return CompressedImage(format='png', data=array('B', data))


def damaged(rng: random.Random, message: Any) -> Any:
    """Cut, change or contradict the data of a message."""
    data = bytearray(message.data)
    if rng.random() < 0.5:
        data = data[:rng.randrange(len(data))]
    elif isinstance(message, CompressedImage):
        data[rng.randrange(8)] ^= 1 + rng.randrange(255)  # its signature
    else:
        name = rng.choice(['width', 'height', 'step'])
        setattr(message, name, rng.choice([0, 2**32 - 1, getattr(message, name) * 2 + 1]))
    message.data = array('B', data)
    return message


def drawn(rng: random.Random) -> tuple[dict[str, Any], str | None]:
    """Draw the fields of a request and its right answer; None = something of it is damaged."""
    pictures = [picture(rng) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    kinds = sorted(rng.random() < 0.5 for _ in pictures)  # raw ones come first
    messages = [png(p) if kind else make_goal('', image=p).images[0]
                for p, kind in zip(pictures, kinds, strict=True)]
    is_damaged = rng.random() < 0.4
    if is_damaged:
        at = rng.randrange(len(messages))
        messages[at] = damaged(rng, messages[at])
    fields: dict[str, Any] = {
        'images': [m for m in messages if isinstance(m, Image)],
        'compressed_images': [m for m in messages if isinstance(m, CompressedImage)],
    }
    seen = pictures
    if rng.random() < 0.3:
        x, y = rng.randrange(100), rng.randrange(100)
        fields['roi'] = RegionOfInterest(x_offset=x, y_offset=y, width=5, height=5)
        is_damaged |= any(x >= p.shape[1] or y >= p.shape[0] for p in pictures)
    if rng.random() < 0.2:
        fields['camera'], seen = 'camera', [CAMERA, *pictures]
        is_damaged |= 'roi' in fields and (x >= 64 or y >= 48)
    if rng.random() < 0.2:
        fields['conversation_id'] = rng.choice('ab')
    return fields, None if is_damaged else told(*seen)


@pytest.mark.usefixtures('seeing')
def test_answers_are_about_the_pictures_of_the_request(outcomes: Outcomes) -> None:
    rng, counts = random.Random(23), outcomes['questions with pictures']
    with asked_node(scripted__image_tokens=1) as (_, robot):
        robot.publish(CAMERA)
        waiting: list[tuple[Callable[[], Any], str | None]] = []
        for _ in range(1000 if FULL else 200):
            fields, expected = drawn(rng)
            waiting.append((robot.ask_later(question='what?', **fields), expected))
            if len(waiting) < 5:
                continue
            for answer, right in waiting:
                response = answer()
                counts['answered' if response.success else 'refused'] += 1
                if right is None:
                    assert response.error_code in TYPED, response
                    assert response.error_msg
                else:
                    assert (response.success, response.answer) == (True, right), response
            waiting.clear()
        assert robot.ask(question='what?').answer == told(CAMERA)
    assert min(counts['answered'], counts['refused']) > 40
