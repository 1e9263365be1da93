# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What the demos ask: a vlm node and a scene camera in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
import signal
import threading

from scene_driver import NoAnswerError, SceneDriver
from vlm_npu_ros.demo.children import ChildDiedError, Children, keep_to_this_machine

# What the scene camera tells about the space that it sees.
SPACE = {'camera.depth': 'camera/depth', 'camera.camera_info': 'camera/camera_info'}
_NODE, _CAMERA = 'vlm_node', 'scene_camera'


class DemoFailedError(Exception):
    """A process died or did not answer; the text has the last lines of its log."""


def prepare() -> threading.Event:
    """Keep to this machine; return what SIGINT, SIGTERM and SIGHUP set from now on."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    keep_to_this_machine()
    return stopped


@contextmanager
def running(say: Callable[[str], None]) -> Iterator[SceneDriver]:
    """
    Start both, and yield a driver for them; both have ended on leaving.

        with running(print) as driver:
            driver.wait_for_camera()
            driver.wait_for_vlm()

    Takes over the handlers of SIGINT, SIGTERM and SIGHUP: what the driver waits for then ends with
    KeyboardInterrupt. Raises DemoFailedError.
    """
    stopped = prepare()
    say(f'Starting {_NODE} and {_CAMERA} on ROS_DOMAIN_ID {os.environ["ROS_DOMAIN_ID"]}')
    with Children(os.environ) as children:
        def check() -> None:
            if stopped.is_set():
                raise KeyboardInterrupt
            children.check()

        try:
            children.start(_NODE, 'vlm_npu_ros.node.vlm_node', {
                'backend': 'onnx', 'model': 'demo', 'image_reliability': 'reliable', **SPACE,
            })
            children.start(_CAMERA, 'vlm_npu_ros.demo.scene_camera', {
                'scene_period': 0.0, 'reliability': 'reliable',
            })
            with SceneDriver(check) as driver:
                yield driver
        except ChildDiedError as error:
            raise DemoFailedError(str(error)) from error
        except NoAnswerError as error:
            raise DemoFailedError(f'{error}\n{_NODE}: {children.log_tail(_NODE)}') from error
