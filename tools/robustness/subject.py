# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The node on its stand, with a camera that we hold and a client that asks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
import itertools
import math
import threading
import time
from typing import Any

from asking import Ask, Client, NodeError, Overseer
from builtin_interfaces.msg import Time
from camera import Camera
from lifecycle_msgs.msg import Transition
from pictures import frame_id, Oracle, QUESTIONS
from processes import ChildWatch
import psutil
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from stand import Stand
from vlm_npu_ros.demo.children import ChildDiedError, Children

SIZE = (640, 480)
_CAMERA_RATE = 10.0
_CLOCK_RATE = 50.0
_LOOK = 1.0  # seconds between looks whether the node lives
_PATIENCE = 120.0  # seconds that a question may take, on a busy machine
_LOST = 10.0  # seconds after its timeout at which a question without an end is lost


def is_over(ask: Ask) -> bool:
    """Tell whether a question has ended, or is lost."""
    return ask.done or time.monotonic() > ask.sent + ask.timeout + _LOST


class SimulatedClock:
    """A clock that can jump, on /clock; `close` ends it."""

    def __init__(self, node: Node) -> None:
        self._ahead = 0.0
        self._publisher = node.create_publisher(Clock, '/clock', 10)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='clock')
        self._thread.start()

    def now(self) -> Time:
        """Tell the time that it shows."""
        nanoseconds = time.time_ns() + round(self._ahead * 1e9)
        return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)

    def jump(self, seconds: float) -> None:
        """Go forward or back."""
        self._ahead += seconds
        self._publisher.publish(Clock(clock=self.now()))

    def close(self) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(1 / _CLOCK_RATE):
            self._publisher.publish(Clock(clock=self.now()))


class Robot:
    """
    A context manager: on entering, the node is active and has answered a question.

    load: seconds that the node needed to load the models.
    """

    def __init__(self, stand: Stand, oracle: Oracle, parameters: dict[str, Any]) -> None:
        self.faults = stand.faults
        self.load = 0.0
        self.restarts: int | None = 0  # as far as the diagnostics have told
        self.environment, self.scenes = stand.environment, oracle.scenes
        self.judge = oracle.judge
        self._parameters = {**stand.parameters, **parameters}
        self._uses_sim_time = parameters.get('use_sim_time', False)
        self._scenes = itertools.cycle(self.scenes)
        self._questions = itertools.cycle(QUESTIONS)

    def __enter__(self) -> Robot:
        with ExitStack() as stack:
            self.faults.write()
            self.children = stack.enter_context(Children(self.environment))
            self.node = psutil.Process(self.children.start(
                'node', 'vlm_npu_ros.node.vlm_node', self._parameters))
            self.overseer = stack.enter_context(Overseer())
            self.client = stack.enter_context(Client())
            if self._uses_sim_time:
                self.clock = SimulatedClock(self.overseer.node)
                stack.callback(self.clock.close)
            self.camera = Camera(
                self.overseer.node, self.scenes, SIZE, _CAMERA_RATE, self.now
            )
            stack.callback(self.camera.close)
            self._bring_up()
            self.watch = ChildWatch(self.node)
            stack.callback(self.watch.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _bring_up(self) -> None:
        try:
            self.load = self.overseer.change_state(Transition.TRANSITION_CONFIGURE)
            self.overseer.change_state(Transition.TRANSITION_ACTIVATE)
            self.client.find_node()
            ask = self.ask('service')
            self.finish(ask)
            if ask.ended_by != 'answer' or self.judge(ask) != 'right':
                raise NodeError(f'The first question ended by {ask.ended_by}: {ask.result}')
        except NodeError as error:
            raise NodeError(f'{error}. {self.children.log_tail("node")}') from error

    def now(self) -> Time:
        """Tell the time of camera and node."""
        if self._uses_sim_time:
            return self.clock.now()
        return self.overseer.node.get_clock().now().to_msg()

    @property
    def is_alive(self) -> bool:
        """Tell whether the node is running."""
        try:
            self.children.check()
        except ChildDiedError:
            return False
        return True

    def show_next(self) -> str:
        """Turn the camera to another scene; return its frame_id."""
        scene = next(self._scenes)
        self.camera.show(scene)
        return frame_id(scene)

    def ask(
        self, way: str, shown: str | None = None, client: Client | None = None, **fields: Any
    ) -> Ask:
        """
        Ask about what the camera shows from now on.

        shown: frame_id of that; None turns the camera to another scene, '' is anything.
        """
        shown = self.show_next() if shown is None else shown
        self.overseer.pieces.clear()
        fields = {'timeout': _PATIENCE, 'not_before': self.now(), **fields}
        return (client or self.client).send(way, next(self._questions), shown, **fields)

    def finish(self, *asks: Ask, client: Client | None = None) -> None:
        """Wait until all have ended, or are lost."""
        (client or self.client).wait(lambda: all(map(is_over, asks)), math.inf)

    def until(
        self, what: str, condition: Callable[[], object], over: Callable[[], object]
    ) -> None:
        """
        Wait for a condition as long as it can come true.

        over: tells that it no longer can. Raises NodeError then, and if the node dies.
        """
        while not self.overseer.wait(lambda: condition() or over(), _LOOK):
            if not self.is_alive:
                break
        if not condition():
            raise NodeError(f'{what} did not come. {self.children.log_tail("node")}')

    def until_diagnosed(self, key: str, holds: Callable[[str], bool]) -> None:
        """Wait until a value of the diagnostics is as it should be."""
        while not holds(self.overseer.next_diagnostics()[key]):
            pass

    def until_written(self, shown: str, over: Callable[[], object]) -> None:
        """Wait until an answer about this is being written."""
        pieces = self.overseer.pieces
        self.until('A piece of the answer', lambda: any(
            piece.delta and piece.header.frame_id == shown
            for answer in list(pieces.values()) for piece in answer
        ), over)
