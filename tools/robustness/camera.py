# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
A camera that shows scenes and can stop, flood and send garbage.

Run as a program it shows one scene after the other: a process of its own, so that what it costs
is not the node's.
"""

from __future__ import annotations

import array
from collections.abc import Callable, Sequence
import itertools
import signal
import sys
import threading
import time

from builtin_interfaces.msg import Time
from pictures import frame_id, scene
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from vlm_npu_ros.demo.scenes import render

_NO_SCENE = 'garbage'


class Camera:
    """
    Publishes pictures from a thread of its own; `close` ends it.

    now: returns the stamps.
    paused, sends_garbage: whether it sends nothing, or what nobody can read.
    """

    def __init__(
        self,
        node: Node,
        scenes: Sequence[int],
        size: tuple[int, int],
        rate: float,
        now: Callable[[], Time],
    ) -> None:
        self._shown = scenes[0]
        self._lock = threading.Lock()  # a stamp after `show` is one of the new scene
        self.paused = self.sends_garbage = False
        self._messages = {number: _picture(number, *size) for number in scenes}
        self._garbage = itertools.cycle(_garbage())
        self._rate, self._now = rate, now
        # Reliable: none is lost on the way to a subscriber that wants all.
        self._publisher = node.create_publisher(Image, 'camera/image_raw', QoSProfile(depth=5))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='camera')
        self._thread.start()

    def show(self, number: int) -> None:
        """Show another scene from now on."""
        with self._lock:
            self._shown = number

    def close(self) -> None:
        """Stop for good."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(due - time.monotonic(), 0)):
            due = max(due + 1 / self._rate, time.monotonic())
            if self.paused:
                continue
            if self.sends_garbage:
                self._publisher.publish(self._spoilt())
                continue
            with self._lock:
                message = self._messages[self._shown]
                message.header.stamp = self._now()
            self._publisher.publish(message)

    def _spoilt(self) -> Image | bytes:
        message = next(self._garbage)
        if isinstance(message, Image):
            message.header.stamp = self._now()
        return message


def _picture(number: int, width: int, height: int) -> Image:
    message = Image(encoding='rgb8', width=width, height=height, step=3 * width)
    message.header.frame_id = frame_id(number)
    # rclpy copies an array as a block, but bytes and lists number by number.
    message.data = array.array('B', render(scene(number), width, height).tobytes())
    return message


def _garbage() -> list[Image | bytes]:
    """Make what a broken camera or driver may send: pictures and spoilt serialised ones."""
    messages = [
        Image(encoding='rgb8', width=640, height=480, step=1920, data=bytes(1000)),
        Image(encoding='rgb8', width=640, height=480, step=3, data=bytes(1440)),
        Image(encoding='rgb8'),
        Image(encoding='', width=4, height=4, step=4, data=bytes(16)),
        Image(encoding='none of this world', width=4, height=4, step=4, data=bytes(16)),
        Image(encoding='rgb8', width=2**32 - 1, height=2**32 - 1, step=2**32 - 1),
        Image(encoding='bayer_rggb8', width=1, height=1, step=1, data=bytes(1)),
    ]
    for message in messages:
        message.header.frame_id = _NO_SCENE
    whole = serialize_message(_picture(1, 64, 48))
    endless = bytearray(whole)
    endless[-64 * 48 * 3 - 4:-64 * 48 * 3] = b'\xff' * 4  # the length of the data
    return [*messages, whole[:40], whole[:-1000], b'', b'\0\1\0\0', bytes(endless)]


def main() -> int:
    """Show one scene after the other until SIGINT or SIGTERM."""
    stop = threading.Event()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    node = Node('camera')
    scenes = node.declare_parameter('scenes', [1]).value
    size = [node.declare_parameter(name, 16).value for name in ('width', 'height')]
    rate, period = (node.declare_parameter(name, 1.0).value for name in ('rate', 'period'))
    camera = Camera(node, scenes, size, rate, lambda: node.get_clock().now().to_msg())
    for shown in itertools.cycle(scenes):
        camera.show(shown)
        if stop.wait(period):
            break
    camera.close()
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
