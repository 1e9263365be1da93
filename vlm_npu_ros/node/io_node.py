# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A second, hidden node for frames and questions, which must be handled quickly."""

from __future__ import annotations

from collections.abc import Callable
import threading
import traceback
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.task import Future

# Enough for the pieces of long answers to a slow subscriber, and for many questions at once: with
# the default depth of 10, the middleware silently drops the eleventh.
DEPTH = QoSProfile(depth=256)
LAST_RESULTS = 1.0  # seconds that clients have to fetch results when an interface is removed
_RESULT_SECONDS = 10  # that a result is kept for a client that does not fetch it
_HEAD_START = 0.0005  # seconds
_TICK = 0.1  # seconds between checks that the thread is alive


class IoNode(Node):
    """
    A hidden node beside `main`, spun by a thread of its own until it is closed.

    It has the namespace and the clock of `main`. Names given to its methods must be resolved
    before (`main.resolve_topic_name`), so that remappings apply. Its callbacks and coroutines run
    one at a time and must not block; coroutines may `await`:

        ended = io.completion()
        in_another_thread(ended.complete)
        await ended.wait()

    Why a second node: rclpy's executors wait for whole nodes, and rebuild the list of what they
    wait for before each callback. So a node with fewer entities answers sooner, and a transition
    of `main`, which may load models for a minute, delays nothing here.
    """

    def __init__(self, main: Node) -> None:
        self._main_node = main  # before Node.__init__, which may use the clock
        super().__init__(
            f'_{main.get_name()}_io',  # nodes whose names begin with _ are hidden
            namespace=main.get_namespace(),
            context=main.context,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
            parameter_overrides=[Parameter('start_type_description_service', value=False)],
        )
        self._io_executor = SingleThreadedExecutor(context=main.context)
        self._io_executor.add_node(self)
        self._io_thread = SpinThread(self._io_executor, main, 'io')

    def get_clock(self) -> Clock:
        """Return the clock of the main node, which follows simulated time."""
        return self._main_node.get_clock()

    def completion(self) -> Completion:
        """Create something that another thread completes and a coroutine of this node awaits."""
        return Completion(self._io_executor)

    async def sleep(self, seconds: float) -> None:
        """Suspend a coroutine of this node."""
        over = Future(executor=self._io_executor)
        timer = self.create_timer(
            seconds,
            lambda: over.set_result(None),
            callback_group=ReentrantCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        await over
        self.destroy_timer(timer)

    def run(self, function: Callable[[], object] = lambda: None) -> None:
        """
        Call a function in this node's thread, after everything that is ready there; wait for it.

        Services and actions must be removed this way, because an executor fails if it waits for
        one that another thread has just destroyed.
        """
        # Executors start with the newest or the oldest task, depending on the version of rclpy.
        # After the first of these steps, the second one is behind all others in either case.
        for step in (lambda: None, function):
            done = threading.Event()
            if self._io_thread.is_alive():
                self._io_executor.create_task(_calling(step, done))
            while not done.wait(_TICK):
                if not self._io_thread.is_alive():  # ROS was shut down
                    step()
                    break

    def resolve_action_name(self, name: str) -> str:
        """Return the full name of an action of `main`, remapped as a whole or by its services."""
        goals = f'{name}/_action/send_goal'
        resolved = self._main_node.resolve_service_name(goals)
        if resolved == self._main_node.resolve_service_name(goals, only_expand=True):
            return self._main_node.resolve_service_name(name)
        return resolved.removesuffix('/_action/send_goal')

    def create_action_server(
        self,
        action_type: Any,
        name: str,
        execute: Callable[[ServerGoalHandle], Any],
        accept: Callable[[Any], Any],
        cancel: Callable[[ServerGoalHandle], CancelResponse],
    ) -> ActionServer:
        """
        Offer an action; `execute` and `accept` are coroutines.

        name: the full name, see resolve_action_name.
        """
        return ActionServer(
            self,
            action_type,
            name,
            execute,
            goal_callback=accept,
            cancel_callback=cancel,
            callback_group=ReentrantCallbackGroup(),
            goal_service_qos_profile=DEPTH,
            result_service_qos_profile=DEPTH,
            feedback_pub_qos_profile=DEPTH,
            result_timeout=_RESULT_SECONDS,
        )

    def destroy_node(self) -> None:
        """Stop the thread and leave the graph."""
        self._io_thread.stop()
        super().destroy_node()


class Completion:
    """Something that any thread completes (`complete`), and that one coroutine awaits (`wait`)."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._awaited: Future | None = None

    def complete(self) -> None:
        """Let `wait` return; from any thread."""
        with self._lock:
            self._done.set()
            awaited = self._awaited
        if awaited:
            awaited.set_result(None)
            self._executor.wake()  # rclpy before 7.1.9 does not do that itself

    async def wait(self) -> None:
        """
        Suspend the coroutine until it is complete.

        The thread itself waits first, for a moment: otherwise the executor, which takes a quarter
        of a millisecond to prepare its next wait, would hold up the interpreter for the thread
        that is to complete it.
        """
        if self._done.wait(_HEAD_START):
            return
        with self._lock:
            if self._done.is_set():
                return
            self._awaited = Future(executor=self._executor)
        await self._awaited


class InFlight:
    """Counts operations under way (`with in_flight: ...`), in any thread."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        self._add(1)

    def __exit__(self, *_: object) -> None:
        self._add(-1)

    def _add(self, change: int) -> None:
        with self._changed:
            self._count += change
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is under way; return False after `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._count, seconds)


class SpinThread(threading.Thread):
    """
    Runs the callbacks of an executor until `stop`.

    An exception in one of them is logged by `node` and does not stop the others.
    """

    def __init__(self, executor: Executor, node: Node, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._executor, self._node = executor, node
        self._ending = False
        self.start()

    def run(self) -> None:
        """Spin; for the thread itself."""
        while self._node.context.ok() and not self._ending:
            try:
                self._executor.spin_once()
            except ExternalShutdownException:
                return
            except InvalidHandle:  # an entity was removed just when the executor used it
                continue
            except Exception:
                self._node.get_logger().error(f'A callback failed:\n{traceback.format_exc()}')

    def stop(self) -> None:
        """Shut the executor down and wait for the callback that is running."""
        self._ending = True
        # Shutting down destroys what wakes the executor, so that one that was just about
        # to wait would not end; a task ends any wait.
        if self.is_alive():
            self._executor.create_task(lambda: None)
        self.join()
        self._executor.shutdown()


def _calling(function: Callable[[], object], done: threading.Event) -> Callable[[], None]:
    def call() -> None:
        try:
            function()
        finally:
            done.set()

    return call
