# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Clients that are only half discovered, and clients that have gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
import functools
import time
from typing import Any, Generic, TypeVar

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.utilities import get_rmw_implementation_identifier
from vlm_npu_ros.client.goal_ids import node_name_of, PREFIX
from vlm_npu_ros.node.io_node import IoNode

_PERIOD = 1.0  # seconds between checks for clients that have gone
_TICK = 0.02  # seconds between checks for a reader that is not discovered yet
_PATIENCE = 10.0  # seconds; the longest seen, on a busy machine with 2 cores, was 0.9
_ARRIVAL = 2  # checks until the graph shows a new client completely

Question = TypeVar('Question')


@dataclass
class _Open:
    """
    An open question: its goal id, the clients that may have asked it, and the looks at them.

    named: its goal id tells the client.
    """

    goal_id: bytes
    clients: set[object] = field(default_factory=set)
    named: bool = False
    looks: int = 0

    def see(self, present: dict[object, str]) -> None:
        """Note who is there: the one that the goal id names or else all that none would name."""
        asker = node_name_of(self.goal_id)
        named = {client for client, name in present.items() if name == asker}
        if named:
            self.clients, self.named = named, True
        elif not self.named:
            self.clients |= {c for c, name in present.items() if not name.startswith(PREFIX)}


class Presence(Generic[Question]):
    """
    Watches the clients of a service or an action of `io`.

    rclpy does not tell which client sent a request. The goal ids of a VlmClient do. Any other
    question belongs to all clients that the graph shows within two seconds after it came, without
    the VlmClients, and is abandoned when none of them is left. If the graph shows no client at
    all, the question is never abandoned.

        clients.look()  # in the callback
        with clients.watching(question):
            await its_end
        await clients.discovered()

    node: looks at the graph every second, so that `io` has less to wait for.
    name: full name of the service or, with `is_action`, of the action.
    gone: called, in a thread of `node`, with a watched question whose clients have gone.
    """

    def __init__(
        self,
        node: Node,
        io: IoNode,
        name: str,
        gone: Callable[[Question], None],
        is_action: bool,
    ) -> None:
        self._node, self._io, self._gone = node, io, gone
        self._is_action = is_action
        self._clients: Callable[[], dict[object, str]]
        if is_action:
            self._clients = functools.partial(_clients_of_action, io, name)
            # A client creates the reader of results after that of goal responses.
            ends = f'{name}/_action/send_goal', f'{name}/_action/get_result'
        else:
            self._clients = functools.partial(_clients_of_service, io, name)
            ends = name, name
        self._half_discovered = functools.partial(_half_discovered, io, *ends)
        self._present: dict[object, str] = {}  # at the last question; node names by client
        self._discovered: set[object] = set()  # clients that need not be waited for
        self._open: dict[Question, _Open] = {}
        self._given_up = 0  # clients that send requests but never read responses
        self._closed = False
        self._timer = node.create_timer(
            _PERIOD,
            self._look_again,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def close(self) -> None:
        """Stop checking, and end the waiting of `discovered`."""
        self._closed = True
        self._node.destroy_timer(self._timer)

    def look(self) -> None:
        """Note which clients are there, as a question comes: one of them has asked it."""
        self._present = self._clients()

    async def discovered(self) -> None:
        """
        Wait until responses reach all clients that were there at the last look, 10 s at most.

        A client is discovered piece by piece; its request may come before the node knows the
        reader of the response.
        """
        # The readers of feedback, by which clients of an action are known, may still be missing.
        known = self._present and self._present.keys() <= self._discovered
        if known and not self._is_action:
            return
        deadline = time.monotonic() + _PATIENCE
        while (missing := self._half_discovered()) > self._given_up and not self._closed:
            if time.monotonic() > deadline:
                break
            await self._io.sleep(_TICK)
        self._given_up = max(missing, 0)
        self._discovered = set(self._present)

    @contextmanager
    def watching(self, question: Question, goal_id: bytes = b'') -> Iterator[None]:
        """Call `gone` if the clients of this question leave before the block ends."""
        self._open[question] = _Open(goal_id)
        self._open[question].see(self._present)
        try:
            yield
        finally:
            del self._open[question]

    def _look_again(self) -> None:
        present = self._clients() if self._open else {}
        for question, seen in list(self._open.items()):
            seen.looks += 1
            if seen.looks <= _ARRIVAL:
                seen.see(present)
            elif seen.clients and not seen.clients & present.keys():
                self._gone(question)


def _clients_of_action(node: Node, name: str) -> dict[object, str]:
    """Find the endpoints by which clients of an action receive feedback, with their nodes."""
    return _by_gid(node.get_subscriptions_info_by_topic(f'{name}/_action/feedback'))


def _clients_of_service(node: Node, name: str) -> dict[object, str]:
    """Find what tells the clients of a service apart: with rmw_fastrtps each, else by node."""
    if _is_fastrtps():
        # One query instead of one for each node: it is made for every question.
        return _by_gid(node.get_publishers_info_by_topic(f'rq{name}Request', no_mangle=True))
    clients: dict[object, str] = {}
    for one in node.get_node_names_and_namespaces():
        try:
            services = node.get_client_names_and_types_by_node(*one)
        except NodeNameNonExistentError:  # it has just left
            continue
        if name in (service for service, _ in services):
            clients[one] = one[0]
    return clients


def _by_gid(endpoints: Iterable[Any]) -> dict[object, str]:
    return {bytes(endpoint.endpoint_gid): endpoint.node_name for endpoint in endpoints}


def _half_discovered(node: Node, request: str, response: str) -> int:
    """
    Count request writers of one service beyond the response readers of another.

    rmw_fastrtps delays a response to an unknown reader for 100 ms and then drops it, so that the
    client waits forever (ros2/rmw_fastrtps#842). Other middlewares wait by themselves, and may use
    other names than those of DDS, so nothing is counted for them.
    """
    if not _is_fastrtps():
        return 0
    writers = node.get_publishers_info_by_topic(f'rq{request}Request', no_mangle=True)
    readers = node.get_subscriptions_info_by_topic(f'rr{response}Reply', no_mangle=True)
    return len(writers) - len(readers)


def _is_fastrtps() -> bool:
    return get_rmw_implementation_identifier().startswith('rmw_fastrtps')
