# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A lifecycle node that rejects transitions that are not possible."""

from __future__ import annotations

from collections.abc import Callable
import functools
import threading
import traceback
from typing import TypeVar

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.lifecycle.node import LifecycleNodeMixin
from rclpy.node import Node
from vlm_npu_ros.engine.errors import InactiveError, VlmError

_GRACE = 0.1  # seconds; rclpy announces the end of a transition slightly before it has ended


class ManagedNode(LifecycleNodeMixin, Node):
    """
    A node whose transitions happen one at a time; get_state answers meanwhile.

    It uses two private names of rclpy, the only ones in this package:

    - `__change_state`, which all transitions go through. rclpy before 8.0 raises an exception
      there if the state does not allow a transition, and sends no response. It is overridden by
      its mangled name. If a later rclpy has no such method, rclpy itself rejects transitions that
      the state does not allow, and only requests during a transition are no longer rejected here.
    - `_state_machine`, for the state, and to release the node. Without it, the node stays in the
      graph until it is garbage collected.
    """

    def __init__(self, name: str, **node_options: object) -> None:
        Node.__init__(self, name, **node_options)
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self.in_transition = threading.Lock()  # held during a transition

    def release(self) -> None:
        """Free everything that the transitions created; may be called in any state."""

    @property
    def state(self) -> str:
        """Name the current state, such as `unconfigured`."""
        return str(self._state_machine.current_state[1])

    def _LifecycleNodeMixin__change_state(  # noqa: N802
        self, transition_id: int
    ) -> TransitionCallbackReturn:
        """Reject a transition that is not possible now."""
        if not self.in_transition.acquire(timeout=_GRACE):
            self.get_logger().warning('A transition was rejected: another one is under way')
            return TransitionCallbackReturn.FAILURE
        try:
            possible = [found[0] for found in self._state_machine.available_transitions]
            if transition_id not in possible:
                self.get_logger().warning(
                    f'There is no transition {transition_id} from {self.state}'
                )
                return TransitionCallbackReturn.FAILURE
            return super()._LifecycleNodeMixin__change_state(transition_id)
        finally:
            self.in_transition.release()

    def destroy_node(self) -> None:
        """Leave the graph at once; rclpy's state machine would keep the node until collected."""
        super().destroy_node()
        state_machine = getattr(self, '_state_machine', None)
        if state_machine:
            state_machine.destroy_when_not_in_use()


def inactive_error(node: Node) -> InactiveError:
    """Return the error of a question to a node that is not active."""
    name = node.get_fully_qualified_name()
    return InactiveError(f'{name} is not active: ros2 lifecycle set {name} activate')


ManagedNodeT = TypeVar('ManagedNodeT', bound=ManagedNode)


def transition(
    on_failure: TransitionCallbackReturn,
) -> Callable[
    [Callable[[ManagedNodeT], None]],
    Callable[[ManagedNodeT, LifecycleState], TransitionCallbackReturn],
]:
    """
    Make a method a lifecycle callback; its errors are logged, which rclpy does not do.

    on_failure: result after an error; the node is released then.

        @transition(TransitionCallbackReturn.FAILURE)
        def on_configure(self) -> None:
            self._engine = load()
    """

    def decorate(
        method: Callable[[ManagedNodeT], None],
    ) -> Callable[[ManagedNodeT, LifecycleState], TransitionCallbackReturn]:
        @functools.wraps(method)
        def run(node: ManagedNodeT, state: LifecycleState) -> TransitionCallbackReturn:
            try:
                method(node)
            except InactiveError as error:
                node.get_logger().info(f'{method.__name__} is given up: {error}')
            except (VlmError, ValueError) as error:
                node.get_logger().error(f'{method.__name__} failed: {error}')
            except Exception:
                node.get_logger().error(f'{method.__name__} failed:\n{traceback.format_exc()}')
            else:
                return TransitionCallbackReturn.SUCCESS
            node.release()
            return on_failure

        return run

    return decorate
