# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The lifecycle services: quick to answer, whatever the node does and whatever they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import threading
import time
from typing import Any

from bars import timing, within
from lifecycle_manager import LifecycleManager
from lifecycle_msgs.msg import State, Transition
import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from robot import PATIENCE, Robot, Spinner, wait_for, wait_until
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.node import vlm_node
from vlm_npu_ros.node.vlm_node import VlmNode

MakeNode = Callable[..., VlmNode]
LOOKS = 100


@pytest.fixture
def manager(context: rclpy.Context) -> Iterator[LifecycleManager]:
    manager = LifecycleManager(context)
    spinner = Spinner(manager.node, SingleThreadedExecutor(context=context))
    yield manager
    spinner.close()


class HeldLoading:
    """Loads the models, but not before it may."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return load_engine(*arguments)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldLoading]:
    held = HeldLoading()
    monkeypatch.setattr(vlm_node, 'load_engine', held)
    yield held
    held.go_on.set()


class Looks:
    """What get_state says, and how soon."""

    def __init__(self, manager: LifecycleManager) -> None:
        self._manager = manager
        self.states: list[int] = []
        self.seconds: list[float] = []

    def look(self) -> None:
        """Look once."""
        started = time.monotonic()
        self.states.append(self._manager.get_state())
        self.seconds.append(time.monotonic() - started)

    def check(self) -> None:
        """Fail if that took too long for a manager; print the figures."""
        median, longest = np.median(self.seconds), max(self.seconds)
        print(f'get_state: {1000 * median:.1f} ms, at most {1000 * longest:.1f} ms')
        assert median < within(0.1) and longest < within(0.5)


@timing
def test_state_is_told_while_a_model_is_loaded(
    make_node: MakeNode, manager: LifecycleManager, held: HeldLoading
) -> None:
    make_node(backend='onnx')
    looks = Looks(manager)
    configured = manager.request(Transition.TRANSITION_CONFIGURE)
    assert held.begun.wait(PATIENCE)
    for _ in range(LOOKS):
        looks.look()
    assert set(looks.states) == {State.TRANSITION_STATE_CONFIGURING}
    held.go_on.set()
    while not configured.done():  # the graphs are loaded in the node's own process
        looks.look()
    assert wait_for(configured).success
    assert manager.get_state() == State.PRIMARY_STATE_INACTIVE
    looks.check()


@timing
def test_state_is_told_while_an_answer_is_written(
    active_node: MakeNode, manager: LifecycleManager, robot: Robot
) -> None:
    active_node(scripted__answers=['one two three four'], scripted__decode_rate=0.05)
    robot.publish()
    robot.ask_later(question='count')
    wait_until(lambda: bool(robot.partials))
    looks = Looks(manager)
    for _ in range(LOOKS):
        looks.look()
    assert not robot.partials[-1].done
    assert set(looks.states) == {State.PRIMARY_STATE_ACTIVE}
    looks.check()


def test_transition_that_the_state_does_not_allow_is_refused(
    make_node: MakeNode, manager: LifecycleManager
) -> None:
    node = make_node()
    for wrong in (
        Transition.TRANSITION_ACTIVATE,
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_ACTIVE_SHUTDOWN,
        Transition.TRANSITION_ON_CONFIGURE_SUCCESS,
        77,
    ):
        assert not wait_for(manager.request(wrong)).success
        assert manager.get_state() == State.PRIMARY_STATE_UNCONFIGURED
    assert not wait_for(manager.request(label='activate')).success
    assert node.trigger_activate() is TransitionCallbackReturn.FAILURE
    assert wait_for(manager.request(Transition.TRANSITION_CONFIGURE)).success
    assert not wait_for(manager.request(Transition.TRANSITION_CONFIGURE)).success
    assert wait_for(manager.request(label='activate')).success
    assert manager.get_state() == State.PRIMARY_STATE_ACTIVE


def test_transition_is_refused_while_another_one_is_under_way(
    make_node: MakeNode, manager: LifecycleManager, held: HeldLoading
) -> None:
    node = make_node()
    configured = manager.request(Transition.TRANSITION_CONFIGURE)
    assert held.begun.wait(PATIENCE)
    # More than the executor has threads: a request that waited would keep one of them.
    others = [manager.request(Transition.TRANSITION_CONFIGURE) for _ in range(6)]
    # What the state machine itself does when the loading is done.
    others.append(manager.request(label='transition_success'))
    assert not any(wait_for(other).success for other in others)
    assert node.trigger_configure() is TransitionCallbackReturn.FAILURE
    assert manager.get_state() == State.TRANSITION_STATE_CONFIGURING
    held.go_on.set()
    assert wait_for(configured).success
    assert manager.get_state() == State.PRIMARY_STATE_INACTIVE


def test_one_of_simultaneous_requests_is_served(
    make_node: MakeNode, manager: LifecycleManager
) -> None:
    make_node()
    for transition in (
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
    ):
        requests = [manager.request(transition) for _ in range(8)]
        assert [wait_for(request).success for request in requests].count(True) == 1


# Needs VlmNode.destroy_node: after rclpy's own, the state machine keeps the node in the graph.
def test_destroyed_node_leaves_the_graph(
    context: rclpy.Context, manager: LifecycleManager
) -> None:
    node = VlmNode(context=context)
    wait_until(lambda: 'vlm' in manager.node.get_node_names())
    node.destroy_node()
    wait_until(lambda: 'vlm' not in manager.node.get_node_names())
