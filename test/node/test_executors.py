"""Who runs what, of a node that two executors share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import threading
from typing import Any

import pytest
import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from robot import PATIENCE, wait_until
from std_msgs.msg import UInt64
from vlm_npu_ros.node.executors import executors_of

MESSAGES = 50


class Shared:
    """
    A node, spun by two executors, that publishes to itself.

    looks: how often the quick one has looked at what to wait for.
    runs: how often the other one has had a callback run.
    """

    def __init__(self, context: rclpy.Context) -> None:
        self.node = Node('shared', context=context, start_parameter_services=False)
        self.group = MutuallyExclusiveCallbackGroup()
        self.looks = self.runs = 0
        quick, other = executors_of(self.node, self.group)
        get_nodes, quick.get_nodes = quick.get_nodes, lambda: self._look(get_nodes)
        ready, other.wait_for_ready_callbacks = (
            other.wait_for_ready_callbacks, lambda *given: self._run(ready(*given))
        )
        self._executors = {'quick': quick, 'other': other}
        self._threads = [
            threading.Thread(target=executor.spin, name=name)
            for name, executor in self._executors.items()
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop spinning."""
        for executor in self._executors.values():
            executor.shutdown()
        for thread in self._threads:
            thread.join()
        self.node.destroy_node()

    def hear(self, topic: str, quick: bool) -> Heard:
        """Subscribe."""
        return Heard(self.node, topic, self.group if quick else None)

    def _look(self, get_nodes: Callable[[], list[Node]]) -> list[Node]:
        self.looks += 1
        return get_nodes()

    def _run(self, callback: tuple[Any, ...]) -> tuple[Any, ...]:
        self.runs += 1
        return callback


class Heard:
    """What has come on a topic, and in which threads."""

    def __init__(
        self, node: Node, topic: str, group: MutuallyExclusiveCallbackGroup | None
    ) -> None:
        self.values: list[int] = []
        self.threads: set[str] = set()
        self.subscription = node.create_subscription(
            UInt64, topic, self._take, 100, callback_group=group
        )
        self._publisher = node.create_publisher(UInt64, topic, 100)
        wait_until(lambda: self._publisher.get_subscription_count() == 1)

    def say(self, value: int) -> None:
        """Publish, and wait until it has come."""
        self._publisher.publish(UInt64(data=value))
        wait_until(lambda: value in self.values)

    def _take(self, message: UInt64) -> None:
        self.values.append(message.data)
        self.threads.add(threading.current_thread().name)


@pytest.fixture
def shared(context: rclpy.Context) -> Iterator[Shared]:
    """Give a node that two executors spin."""
    shared = Shared(context)
    yield shared
    shared.close()


def test_each_executor_runs_its_own(shared: Shared) -> None:
    quick, other = shared.hear('a', quick=True), shared.hear('b', quick=False)
    for value in range(MESSAGES):
        quick.say(value)
        other.say(value)
    assert quick.threads == {'quick'}
    assert other.threads and not other.threads & {'quick', 'other'}  # the latter one only waits


def test_the_other_one_runs_a_callback_once(shared: Shared) -> None:
    heard = shared.hear('a', quick=False)
    for value in range(MESSAGES):
        heard.say(value)
    # rclpy's own executor runs each one again and again, until a thread has begun with it.
    assert shared.runs < 2 * MESSAGES


def test_what_waits_holds_up_nothing_quick(shared: Shared) -> None:
    go, waits = threading.Event(), threading.Event()

    def wait() -> None:
        waits.set()
        go.wait(PATIENCE)

    timer = shared.node.create_timer(0.001, wait)
    assert waits.wait(PATIENCE)
    shared.hear('a', quick=True).say(1)
    timer.cancel()
    go.set()


def test_what_is_removed_is_not_waited_for(shared: Shared) -> None:
    removed = shared.hear('a', quick=True)
    removed.say(1)
    shared.node.destroy_subscription(removed.subscription)
    shared.hear('a', quick=True).say(2)
    assert removed.values == [1]


def test_it_looks_once_for_each_callback(shared: Shared) -> None:
    heard = shared.hear('a', quick=True)
    heard.say(0)
    before = shared.looks
    for value in range(1, MESSAGES):
        heard.say(value)
    assert shared.looks - before < 2 * MESSAGES  # rclpy's own executors: three times
