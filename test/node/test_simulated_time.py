# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Time from /clock: its speed, its jumps, and frames whose stamps do not belong to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import threading
import time

from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticStatus
from doctor import Doctor
import pytest
from rclpy.qos import QoSProfile
from robot import PATIENCE, Robot, wait_for, wait_until
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from vlm_npu_ros.client import VlmClient
from vlm_npu_ros.msg import ErrorCode
from vlm_npu_ros.node.vlm_node import VlmNode

MakeNode = Callable[..., VlmNode]
TICK = 0.02  # seconds


def stamp(seconds: float) -> Time:
    sec, nanosec = divmod(round(seconds * 1e9), 10**9)
    return Time(sec=sec, nanosec=nanosec)


class World:
    """Publishes a simulated time and frames in it, which tell how often it was set back."""

    def __init__(self, robot: Robot, speed: float, late: float = 0.0, frames: bool = True) -> None:
        self.time, self.run, self.speed = 300.0, 0, speed
        self._robot, self._late, self._frames = robot, late, frames
        self._clock = robot.node.create_publisher(Clock, '/clock', QoSProfile(depth=10))
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go)
        self._thread.start()

    def _go(self) -> None:
        last = time.monotonic()
        while not self._over.wait(TICK):
            now = time.monotonic()
            with self._lock:
                self.time += self.speed * (now - last)
                self._clock.publish(Clock(clock=stamp(self.time)))
                if self._frames:
                    self.show()
            last = now

    def show(self) -> None:
        message = Image(encoding='rgb8', height=1, width=1, step=3, data=bytes(3))
        message.header.stamp = stamp(self.time - self._late)
        message.header.frame_id = str(self.run)
        self._robot.camera.publish(message)

    def set_back(self, seconds: float) -> None:
        with self._lock:
            self.time, self.run = self.time - seconds, self.run + 1

    def close(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def world(robot: Robot) -> Iterator[Callable[..., World]]:
    """Give a function that begins a world; it ends after the test."""
    worlds: list[World] = []

    def begin(speed: float = 1.0, **options: float) -> World:
        worlds.append(World(robot, speed, **options))  # type: ignore[arg-type]
        return worlds[-1]

    yield begin
    for each in worlds:
        each.close()


def test_frame_in_the_encoder_when_the_clock_is_set_back(
    active_node: MakeNode, robot: Robot, world: Callable[..., World]
) -> None:
    node = active_node(use_sim_time=True, scripted__encode_seconds=0.3, encode_rate=0.0)
    there = world()
    feed = node._feeds['camera']
    assert robot.ask(question='what?').success
    for _ in range(3):
        asked = robot.ask_later(
            question='what?', not_before=stamp(there.time + 1), timeout=Duration(sec=2)
        )  # frames are encoded for it
        wait_until(lambda: feed.encoding)
        there.set_back(2.5)
        wait_until(lambda: (
            feed.frame is None or feed.frame.header.frame_id == str(there.run)
        ))
        response = robot.ask(question='what?')
        assert response.success and response.header.frame_id == str(there.run)
        asked()


def test_ten_times_as_fast(
    active_node: MakeNode, robot: Robot, world: Callable[..., World]
) -> None:
    there = world(speed=10.0)
    active_node(
        use_sim_time=True, scripted__answers=['yes'], standing_questions=['clear'],
        standing__clear__question='is it clear?', standing__clear__max_age=3.0,
    )
    trigger = robot.node.create_client(Trigger, '/vlm/standing/clear')
    assert trigger.wait_for_service(PATIENCE)
    verdicts: list[bool] = []

    def ask() -> None:
        verdicts.append(wait_for(trigger.call_async(Trigger.Request())).success)

    def is_mostly_clear() -> bool:
        since, verdicts[:] = there.time, []
        while there.time < since + 20:
            ask()
        return sum(verdicts) > 0.6 * len(verdicts)  # by real time, 3 of 10

    # On a busy machine, some are missing now and then.
    wait_until(is_mostly_clear)
    # By real time, there is never more than one.
    wait_until(lambda: len(robot.ask(
        question='what?', num_frames=4, window=Duration(sec=6)).frame_stamps) == 4)


def test_now_is_that_of_the_node(
    active_node: MakeNode, robot: Robot, world: Callable[..., World]
) -> None:
    there = world()
    active_node(use_sim_time=True)
    assert robot.ask(question='what?').success
    with VlmClient() as client:
        before = there.time
        answer = client.ask('what?', not_before='now')
        assert answer.stamp and answer.stamp >= before


@contextmanager
def quickly() -> Iterator[None]:
    """Check that a question does not wait for its timeout."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 20


def test_stamps_of_another_clock(
    active_node: MakeNode, robot: Robot, world: Callable[..., World]
) -> None:
    active_node(use_sim_time=True, timeout=60.0)
    world(late=-80.0)
    with quickly():
        response = robot.ask(question='what?')
    assert response.error_code == ErrorCode.STALE_FRAME
    assert '80.0 s ahead of the clock of this node (simulated time)' in response.error_msg
    Doctor(robot).wait_for('camera camera', lambda s: (
        s.level == DiagnosticStatus.WARN and 'ahead of the clock' in s.message
    ))


def test_time_of_arrival(
    active_node: MakeNode, robot: Robot, world: Callable[..., World]
) -> None:
    active_node(use_sim_time=True, camera__stamp='arrival')
    there = world(late=-80.0)
    response = robot.ask(question='what?')
    assert response.success, response.error_msg
    assert abs(response.header.stamp.sec - there.time) < 40


def test_nothing_comes_on_clock(active_node: MakeNode, robot: Robot) -> None:
    active_node(use_sim_time=True, timeout=60.0)
    doctor = Doctor(robot)
    doctor.wait_for('camera camera', lambda s: 'nothing has come on /clock' in s.message)
    robot.publish()
    with quickly():
        response = robot.ask(question='what?')
    assert response.error_code == ErrorCode.NO_FRAME
    assert 'nothing has come on /clock' in response.error_msg


def test_two_publishers_of_the_time(
    active_node: MakeNode, robot: Robot, world: Callable[..., World]
) -> None:
    active_node(use_sim_time=True, timeout=60.0)
    world()
    world(frames=False).set_back(200.0)
    Doctor(robot).wait_for('camera camera', lambda s: '/clock has 2 publishers' in s.message)
    with quickly():
        response = robot.ask(question='what?')
    assert response.error_code == ErrorCode.NO_FRAME
    assert '/clock has 2 publishers' in response.error_msg
