# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What a node publishes about itself, and what can be done with it besides asking."""

from __future__ import annotations

from collections.abc import Callable
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.action import ActionClient
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from vlm_npu_ros.action import Watch
from vlm_npu_ros.client.goal_ids import new_node_name
from vlm_npu_ros.client.messages import plain
from vlm_npu_ros.msg import StandingAnswer
from vlm_npu_ros.nav.background_node import BackgroundNode

_PERIOD = 1.0  # seconds between looks at the state of the node and at the graph
_SILENT = 3.0  # seconds after which what the node said of itself is out of date
_STANDING = 'vlm_npu_ros/msg/StandingAnswer'
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_TRANSITIONS = {
    'configure': Transition.TRANSITION_CONFIGURE, 'activate': Transition.TRANSITION_ACTIVATE,
    'deactivate': Transition.TRANSITION_DEACTIVATE, 'cleanup': Transition.TRANSITION_CLEANUP,
}


class NodeView(BackgroundNode):
    """
    Follows a node: its lifecycle, diagnostics and standing questions.

    name: of the node, with its namespace. changed: called in a thread of its own when something
    is new.

    lifecycle: the state of the node; '' = it is not there. standing: answers by their names.
    """

    def __init__(
        self, name: str, context: Context | None, changed: Callable[[], None]
    ) -> None:
        self._name, self._changed = name, changed
        # Replaced as a whole, since other threads read it.
        self._parts: tuple[dict[str, Any], ...] = ()
        self._told_at = 0.0
        self._subscribed: dict[str, Any] = {}
        self.lifecycle = ''
        self.standing: dict[str, dict[str, Any]] = {}
        self._asked: Future | None = None
        self._asked_at = 0.0
        super().__init__(new_node_name(), context)
        node = self._node
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self._state = node.create_client(GetState, f'{name}/get_state')
        self._change = node.create_client(ChangeState, f'{name}/change_state')
        self._watches = ActionClient(node, Watch, f'{name}/watch')
        node.create_timer(_PERIOD, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        self._ending = True
        self._thread.join()
        self._watches.destroy()
        super().close()

    @property
    def parts(self) -> list[dict[str, Any]]:
        """Tell what the node says of its parts: name, level, message and values of each."""
        return list(self._parts) if time.monotonic() < self._told_at + _SILENT else []

    @property
    def topics(self) -> dict[str, str]:
        """Topics of the cameras, by their names, the default one first."""
        return {
            part['name'].partition(' ')[2]: part['values'].get('topic', '')
            for part in self._parts if part['name'].startswith('camera ')
        }

    def publishers(self, topic: str) -> tuple[str, str] | None:
        """Tell how a camera publishes: raw or compressed, best_effort or reliable; None = not."""
        found = self._node.get_publishers_info_by_topic(topic)
        if not found:
            return None
        compressed = any(p.topic_type.endswith('CompressedImage') for p in found)
        reliable = all(p.qos_profile.reliability is ReliabilityPolicy.RELIABLE for p in found)
        return ('compressed' if compressed else 'raw'), 'reliable' if reliable else 'best_effort'

    def transition(self, name: str, on_end: Callable[[bool], None]) -> None:
        """Drive the lifecycle; on_end is told in the node's thread whether it went well."""
        request = ChangeState.Request(transition=Transition(id=_TRANSITIONS[name]))

        def begin() -> None:
            if not self._change.service_is_ready():
                on_end(False)
                return
            self._change.call_async(request).add_done_callback(
                lambda future: on_end(future.result().success))

        self._executor.create_task(begin)

    def watch(
        self, goal: Watch.Goal, on_look: Callable[[Any], None], on_end: Callable[[Any], None]
    ) -> Callable[[], None]:
        """
        Start a watch; return a function that ends it. Both callbacks run in the node's thread.

        on_end: gets the result; None = the node is not there or has refused it.
        """
        handles: list[Any] = []
        ended = threading.Event()

        def begin() -> None:
            if not self._watches.server_is_ready():
                on_end(None)
                return
            sent = self._watches.send_goal_async(goal, lambda message: on_look(message.feedback))
            sent.add_done_callback(lambda future: taken(future.result()))

        def taken(handle: Any) -> None:
            if not handle.accepted:
                on_end(None)
                return
            handles.append(handle)
            handle.get_result_async().add_done_callback(lambda f: on_end(f.result().result))
            if ended.is_set():
                handle.cancel_goal_async()

        def cancel() -> None:
            for handle in handles:
                handle.cancel_goal_async()

        def end() -> None:
            ended.set()
            if not self._ending:
                self._executor.create_task(cancel)

        self._executor.create_task(begin)
        return end

    # --- in the thread ---

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        prefix = f'{self._name}: '
        told = [status for status in message.status if status.name.startswith(prefix)]
        if told:  # the message has all parts of the node
            self._told_at = time.monotonic()
            self._parts = tuple({
                'name': status.name.removeprefix(prefix), 'level': _level(status.level),
                'message': status.message,
                'values': {value.key: value.value for value in status.values},
            } for status in told)
            self._changed()

    def _on_standing(self, name: str, message: StandingAnswer) -> None:
        self.standing[name] = plain(message)
        self._changed()

    def _look(self) -> None:
        """Ask for the state, and follow the standing questions that are there now."""
        now = time.monotonic()
        if self._asked is None or now > self._asked_at + _SILENT:
            if not self._state.service_is_ready():
                self._take_state('')
            else:
                if self._asked:
                    self._state.remove_pending_request(self._asked)
                    self._take_state('')
                self._asked, self._asked_at = self._state.call_async(GetState.Request()), now
                self._asked.add_done_callback(self._on_state)
        prefix = f'{self._name}/standing/'
        for topic, types in self._node.get_topic_names_and_types():
            name = topic.removeprefix(prefix)
            if topic.startswith(prefix) and _STANDING in types and name not in self._subscribed:
                self._subscribed[name] = self._node.create_subscription(
                    StandingAnswer, topic,
                    lambda message, name=name: self._on_standing(name, message), _LATCHED)

    def _on_state(self, future: Future) -> None:
        if future is self._asked:
            self._asked = None
            self._take_state(future.result().current_state.label)

    def _take_state(self, state: str) -> None:
        if state != self.lifecycle:
            self.lifecycle = state
            if state != 'active':
                self.standing.clear()
            self._changed()


def _level(level: bytes | int) -> int:
    """Return 0 for what is well, 1 for a warning, 2 for an error."""
    number = level[0] if isinstance(level, bytes) else int(level)
    error = DiagnosticStatus.ERROR
    return min(number, error[0] if isinstance(error, bytes) else int(error))
