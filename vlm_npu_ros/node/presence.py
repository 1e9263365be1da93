"""Clients that are only half discovered, and clients that have gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import functools
import time
from typing import Generic, TypeVar

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.utilities import get_rmw_implementation_identifier
from vlm_npu_ros.node.io_node import IoNode

_PERIOD = 1.0  # seconds between checks for clients that have gone
_TICK = 0.02  # seconds between checks for a reader that is not discovered yet
_PATIENCE = 10.0  # seconds; the longest seen, on a busy machine with 2 cores, was 0.9
_ARRIVAL = 2  # checks until the graph shows a new client completely

Question = TypeVar('Question')


@dataclass
class _Open:
    """An open question: the clients that may have asked it, and the checks since it came."""

    clients: set[object]
    looks: int = 0


class Presence(Generic[Question]):
    """
    Watches the clients of a service or an action of `io`.

    rclpy does not tell which client sent a request. So a question belongs to all clients that the
    graph shows within two seconds after it came, and is abandoned when none of them is left. If
    the graph shows no client at all, the question is never abandoned.

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
        self._clients: Callable[[], set[object]]
        if is_action:
            self._clients = functools.partial(_clients_of_action, io, name)
            # A client creates the reader of results after that of goal responses.
            ends = f'{name}/_action/send_goal', f'{name}/_action/get_result'
        else:
            self._clients = functools.partial(_clients_of_service, io, name)
            ends = name, name
        self._half_discovered = functools.partial(_half_discovered, io, *ends)
        self._open: dict[Question, _Open] = {}
        self._given_up = 0  # clients that send requests but never read responses
        self._closed = False
        self._timer = node.create_timer(
            _PERIOD,
            self._look,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def close(self) -> None:
        """Stop checking, and end the waiting of `discovered`."""
        self._closed = True
        self._node.destroy_timer(self._timer)

    async def discovered(self) -> None:
        """
        Wait until responses reach all clients that may have sent requests, 10 s at most.

        A client is discovered piece by piece; its request may come before the node knows the
        reader of the response.
        """
        deadline = time.monotonic() + _PATIENCE
        while (missing := self._half_discovered()) > self._given_up and not self._closed:
            if time.monotonic() > deadline:
                break
            await self._io.sleep(_TICK)
        self._given_up = max(missing, 0)

    @contextmanager
    def watching(self, question: Question) -> Iterator[None]:
        """Call `gone` if the clients of this question leave before the block ends."""
        self._open[question] = _Open(self._clients())
        try:
            yield
        finally:
            del self._open[question]

    def _look(self) -> None:
        present = self._clients() if self._open else set()
        for question, seen in list(self._open.items()):
            seen.looks += 1
            if seen.looks <= _ARRIVAL:
                seen.clients |= present
            elif seen.clients and not seen.clients & present:
                self._gone(question)


def _clients_of_action(node: Node, name: str) -> set[object]:
    """Return the endpoints by which clients of an action receive feedback."""
    endpoints = node.get_subscriptions_info_by_topic(f'{name}/_action/feedback')
    return {bytes(endpoint.endpoint_gid) for endpoint in endpoints}


def _clients_of_service(node: Node, name: str) -> set[object]:
    """Return what tells the clients of a service apart: with rmw_fastrtps each, else by node."""
    if _is_fastrtps():
        # One query instead of one for each node: it is made for every question.
        writers = node.get_publishers_info_by_topic(f'rq{name}Request', no_mangle=True)
        return {bytes(writer.endpoint_gid) for writer in writers}
    clients: set[object] = set()
    for one in node.get_node_names_and_namespaces():
        try:
            services = node.get_client_names_and_types_by_node(*one)
        except NodeNameNonExistentError:  # it has just left
            continue
        if name in (service for service, _ in services):
            clients.add(one)
    return clients


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
