# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A robot that talks to the node under test, and ways to wait for what it does."""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import Any

import numpy as np
import rclpy
from rclpy.action import ActionClient
from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import Image
from vlm_npu_ros.action import Ask as AskAction
from vlm_npu_ros.msg import PartialAnswer
from vlm_npu_ros.srv import Ask as AskService

PATIENCE = 90.0  # seconds; only a broken test waits this long
_REMOVALS = 1000  # of interfaces, each just when the executor looks at it: more than any test has


class Spinner:
    """Spins one node in a thread, and keeps what went wrong there."""

    def __init__(self, node: Node, executor: Executor) -> None:
        self.node = node
        self.errors: list[BaseException] = []
        self._executor = executor
        self._ending = False
        executor.add_node(node)
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        removals = 0
        while self.node.context.ok() and not self._ending:
            try:
                self._executor.spin_once()
            except BaseException as error:
                # An interface was removed; the node's own program goes on, too.
                removals += isinstance(error, InvalidHandle)
                if not isinstance(error, InvalidHandle) or removals > _REMOVALS:
                    self.errors.append(error)
                    return

    def close(self) -> None:
        """Stop spinning, destroy the node and raise what went wrong."""
        self._ending = True
        self._executor.create_task(lambda: None)  # as in SpinThread.stop
        self._thread.join()
        self._executor.shutdown()
        for client in list(self.node.waitables):
            if isinstance(client, ActionClient):
                client.destroy()  # else it stays in the graph until it is collected
        self.node.destroy_node()
        if self.errors:
            raise self.errors[0]


class Robot:
    """A camera and a client that asks."""

    def __init__(self, context: rclpy.Context) -> None:
        self.node = Node('robot', context=context)
        self.partials: list[PartialAnswer] = []
        self._arrived = threading.Condition()
        self.node.create_subscription(
            PartialAnswer, '/vlm/partial_answer', self._on_partial, QoSProfile(depth=1000)
        )
        # Reliable: a subscriber that wants best effort gets it, and one that does not loses none.
        self.camera = self.node.create_publisher(Image, 'camera/image_raw', QoSProfile(depth=10))
        # With the usual depth of 10, answers to more questions than that at once can get lost.
        self.service = self.node.create_client(
            AskService, '/vlm/ask', qos_profile=QoSProfile(depth=1000)
        )
        self.action = ActionClient(self.node, AskAction, '/vlm/ask')

    def _on_partial(self, message: PartialAnswer) -> None:
        with self._arrived:
            self.partials.append(message)
            self._arrived.notify_all()

    def partials_of(self, request_id: str) -> list[PartialAnswer]:
        """Return all pieces of an answer, once the last one has arrived."""

        def pieces() -> list[PartialAnswer]:
            return [p for p in self.partials if p.request_id == request_id]

        with self._arrived:
            assert self._arrived.wait_for(lambda: any(p.done for p in pieces()), PATIENCE)
            return pieces()

    def publish(self, picture: np.ndarray | None = None, age: float = 0.0, **fields: Any) -> Image:
        """Publish a frame, `age` seconds old, when the node listens; return it."""
        if picture is None:
            picture = np.full((48, 64, 3), 90, np.uint8)
        stamp = self.node.get_clock().now() - rclpy.duration.Duration(seconds=age)
        message = Image(encoding='rgb8', height=picture.shape[0], width=picture.shape[1])
        message.step = 3 * message.width
        message.data = picture.tobytes()
        message.header.stamp = stamp.to_msg()
        message.header.frame_id = 'camera_optical_frame'
        for name, value in fields.items():
            setattr(message, name, value)
        wait_until(lambda: self.camera.get_subscription_count() > 0)
        self.camera.publish(message)
        return message

    def ask(self, **request: Any) -> AskService.Response:
        return self.ask_later(**request)()

    def ask_later(self, **request: Any) -> Callable[[], AskService.Response]:
        """Ask by service; the returned function waits for the answer."""
        assert self.service.wait_for_service(PATIENCE)
        future = self.service.call_async(AskService.Request(**request))
        return lambda: wait_for(future)

    def send_goal(self, on_feedback: Callable[[Any], None] | None = None, **goal: Any) -> Any:
        """Ask by action; return the goal handle when it was accepted."""
        assert self.action.wait_for_server(PATIENCE)
        sent = self._call(self.action.send_goal_async, AskAction.Goal(**goal), on_feedback)
        handle = sent()
        assert handle.accepted
        return handle

    def result_of(self, goal: Any) -> Callable[[], Any]:
        """Request a goal's result; the returned function waits for it."""
        return self._call(goal.get_result_async)

    def cancel(self, goal: Any) -> None:
        """Cancel a goal and wait until the server has said yes."""
        assert self._call(goal.cancel_goal_async)().goals_canceling

    def _call(self, request: Callable[..., Future], *arguments: Any) -> Callable[[], Any]:
        """Call in the executor's thread: rclpy's action client is not made for two."""
        future = wait_for(self.node.executor.create_task(request, *arguments))
        return lambda: wait_for(future)


def wait_for(future: Future) -> Any:
    """Return the result of a future that another thread completes."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    assert done.wait(PATIENCE), 'nothing came back'
    return future.result()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what no callback tells: the middleware's graph."""
    tick = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError('the condition was not met')
