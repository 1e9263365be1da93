# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The time to the first token about a frame that was read ahead, at published speeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
import random
import time

from first_token import BAR, Model, MODELS
from pairs import ADDED, Effort, GAIN, Pair, SHARE
from rclpy.qos import QoSProfile
from running import Answer, Asker, AT_ONCE, CAMERA, NODE, NodeError, Peer, running, SMALL
from sensor_msgs.msg import Image

_TEXT_TOKENS = 20
_QUESTION = ' '.join(['word'] * _TEXT_TOKENS)
_SOONER = {'Qwen3-VL-2B': 5.0, 'Qwen2.5-VL-3B': 8.0}  # times; of fewer image tokens, less is saved
_FOUND = 0.9  # of the questions
_MINUTES = 2.0


def measure(effort: Effort) -> Iterator[Pair]:
    """Measure each model, then a camera that never stops."""
    for model in MODELS[2 * effort.short:]:
        yield from _model(model, effort.repeats(15))
    yield _share(MODELS[2], effort)


def _parameters(model: Model) -> dict[str, object]:
    return {
        **AT_ONCE,
        'scripted.answers': ['It is red.'],
        'scripted.prefill_rate': model.prefill_rate,
        'scripted.decode_rate': model.decode_rate,
        'scripted.image_tokens': model.image_tokens,
    }


@dataclass
class _Firsts:
    """
    Milliseconds to the first token, by when the question came.

    read: after the frame was read, or could have been. within: in the middle of that. newer:
    likewise, about a newer frame.
    """

    read: list[float] = field(default_factory=list)
    within: list[float] = field(default_factory=list)
    newer: list[float] = field(default_factory=list)


def _model(model: Model, repeats: int) -> Iterator[Pair]:
    """Show one frame at a time, which is encoded and read at once, and ask about it."""
    ahead, today = (_firsts(model, repeats, how) for how in ('auto', 'off'))
    question = (1000 * _TEXT_TOKENS / model.prefill_rate,) * repeats
    name = f'{model.name}: frame was read'
    yield Pair(name, 'question alone', 'ms', tuple(ahead.read), question, ADDED, BAR)
    yield Pair(name, 'read_ahead: off', 'ms', tuple(ahead.read), tuple(today.read), GAIN,
               _SOONER.get(model.name))
    for what, ours, others in (
        ('is being read', ahead.within, today.within),
        ('is being read, newer wanted', ahead.newer, today.newer),
    ):
        yield Pair(f'{model.name}: frame {what}, slowest', 'read_ahead: off', 'ms', (max(ours),),
                   (max(others),), ADDED, BAR)


def _firsts(model: Model, repeats: int, read_ahead: str) -> _Firsts:
    node = {
        **_parameters(model), 'encode_rate': 100.0, 'read_ahead_rate': 100.0,
        'read_ahead': read_ahead,
    }
    seconds = model.image_tokens / model.prefill_rate
    draw, firsts = random.Random(0), _Firsts()
    with running(node=(NODE, node)) as peer:
        camera = _Frames(peer)
        asker = Asker(peer, '/vlm/ask', ('feedback',))
        camera.show()
        asker.find()
        for _ in range(repeats):
            camera.show()
            time.sleep(seconds + 0.1)
            firsts.read.append(_first(asker))
            camera.show()
            time.sleep(draw.uniform(0.0, seconds))
            firsts.within.append(_first(asker))
            camera.show()
            time.sleep(draw.uniform(0.0, seconds))
            firsts.newer.append(_first(asker, not_before=camera.show()))
    return firsts


def _first(asker: Asker, **fields: object) -> float:
    return asker.by_action(question=_QUESTION, **fields).first('feedback')


def _share(model: Model, effort: Effort) -> Pair:
    """Ask once a second while a camera publishes at 30 Hz and a frame a second is encoded."""
    parameters = {
        **_parameters(model), 'scripted.encode_seconds': model.encode_seconds, 'encode_rate': 1.0,
    }
    camera = {**SMALL, 'rate': 30.0}
    draw, found, count = random.Random(0), 0, 3 if effort.short else round(60 * _MINUTES)
    with running(node=(NODE, parameters), camera=(CAMERA, camera)) as peer:
        asker = Asker(peer, '/vlm/ask', ('feedback',))
        asker.find()
        begun = time.monotonic()
        for second in range(count):
            time.sleep(max(begun + second + draw.uniform(0.0, 0.5) - time.monotonic(), 0.0))
            found += _was_read(asker.by_action(question=_QUESTION))
    name = f'{model.name}: questions that found it read'
    return Pair(name, 'one a second', '', (float(found),), (float(count),), SHARE, _FOUND)


def _was_read(answer: Answer) -> bool:
    return bool(answer.result.stats.read_ahead_tokens)


class _Frames:
    """A camera that shows a frame when it is told to."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        depth = QoSProfile(depth=1)
        self._publisher = peer.node.create_publisher(Image, 'camera/image_raw', depth)
        if not peer.wait(lambda: self._publisher.get_subscription_count(), 60.0):
            raise NodeError('The node does not subscribe to the camera')

    def show(self) -> object:
        """Publish a frame; return its stamp."""
        message = Image(encoding='rgb8', width=8, height=8, step=24, data=bytes(192))
        message.header.stamp = self._peer.node.get_clock().now().to_msg()
        self._publisher.publish(message)
        return message.header.stamp
