# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Clients that go away while their questions are open, and clients that are half discovered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robot import PATIENCE, Robot, Spinner, wait_for, wait_until
from unique_identifier_msgs.msg import UUID
from vlm_npu_ros.action import Ask as AskAction
from vlm_npu_ros.client.goal_ids import new_goal_id, new_node_name
from vlm_npu_ros.msg import ErrorCode
from vlm_npu_ros.node import presence
from vlm_npu_ros.node.vlm_node import VlmNode
from vlm_npu_ros.srv import Ask as AskService

MakeNode = Callable[..., VlmNode]
SLOW = {'scripted__answers': ['one' + 200 * ' more'], 'scripted__decode_rate': 2.0}

# Asks by action and by service and watches; says so when all is open, and goes on what it is told.
CLIENT = """
    import sys
    import rclpy
    from rclpy.action import ActionClient
    from vlm_npu_ros.action import Ask as Action, Watch
    from vlm_npu_ros.srv import Ask as Service

    rclpy.init()
    node = rclpy.create_node('client')
    action = ActionClient(node, Action, '/vlm/ask')
    watch = ActionClient(node, Watch, '/vlm/watch')
    service = node.create_client(Service, '/vlm/ask')
    assert action.wait_for_server(30) and service.wait_for_service(30)
    assert watch.wait_for_server(30)
    written = rclpy.Future()
    action.send_goal_async(
        Action.Goal(question='goal'),
        lambda m: m.feedback.partial_answer and written.set_result(None),
    )
    rclpy.spin_until_future_complete(node, written, timeout_sec=30)
    taken = watch.send_goal_async(Watch.Goal(question='watched'))
    rclpy.spin_until_future_complete(node, taken, timeout_sec=30)
    service.call_async(Service.Request(question='request'))
    print('asked', flush=True)
    sys.stdin.readline()
    rclpy.shutdown()
"""
# So that a process that was killed is missed after 3 s and not after 20 s.
LEASE = """\
<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <participant profile_name="short_lease" is_default_profile="true"><rtps><builtin>
    <discovery_config>
      <leaseDuration><sec>3</sec></leaseDuration>
      <leaseAnnouncement><sec>0</sec><nanosec>200000000</nanosec></leaseAnnouncement>
    </discovery_config>
  </builtin></rtps></participant>
</profiles>
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    profiles = tmp_path / 'lease.xml'
    profiles.write_text(LEASE)
    process = subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(CLIENT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'FASTRTPS_DEFAULT_PROFILES_FILE': str(profiles)},
    )
    with process:
        yield process
        process.kill()


def shut_down(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write('\n')
    process.stdin.flush()


def remove(robot: Robot, action: ActionClient) -> None:
    """Destroy it where it cannot be waited for: rclpy 7.1 fails when it comes to that."""
    wait_for(robot.node.executor.create_task(action.destroy))


@pytest.mark.parametrize('leave', [subprocess.Popen.kill, shut_down])
def test_client_that_went_away_frees_its_places(
    active_node: MakeNode,
    robot: Robot,
    client: subprocess.Popen[str],
    leave: Callable[[subprocess.Popen[str]], None],
) -> None:
    robot.node.destroy_client(robot.service)  # of a question's clients, one that stays is enough
    remove(robot, robot.action)
    node = active_node(max_age=600.0, **SLOW)
    robot.publish()
    assert client.stdout and client.stdout.readline() == 'asked\n'
    wait_until(lambda: node._watches and node._watches.count == 1)
    wait_until(lambda: node._queue.depth == 1)
    started = time.monotonic()
    leave(client)
    wait_until(lambda: [p.finish_reason for p in robot.partials if p.done] == 2 * ['cancelled'])
    print(f'{leave.__name__}: freed after {time.monotonic() - started:.1f} s')
    wait_until(lambda: node._watches.count == 0)
    robot.service = robot.node.create_client(AskService, '/vlm/ask')
    assert robot.ask(question='mine', max_new_tokens=1).answer == 'one'


class Graph:
    """
    What the node sees of the graph, in place of the real one.

    clients: their names, of service and action. missing: how many are half discovered.
    looks, checks: how often it was looked at, for those that have gone and for missing ones.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clients: set[object] = set()
        self.missing = 0
        self.looks = self.checks = 0
        for kind in ('action', 'service'):
            monkeypatch.setattr(presence, f'_clients_of_{kind}', lambda *_: self._look())
        monkeypatch.setattr(presence, '_half_discovered', lambda *_: self._check())
        monkeypatch.setattr(presence, '_PERIOD', 0.01)

    def _look(self) -> dict[object, str]:
        self.looks += 1
        return {client: str(client) for client in self.clients}

    def _check(self) -> int:
        self.checks += 1
        return self.missing

    def wait_for_looks(self) -> None:
        """Wait until it has been looked at some more for clients that have gone."""
        enough = self.looks + 5
        wait_until(lambda: self.looks >= enough)

    def wait_for_checks(self) -> None:
        """Wait until it has been looked at some more for missing clients."""
        enough = self.checks + 5
        wait_until(lambda: self.checks >= enough)


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Graph:
    return Graph(monkeypatch)


@pytest.mark.parametrize('stays', [False, True])
def test_question_is_abandoned_when_none_of_its_clients_is_left(
    active_node: MakeNode, robot: Robot, graph: Graph, stays: bool
) -> None:
    node = active_node(max_age=600.0, **SLOW)
    robot.publish()
    graph.clients = {'one', 'two'}
    answer = robot.ask_later(question='what?')
    wait_until(lambda: bool(robot.partials))
    graph.wait_for_looks()
    graph.clients = {'two', 'three'} if stays else {'three'}
    if stays:
        graph.wait_for_looks()
        node.release()
    assert answer().error_code == (ErrorCode.INACTIVE if stays else ErrorCode.CANCELLED)


def test_question_of_a_vlm_client_ends_when_that_one_has_gone(
    active_node: MakeNode, robot: Robot
) -> None:
    active_node(max_age=600.0, **SLOW)
    robot.publish()
    name, context = new_node_name(), robot.node.context
    leaver = Node(name, context=context)
    spinner = Spinner(leaver, SingleThreadedExecutor(context=context))
    action = ActionClient(leaver, AskAction, '/vlm/ask')
    assert action.wait_for_server(PATIENCE)
    goal_id = UUID(uuid=list(new_goal_id(name)))
    goal = AskAction.Goal(question='left?')
    leaver.executor.create_task(action.send_goal_async, goal, None, goal_id)
    wait_until(lambda: bool(robot.partials))
    stays = robot.send_goal(question='kept?')
    spinner.close()
    wait_until(lambda: len({p.request_id for p in robot.partials}) == 2)
    assert [p.finish_reason for p in robot.partials if p.done] == ['cancelled']
    robot.cancel(stays)


def test_question_whose_clients_were_never_seen_is_not_abandoned(
    active_node: MakeNode, robot: Robot, graph: Graph
) -> None:
    node = active_node(max_age=600.0, **SLOW)
    robot.publish()
    answer = robot.ask_later(question='what?')
    wait_until(lambda: bool(robot.partials))
    graph.wait_for_looks()
    graph.clients = {'late'}
    graph.wait_for_looks()
    graph.clients = set()
    graph.wait_for_looks()
    node.release()
    assert answer().error_code == ErrorCode.INACTIVE  # until then it went on


def test_response_waits_for_a_client_that_is_half_discovered(
    active_node: MakeNode, robot: Robot, graph: Graph
) -> None:
    active_node(scripted__answers=['yes'], max_age=600.0)
    robot.publish()
    graph.clients, graph.missing = {'new'}, 1
    assert robot.service.wait_for_service(PATIENCE)
    answer = robot.service.call_async(AskService.Request(question='first?'))
    graph.wait_for_checks()
    wait_until(lambda: any(piece.done for piece in robot.partials))
    assert not answer.done()
    graph.missing = 0
    assert wait_for(answer).answer == 'yes'


@pytest.mark.parametrize('clients', [{'new'}, set()])  # its reader of feedback comes last
def test_goal_waits_for_a_client_that_is_half_discovered(
    active_node: MakeNode, robot: Robot, graph: Graph, clients: set[object]
) -> None:
    active_node(scripted__answers=['yes'], max_age=600.0)
    robot.publish()
    assert robot.action.wait_for_server(PATIENCE)
    graph.clients, graph.missing = clients, 1
    sent = robot._call(robot.action.send_goal_async, AskAction.Goal(question='first?'))
    graph.wait_for_checks()
    assert not robot.partials
    graph.missing = 0
    assert robot.result_of(sent())().result.answer == 'yes'


def test_what_waits_for_a_client_ends_with_the_interfaces(
    active_node: MakeNode, robot: Robot, graph: Graph
) -> None:
    node = active_node(scripted__answers=['yes'], max_age=600.0)
    graph.clients, graph.missing = {'new'}, 1
    answer = robot.ask_later(question='')
    graph.wait_for_checks()
    node.release()
    assert answer().error_code == ErrorCode.BAD_REQUEST


def test_what_never_reads_responses_is_waited_for_once(
    active_node: MakeNode, robot: Robot, graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, '_PATIENCE', 0.2)
    active_node(scripted__answers=['yes'], max_age=600.0)
    robot.publish()
    graph.clients, graph.missing = {'new'}, 1
    assert robot.ask(question='first?').success
    checks = graph.checks
    assert checks > 1  # on a busy machine, there is time for two
    graph.clients = {'new', 'newer'}
    assert robot.ask(question='second?').success
    assert graph.checks == checks + 1
    assert robot.ask(question='third?').success
    assert graph.checks == checks + 1  # both are known


def test_half_discovered_clients_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = {'rq/vlm/askRequest': 'abc', 'rr/vlm/askReply': 'a'}
    node: Any = SimpleNamespace(
        get_publishers_info_by_topic=lambda topic, no_mangle: topics[topic],
        get_subscriptions_info_by_topic=lambda topic, no_mangle: topics[topic],
    )
    assert presence._half_discovered(node, '/vlm/ask', '/vlm/ask') == 2
    monkeypatch.setattr(presence, 'get_rmw_implementation_identifier', lambda: 'rmw_zenoh_cpp')
    assert presence._half_discovered(node, '/vlm/ask', '/vlm/ask') == 0


def test_clients_are_seen_while_they_are_there(robot: Robot) -> None:
    service = robot.node.create_client(AskService, '/mine/ask')
    action = ActionClient(robot.node, AskAction, '/mine/ask')
    for clients_of in (presence._clients_of_service, presence._clients_of_action):
        wait_until(lambda clients_of=clients_of: len(clients_of(robot.node, '/mine/ask')) == 1)
        assert not clients_of(robot.node, '/other/ask')
    robot.node.destroy_client(service)
    remove(robot, action)
    for clients_of in (presence._clients_of_service, presence._clients_of_action):
        wait_until(lambda clients_of=clients_of: not clients_of(robot.node, '/mine/ask'))
