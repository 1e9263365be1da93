"""Questions of clients whose readers the graph does not show, or not yet."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.callback_groups import ReentrantCallbackGroup
from robot import Robot, wait_until
from vlm_npu_ros.action import Ask as AskAction
from vlm_npu_ros.msg import ErrorCode
from vlm_npu_ros.node import discovery
from vlm_npu_ros.node.discovery import Discovery
from vlm_npu_ros.node.vlm_node import VlmNode
from vlm_npu_ros.srv import Ask as AskService

MakeNode = Callable[..., VlmNode]
READER, OTHER, WRITER = bytes([*range(15), 4]), bytes([*range(1, 16), 4]), bytes([*range(15), 3])


class Graph:
    """
    What a node sees of the graph: no readers of responses while they are `hidden`.

    taken: questions that the node has begun with.
    """

    def __init__(self, node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hidden, self.looks = True, 0
        self.taken: list[str] = []
        check = node._server._check
        monkeypatch.setattr(
            node._server, '_check', lambda r: self.taken.append(r.question) or check(r)
        )
        self._real = node.get_subscriptions_info_by_topic
        monkeypatch.setattr(node, 'get_subscriptions_info_by_topic', self._look)

    def _look(self, topic: str, no_mangle: bool = False) -> list[Any]:
        if self.hidden and no_mangle and topic.startswith('rr/'):
            self.looks += 1
            return []
        return self._real(topic, no_mangle)


@pytest.fixture
def node(active_node: MakeNode, robot: Robot) -> VlmNode:
    """Give a node that has a frame."""
    node = active_node(scripted__answers=['yes'], max_age=600.0)
    robot.publish()
    assert robot.ask(question='ready?').success
    return node


def test_request_is_held_until_its_reader_is_discovered(
    node: VlmNode, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph(node, monkeypatch)
    robot.node.destroy_client(robot.service)
    robot.service = robot.node.create_client(AskService, '/vlm/ask')
    answer = robot.ask_later(question='first?')
    wait_until(lambda: graph.looks > 3)
    assert graph.taken == []
    graph.hidden = False
    assert answer().answer == 'yes'
    assert graph.taken == ['first?']


def test_goal_and_its_result_are_held_until_their_readers_are_discovered(
    node: VlmNode, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph(node, monkeypatch)
    sent = robot._call(robot.action.send_goal_async, AskAction.Goal(question='first?'), None)
    wait_until(lambda: graph.looks > 9)
    assert graph.taken == []
    graph.hidden = False
    goal = sent()
    assert goal.accepted
    assert robot.result_of(goal)().result.answer == 'yes'


def test_what_is_held_ends_with_the_interfaces(
    node: VlmNode, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph(node, monkeypatch)
    node._server._discovery._readers.clear()
    answer = robot.ask_later(question='too late?')
    wait_until(lambda: graph.looks > 3)
    node.release()
    assert answer().error_code == ErrorCode.INACTIVE


@pytest.fixture
def going(robot: Robot) -> tuple[Discovery, list[str]]:
    """Give a look-out, and a list of what goes on."""
    return Discovery(robot.node, ['/other/ask'], ReentrantCallbackGroup()), []


@pytest.mark.parametrize('gid', [None, WRITER])
def test_what_is_no_readers_goes_on_at_once(
    going: tuple[Discovery, list[str]], gid: bytes | None
) -> None:
    going[0].when_found(gid, lambda: going[1].append('gone'))
    assert going[1] == ['gone']


def test_other_middlewares_wait_themselves(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        discovery, 'get_rmw_implementation_identifier', lambda: 'rmw_cyclonedds_cpp'
    )
    gone: list[bool] = []
    Discovery(robot.node, ['/other/ask'], ReentrantCallbackGroup()).when_found(
        READER, lambda: gone.append(True)
    )
    assert gone


def test_what_is_never_discovered_goes_on_in_the_end(
    going: tuple[Discovery, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, gone = going
    monkeypatch.setattr(discovery, '_PATIENCE', 0.1)
    for name in ('first', 'second'):
        looks.when_found(READER, lambda name=name: gone.append(name))
    assert not gone
    wait_until(lambda: len(gone) == 2)
    assert gone == ['first', 'second']


def test_nobody_is_overtaken(
    going: tuple[Discovery, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, gone = going
    looks.when_found(READER, lambda: gone.append('held'))
    assert not gone
    monkeypatch.setattr(
        looks._node, 'get_subscriptions_info_by_topic', lambda *_, **__: [
            SimpleNamespace(endpoint_gid=[*gid, *(8 * [0])]) for gid in (READER, OTHER)
        ],
    )
    looks.when_found(OTHER, lambda: gone.append('known'))
    wait_until(lambda: len(gone) == 2)
    assert gone == ['held', 'known']
