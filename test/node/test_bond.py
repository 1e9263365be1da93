# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The heartbeat, as the lifecycle manager of Nav2 hears it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import itertools
import os
import subprocess
import sys
import threading
import time
from typing import Any

from bars import timing, within
from bond_package import provide_bond
from lifecycle_manager import BOND_TIMEOUT, BondState, LifecycleManager
from lifecycle_msgs.msg import State, Transition
import pytest
import rclpy
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from robot import PATIENCE, Robot, Spinner, wait_for
from vlm_npu_ros.node.bond import start_bond
from vlm_npu_ros.node.vlm_node import VlmNode

MakeNode = Callable[..., VlmNode]
MakeManager = Callable[..., LifecycleManager]
pytestmark = pytest.mark.timeout(300)  # messages may have to be built first
UP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DOWN = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP
LONGEST = within(BOND_TIMEOUT / 20)  # between two beats, and until an end is told


@pytest.fixture(scope='session', autouse=True)
def environment() -> dict[str, str]:
    """Install bond; give the environment of processes that shall have it too."""
    return provide_bond()


@pytest.fixture
def make_manager(context: rclpy.Context) -> Iterator[MakeManager]:
    spinners: list[Spinner] = []

    def make(**options: Any) -> LifecycleManager:
        manager = LifecycleManager(context, **options)
        spinners.append(Spinner(manager.node, SingleThreadedExecutor(context=context)))
        return manager

    yield make
    for spinner in spinners:
        spinner.close()


def test_lifecycle_manager_brings_it_up(
    make_node: MakeNode, make_manager: MakeManager, robot: Robot
) -> None:
    make_node()
    manager = make_manager()
    assert manager.get_state() == State.PRIMARY_STATE_UNCONFIGURED
    assert manager.change_state(*UP)
    print(f'formed in {1000 * manager.formed:.0f} ms')
    robot.publish()
    assert robot.ask(question='what?').success
    pause, resume = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE
    assert manager.change_state(pause, resume)
    assert manager.change_state(*DOWN, *UP)
    robot.publish()
    assert robot.ask(question='what?').success
    assert manager.bond and manager.bond.state is BondState.ALIVE and not manager.bond.strangers
    assert manager.change_state(*DOWN, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)


@timing
def test_bond_is_alive_while_the_node_answers(
    make_node: MakeNode, make_manager: MakeManager, robot: Robot
) -> None:
    make_node(backend='onnx', encode_rate=100.0)
    manager = make_manager()
    assert manager.change_state(*UP) and manager.bond
    for _ in range(15):
        robot.publish()
        answers = [robot.ask_later(question='what do you see?') for _ in range(4)]
        assert all(answer().success for answer in answers)
    assert manager.bond.state is BondState.ALIVE
    beats = [*manager.bond.beats, time.monotonic()]
    gaps = [later - earlier for earlier, later in itertools.pairwise(beats)]
    print(f'{len(gaps)} beats, {1000 * max(gaps):.0f} ms apart at most')
    assert len(gaps) > 3 and max(gaps) < LONGEST


@timing
def test_bond_is_alive_while_all_threads_of_the_executor_are_busy(
    make_node: MakeNode, make_manager: MakeManager
) -> None:
    node, manager = make_node(), make_manager()
    assert manager.change_state(*UP) and manager.bond
    busy, release = threading.Barrier(5), threading.Event()

    def work() -> None:
        busy.wait(PATIENCE)
        release.wait(PATIENCE)

    tasks = [node.executor.create_task(work) for _ in range(4)]
    busy.wait(PATIENCE)
    beats = manager.bond.wait_for_beats(10)
    release.set()
    for task in tasks:
        wait_for(task)
    assert max(later - earlier for earlier, later in itertools.pairwise(beats)) < LONGEST


@timing
def test_deactivation_breaks_the_bond_at_once(
    make_node: MakeNode, make_manager: MakeManager
) -> None:
    make_node()
    manager = make_manager(bond_timeout=PATIENCE)
    assert manager.change_state(*UP) and manager.bond
    started = time.monotonic()
    deactivated = manager.request(Transition.TRANSITION_DEACTIVATE)
    assert manager.bond.wait_until(BondState.DEAD, within(BOND_TIMEOUT / 20))
    print(f'broken {1000 * (time.monotonic() - started):.0f} ms after the request')
    assert wait_for(deactivated).success


def test_each_activation_beats_anew_and_the_old_one_is_silent(
    make_node: MakeNode, make_manager: MakeManager
) -> None:
    from bond.msg import Status

    make_node()
    manager = make_manager()
    heard: list[Status] = []
    manager.node.create_subscription(Status, 'bond', heard.append, QoSProfile(depth=1000))
    assert manager.change_state(Transition.TRANSITION_CONFIGURE)
    sisters = []
    for _ in range(4):
        assert manager.change_state(Transition.TRANSITION_ACTIVATE) and manager.bond
        manager.bond.wait_for_beats(2)
        assert manager.bond.state is BondState.ALIVE and not manager.bond.strangers
        sisters.append(manager.bond.sister)
        assert manager.change_state(Transition.TRANSITION_DEACTIVATE)
    beats = [(s.instance_id, s.active) for s in heard if s.instance_id in sisters]
    lives = [(sister, active) for sister in sisters for active in (True, False)]
    assert [beat for beat, _ in itertools.groupby(beats)] == lives
    assert len(set(sisters)) == len(sisters)


def test_manager_that_comes_back_finds_the_bond(
    make_node: MakeNode, make_manager: MakeManager
) -> None:
    make_node()
    manager = make_manager()
    assert manager.change_state(*UP) and manager.bond
    sister = manager.bond.sister
    manager.break_bond()
    assert manager.form_bond() and manager.bond
    manager.bond.wait_for_beats(2)
    assert manager.bond.state is BondState.ALIVE and manager.bond.sister == sister


def test_two_robots_in_namespaces_do_not_meet(
    context: rclpy.Context, make_manager: MakeManager
) -> None:
    backend = [Parameter('backend', value='scripted')]
    spinners, managers = [], []
    try:
        for namespace in ('robot1', 'robot2'):
            node = VlmNode(context=context, namespace=namespace, parameter_overrides=backend)
            spinners.append(Spinner(node, MultiThreadedExecutor(4, context=context)))
            managers.append(make_manager(namespace=namespace))
            assert managers[-1].change_state(*UP)
        for manager in managers:
            manager.bond.wait_for_beats(2)
        assert managers[0].bond.sister != managers[1].bond.sister
        assert not managers[0].bond.strangers and not managers[1].bond.strangers
    finally:
        for spinner in spinners:
            spinner.node.release()
            spinner.close()


@timing
def test_killed_node_is_missed(environment: dict[str, str]) -> None:
    timeout = 3.0
    domain = int(os.environ['ROS_DOMAIN_ID']) + 20  # of its own: a killed node lingers in it
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    manager = LifecycleManager(context, bond_timeout=timeout)
    spinner = Spinner(manager.node, SingleThreadedExecutor(context=context))
    parameters = {'autostart': 'false', 'backend': 'scripted'}
    arguments = [a for key, value in parameters.items() for a in ('-p', f'{key}:={value}')]
    with subprocess.Popen(
        [sys.executable, '-m', 'vlm_npu_ros.node.vlm_node', '--ros-args', *arguments],
        env={**environment, 'ROS_DOMAIN_ID': str(domain)},
    ) as child:
        try:
            manager.find()
            assert manager.change_state(*UP) and manager.bond
            print(f'formed in {1000 * manager.formed:.0f} ms')
            manager.bond.wait_for_beats(3)
            child.kill()
            child.wait()
            killed = time.monotonic()
            assert manager.bond.wait_until(BondState.DEAD)
            print(f'missed {time.monotonic() - killed:.2f} s after the end')
            silence = time.monotonic() - manager.bond.beats[-1]
            assert timeout <= silence < timeout + LONGEST
        finally:
            child.kill()
            spinner.close()
            context.try_shutdown()


def test_without_the_package_there_is_no_heartbeat(
    make_node: MakeNode,
    make_manager: MakeManager,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, 'bond.msg', None)  # importing it fails
    node, manager = make_node(), make_manager()
    assert start_bond(node) is None
    assert start_bond(node) is None
    assert capfd.readouterr().err.count('the package bond is not installed') == 1
    for _ in range(2):
        for transition in UP + DOWN:
            assert wait_for(manager.request(transition)).success
    assert manager.node.count_publishers('bond') == 0


def test_shutdown_of_ros_ends_the_heartbeat_quietly() -> None:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node('somebody', context=context)
    bond = start_bond(node)
    context.shutdown()
    assert bond
    bond._thread.join(PATIENCE)  # an error in it would be one of this test
    bond.close()
    node.destroy_node()
