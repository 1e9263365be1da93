"""Two executors that share a node: one for what must be quick, one for the rest."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
import threading
from types import SimpleNamespace
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.guard_condition import GuardCondition
from rclpy.node import Node

_THREADS = 4  # of OtherExecutor; only transitions keep one of them busy
_AT_ONCE = 0.05  # seconds; what takes longer is no longer waited for
_KINDS = ('subscriptions', 'timers', 'clients', 'services', 'guards', 'waitables')


class _Guard(GuardCondition):
    """
    Wakes an executor, unless it is awake: called in the thread that spins it.

    rclpy's executors wake themselves twice for each callback, and build their wait set for that;
    where one thread does it all, it looks at everything anyway before it waits.
    """

    own_thread = 0

    def trigger(self) -> None:
        """Wake the executor."""
        if threading.get_ident() != self.own_thread:
            super().trigger()


class QuickExecutor(SingleThreadedExecutor):
    """
    Runs one callback group of a node, in the thread that spins.

    rclpy builds its wait set anew for each callback, of all that the executor waits for, and its
    MultiThreadedExecutor hands each callback to another thread: for a frame or a question that
    costs more than what the callback does (docs/benchmarks.md).
    """

    def __init__(self, node: Node, group: CallbackGroup) -> None:
        super().__init__(context=node.context)
        self._node, self._group = node, group
        self._part = SimpleNamespace()  # stands for the node: what of it is waited for here
        self._changed = True
        self._guard: GuardCondition
        self._guard.destroy()
        self._guard = self._waker = _Guard(None, None, context=self.context)

    def spin(self) -> None:
        """Run callbacks until the end."""
        self._waker.own_thread = threading.get_ident()
        super().spin()

    def get_nodes(self) -> list[Any]:
        """Return what to wait for; the node itself belongs to another executor."""
        if self._changed:
            self._changed = False  # before looking, so that no change is missed
            for kind in _KINDS:
                entities = [e for e in getattr(self._node, kind) if not self.leaves(e)]
                setattr(self._part, kind, entities)
        return [self._part]

    def leaves(self, entity: Any) -> bool:
        """Return whether it is for another executor."""
        return entity.callback_group is not self._group

    def wake(self) -> None:
        """Look again at what there is to wait for."""
        self._changed = True
        super().wake()


class _Pool(ThreadPoolExecutor):
    """
    Has run what it is given when it returns, unless that takes long.

    Until a callback runs, rclpy's MultiThreadedExecutor gives it again and again, in a loop that
    keeps Python's lock from the very thread that is to run it (ros2/rclpy#1452): in a program
    whose other threads are busy, for seconds, with all of a processor.
    """

    def submit(self, callback: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it."""
        future = super().submit(callback, *args, **kwargs)
        wait([future], _AT_ONCE)
        return future


class OtherExecutor(MultiThreadedExecutor):
    """Runs what a QuickExecutor leaves, and wakes that one when the node changes."""

    def __init__(self, quick: QuickExecutor) -> None:
        super().__init__(_THREADS, context=quick.context)
        self._executor = _Pool(_THREADS, 'executor')
        self._quick = quick

    def can_execute(self, entity: Any) -> bool:
        """Return whether it is to be waited for here, and now."""
        return self._quick.leaves(entity) and super().can_execute(entity)

    def wake(self) -> None:
        """Look again at what there is to wait for."""
        super().wake()
        self._quick.wake()


def executors_of(node: Node, group: CallbackGroup) -> tuple[QuickExecutor, OtherExecutor]:
    """Return the two executors of a node, of which the first one runs that group."""
    quick = QuickExecutor(node, group)
    other = OtherExecutor(quick)
    other.add_node(node)
    return quick, other
