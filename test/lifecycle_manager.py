# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Nav2's lifecycle manager, as far as a node that it manages can tell."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
import threading
import time
from typing import Any
import uuid

from bars import within
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future
from robot import PATIENCE, wait_for

BOND_TIMEOUT = 4.0  # seconds; the manager's parameter of this name, as it is when nobody sets it
_PERIOD = 0.1  # seconds between the manager's own beats

_REACHED = {
    Transition.TRANSITION_CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    Transition.TRANSITION_DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: State.PRIMARY_STATE_FINALIZED,
}


class BondState(Enum):
    """The states of bondcpp's machine that the manager comes through."""

    WAITING = 'waiting for the sister'
    ALIVE = 'alive'
    DEAD = 'dead'


class ManagerBond:
    """
    The manager's side of a bond: bondcpp's rules for what it hears and for silence.

    beats: when a sign of life came, time.monotonic().
    strangers: whose beats came besides the sister's; bondcpp calls that an error.
    """

    def __init__(self, node: Node, name: str, timeout: float = BOND_TIMEOUT) -> None:
        from bond.msg import Constants, Status  # not before the test has provided it

        self._node = node
        self._name = name
        self._type = Status
        self._timeout = timeout
        self._instance_id = str(uuid.uuid4())
        self._changed = threading.Condition()
        self.state = BondState.WAITING
        self.sister = ''
        self.strangers: set[str] = set()
        self.beats: list[float] = []
        self._publisher = node.create_publisher(Status, 'bond', QoSProfile(depth=5))
        self._subscription = node.create_subscription(
            Status, 'bond', self._on_status, QoSProfile(depth=100)
        )
        self._silence = node.create_timer(Constants.DEFAULT_CONNECT_TIMEOUT, self._on_silence)
        self._beat = node.create_timer(_PERIOD, self._on_beat)
        self._silence.reset()

    def _on_status(self, status: Any) -> None:
        if status.id != self._name or status.instance_id == self._instance_id:
            return
        with self._changed:
            self.sister = self.sister or status.instance_id
            if status.instance_id != self.sister:
                self.strangers.add(status.instance_id)
            elif self.state is not BondState.DEAD:
                self._hear(status.active)
            self._changed.notify_all()

    def _hear(self, active: bool) -> None:
        if not active:
            self._die()
            self._publish(active=False)
            return
        self.beats.append(time.monotonic())
        if self.state is BondState.WAITING:
            self.state = BondState.ALIVE
            self._silence.cancel()
            self._silence.timer_period_ns = int(self._timeout * 1e9)
        else:
            self._silence.reset()

    def _on_silence(self) -> None:
        with self._changed:
            self._die()
            self._changed.notify_all()

    def _die(self) -> None:
        self.state = BondState.DEAD
        self._silence.cancel()
        self._beat.cancel()

    def _on_beat(self) -> None:
        self._publish(active=True)

    def _publish(self, active: bool) -> None:
        self._publisher.publish(
            self._type(
                id=self._name,
                instance_id=self._instance_id,
                active=active,
                heartbeat_timeout=self._timeout,
                heartbeat_period=_PERIOD,
            )
        )

    def wait_until(self, state: BondState, timeout: float = PATIENCE) -> bool:
        """Wait for a state; return whether it came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.state is state, timeout)

    def wait_for_beats(self, count: int) -> list[float]:
        """Return when the next beats came, this many, once the last one has come."""
        with self._changed:
            first = len(self.beats)
            assert self._changed.wait_for(lambda: len(self.beats) >= first + count, PATIENCE)
            return self.beats[first:]

    def destroy(self) -> None:
        if self.state is BondState.ALIVE:
            self._publish(active=False)
        for timer in (self._silence, self._beat):
            self._node.destroy_timer(timer)
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_publisher(self._publisher)


class LifecycleManager:
    """
    Walks one node through its states: change, look, bond, as the manager does.

    formed: seconds that the last bond took to form.
    """

    def __init__(
        self, context: rclpy.Context, name: str = 'vlm', namespace: str = '',
        bond_timeout: float = BOND_TIMEOUT,
    ) -> None:
        self.node = Node('lifecycle_manager', context=context, namespace=namespace)
        self._name = name
        self._bond_timeout = bond_timeout
        self._change = self.node.create_client(ChangeState, f'{name}/change_state')
        self._get = self.node.create_client(GetState, f'{name}/get_state')
        self.bond: ManagerBond | None = None
        self.formed = 0.0

    def request(self, transition: int = 0, label: str = '') -> Future:
        """Request a transition by its number, or by its label."""
        assert self._change.wait_for_service(PATIENCE)
        request = ChangeState.Request(transition=Transition(id=transition, label=label))
        return self._change.call_async(request)

    def find(self) -> None:
        """
        Wait until the node of another process answers.

        Fast DDS drops responses to a client that it has not discovered yet: that one asks again,
        here for what no node does.
        """
        for client, request in (
            (self._change, ChangeState.Request(transition=Transition(id=255))),
            (self._get, GetState.Request()),
        ):
            assert client.wait_for_service(PATIENCE)
            answered = threading.Event()
            while not answered.is_set():
                client.call_async(request).add_done_callback(lambda _, a=answered: a.set())
                answered.wait(1.0)

    def get_state(self) -> int:
        assert self._get.wait_for_service(PATIENCE)
        return wait_for(self._get.call_async(GetState.Request())).current_state.id

    def change_state(self, *transitions: int) -> bool:
        """Make transitions, one after the other; return whether every one of them worked."""
        return all(self._make(transition) for transition in transitions)

    def _make(self, transition: int) -> bool:
        if not wait_for(self.request(transition)).success:
            return False
        if self.get_state() != _REACHED[transition]:
            return False
        if transition == Transition.TRANSITION_ACTIVATE:
            return self.form_bond()
        if transition == Transition.TRANSITION_DEACTIVATE:
            self.break_bond()
        return True

    def form_bond(self) -> bool:
        """Begin our side of the bond; return whether it is formed as soon as the manager wants."""
        started = time.monotonic()
        self.bond = self._call(ManagerBond, self.node, self._name, self._bond_timeout)
        formed = self.bond.wait_until(BondState.ALIVE, within(BOND_TIMEOUT / 2))
        self.formed = time.monotonic() - started
        return formed

    def break_bond(self) -> None:
        if self.bond:
            self._call(self.bond.destroy)
            self.bond = None

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call in the executor's thread: it fails where another one destroys what it waits for."""
        return wait_for(self.node.executor.create_task(function, *arguments))
