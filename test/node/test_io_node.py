# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The hidden node: coroutines that other threads complete, names, clock, and removal."""

from __future__ import annotations

from collections.abc import Iterator
import threading
import time
from typing import Any

import pytest
import rclpy
from rclpy.action import ActionClient, GoalResponse
from rclpy.action.server import CancelResponse, ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from robot import PATIENCE, Robot, Spinner, wait_for, wait_until
from std_msgs.msg import UInt64
from std_srvs.srv import Trigger
from vlm_npu_ros.action import Ask as AskAction
from vlm_npu_ros.node.io_node import DEPTH, InFlight, IoNode, SpinThread
from vlm_npu_ros.node.vlm_node import VlmNode

CALLS = 50
REMAPPINGS = [
    '--ros-args', '-r', 'main:camera:=front/camera', '-r', 'main:~/ask:=/asked',
    '-r', 'main:~/watch/_action/send_goal:=/watched/_action/send_goal',
]


@pytest.fixture
def main(context: rclpy.Context) -> Iterator[Node]:
    """Give the node beside which the hidden one lives; it is not spun."""
    main = Node('main', namespace='robot', context=context, cli_args=REMAPPINGS)
    yield main
    main.destroy_node()


@pytest.fixture
def io(main: Node) -> Iterator[IoNode]:
    io = IoNode(main)
    yield io
    io.destroy_node()


class Waiting:
    """A service of a hidden node whose calls wait until they are completed from another thread."""

    def __init__(self, io: IoNode) -> None:
        self._io = io
        self.begun: list[Any] = []
        self.service = io.create_service(
            Trigger, '/wait', self._serve, qos_profile=DEPTH,
            callback_group=ReentrantCallbackGroup(),
        )

    async def _serve(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        ended = self._io.completion()
        self.begun.append(ended)
        await ended.wait()
        response.message = str(self.begun.index(ended))
        return response


@pytest.fixture
def client(robot: Robot) -> Any:
    return robot.node.create_client(Trigger, '/wait', qos_profile=DEPTH)


def test_calls_wait_side_by_side_and_other_threads_end_them(io: IoNode, client: Any) -> None:
    waiting = Waiting(io)
    assert client.wait_for_service(PATIENCE)
    calls = [client.call_async(Trigger.Request()) for _ in range(CALLS)]
    wait_until(lambda: len(waiting.begun) == CALLS)
    assert not any(call.done() for call in calls)
    for number, ended in reversed(list(enumerate(waiting.begun))):
        ended.complete()
        assert wait_for(calls[number]).message == str(number)


def test_sleeping_holds_up_nothing(io: IoNode, client: Any) -> None:
    slept: list[float] = []

    async def serve(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        started = time.monotonic()
        await io.sleep(0.5)
        slept.append(time.monotonic() - started)
        return response

    io.create_service(
        Trigger, '/wait', serve, qos_profile=DEPTH, callback_group=ReentrantCallbackGroup()
    )
    assert client.wait_for_service(PATIENCE)
    started = time.monotonic()
    calls = [client.call_async(Trigger.Request()) for _ in range(CALLS)]
    assert all(wait_for(call) for call in calls)
    assert min(slept) >= 0.5
    assert time.monotonic() - started < CALLS * 0.5 / 2
    assert not list(io.timers)


def test_a_callback_that_fails_ends_no_other(
    io: IoNode, client: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    def serve(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        failing.append(0)
        if len(failing) == 1:
            raise RuntimeError('on purpose')
        return response

    failing: list[int] = []
    io.create_service(Trigger, '/wait', serve)
    assert client.wait_for_service(PATIENCE)
    client.call_async(Trigger.Request())
    wait_until(lambda: bool(failing))
    assert wait_for(client.call_async(Trigger.Request()))
    assert 'on purpose' in capfd.readouterr().err


def test_names_are_those_of_the_main_node(main: Node, io: IoNode) -> None:
    assert (io.get_namespace(), io.get_name()) == ('/robot', '_main_io')
    assert main.resolve_topic_name('camera') == '/robot/front/camera'
    assert io.resolve_action_name('~/ask') == '/asked'
    assert io.resolve_action_name('~/watch') == '/watched'
    assert io.resolve_action_name('~/other') == '/robot/main/other'
    io.create_subscription(UInt64, main.resolve_topic_name('camera'), print, 1)
    assert [sub.topic_name for sub in io.subscriptions] == ['/robot/front/camera']
    assert not list(io.services)  # none of its own


def test_clock_is_that_of_the_main_node(main: Node, io: IoNode) -> None:
    before = io.get_clock().now()
    assert before.nanoseconds > 0
    main.set_parameters([Parameter('use_sim_time', value=True)])
    assert io.get_clock().now().nanoseconds == 0
    assert not [sub for sub in io.subscriptions if 'clock' in sub.topic_name]


def test_run_comes_after_what_is_ready(io: IoNode) -> None:
    order: list[int] = []
    for number in range(CALLS):
        io.executor.create_task(order.append, number)
    io.run(lambda: order.append(CALLS))
    assert len(order) == CALLS + 1 and order[-1] == CALLS


def test_run_and_destroy_do_not_hang_when_ros_has_ended(context: rclpy.Context) -> None:
    main = Node('main', context=context)
    io = IoNode(main)
    context.shutdown()
    ran: list[bool] = []
    io.run(lambda: ran.append(True))
    assert ran == [True]
    io.destroy_node()
    main.destroy_node()


def test_actions_and_services_are_removed_under_the_executor(
    io: IoNode, robot: Robot, capfd: pytest.CaptureFixture[str]
) -> None:
    async def execute(goal: ServerGoalHandle) -> AskAction.Result:
        goal.succeed()
        return AskAction.Result()

    async def accept(_: AskAction.Goal) -> GoalResponse:
        return GoalResponse.ACCEPT

    client = ActionClient(robot.node, AskAction, '/vlm/ask')
    for _ in range(20):
        service = io.create_service(Trigger, '/wait', lambda _, response: response)
        action = io.create_action_server(
            AskAction, '/vlm/ask', execute, accept, lambda _: CancelResponse.ACCEPT
        )
        io.run(action.destroy)
        io.run(lambda service=service: io.destroy_service(service))
    action = io.create_action_server(
        AskAction, '/vlm/ask', execute, accept, lambda _: CancelResponse.ACCEPT
    )
    assert client.wait_for_server(PATIENCE)
    assert robot.send_goal(question='still there?').accepted
    io.run(action.destroy)
    assert 'failed' not in capfd.readouterr().err


def test_in_flight_is_waited_for() -> None:
    in_flight = InFlight()
    assert in_flight.wait(0)
    go, inside = threading.Event(), threading.Event()

    def work() -> None:
        with in_flight:
            inside.set()
            go.wait(PATIENCE)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(PATIENCE) and not in_flight.wait(0)
    go.set()
    assert in_flight.wait(PATIENCE)
    thread.join()


def test_main_node_that_is_stuck_holds_up_no_question(
    context: rclpy.Context, robot: Robot
) -> None:
    node = VlmNode(context=context, parameter_overrides=[
        Parameter('backend', value='scripted'), Parameter('scripted.answers', value=['yes']),
    ])
    node.autostart()
    stuck, go_on = threading.Event(), threading.Event()

    def be_stuck() -> None:
        stuck.set()
        go_on.wait(PATIENCE)

    node.create_timer(0.01, be_stuck)
    spinner = Spinner(node, SingleThreadedExecutor(context=context))
    assert stuck.wait(PATIENCE)
    robot.publish()
    assert robot.ask(question='what?').answer == 'yes'
    goal = robot.send_goal(question='what?')
    assert robot.result_of(goal)().result.answer == 'yes'
    go_on.set()
    node.release()
    spinner.close()


def test_executor_is_shut_down_when_nothing_waits_in_it(context: rclpy.Context) -> None:
    # What wakes it is destroyed then: a thread that was about to wait would wait for ever.
    class Watched(SingleThreadedExecutor):
        spinning: SpinThread
        was_alive = True

        def shutdown(self, *arguments: Any, **options: Any) -> bool:
            self.was_alive = self.spinning.is_alive()
            return super().shutdown(*arguments, **options)

    node = rclpy.create_node('spun', context=context)
    executor = Watched(context=context)
    executor.add_node(node)
    executor.spinning = SpinThread(executor, node, 'spin')
    executor.spinning.stop()
    node.destroy_node()
    assert not executor.was_alive
