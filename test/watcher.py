# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A client that watches."""

from __future__ import annotations

from collections.abc import Callable
import queue
from typing import Any

from rclpy.action import ActionClient
from rclpy.qos import QoSProfile
from robot import PATIENCE, Robot, wait_for
from vlm_npu_ros.action import Watch as WatchAction


class Watcher:
    """A client of the Watch action, in the robot's node."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._client = ActionClient(
            robot.node,
            WatchAction,
            '/vlm/watch',
            goal_service_qos_profile=QoSProfile(depth=1000),
            result_service_qos_profile=QoSProfile(depth=1000),
            feedback_sub_qos_profile=QoSProfile(depth=1000),
        )

    def watch(self, **goal: Any) -> Watching:
        assert self._client.wait_for_server(PATIENCE)
        told: queue.Queue[Any] = queue.Queue()
        handle = self._call(
            self._client.send_goal_async,
            WatchAction.Goal(**{'question': 'is the path clear?', **goal}),
            lambda message: told.put(message.feedback),
        )()
        assert handle.accepted
        return Watching(self._call, handle, told)

    def _call(self, request: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        """Call in the executor's thread: rclpy's action client is not made for two."""
        future = wait_for(self._robot.node.executor.create_task(request, *arguments))
        return lambda: wait_for(future)


class Watching:
    """One watch, and what it tells."""

    def __init__(
        self, call: Callable[..., Callable[[], Any]], handle: Any, told: queue.Queue[Any]
    ) -> None:
        self._call = call
        self._handle = handle
        self.told = told
        self._result = call(handle.get_result_async)

    def hear(self) -> Any:
        return self.told.get(timeout=PATIENCE)

    def cancel(self) -> None:
        """Cancel, and wait until the server has said yes."""
        assert self._call(self._handle.cancel_goal_async)().goals_canceling

    def end(self) -> Any:
        return self._result()
