"""Who may have asked: clients that are only half discovered, and clients that have gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import functools
import time
from typing import Generic, TypeVar

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.utilities import get_rmw_implementation_identifier
from vlm_npu_ros.node.io_node import IoNode

_PERIOD = 1.0  # seconds between looks for clients that have gone
_TICK = 0.02  # seconds between looks for a reader that is not discovered yet
_PATIENCE = 10.0  # seconds; the longest seen, on a busy machine of 2 cores, was 0.9
_PARTICIPANT = 12  # bytes of a DDS gid; the others tell a participant's endpoints apart

_ARRIVAL = 2  # looks until the graph shows all of a client that has just come

Question = TypeVar('Question')


@dataclass
class _Open:
    """A question: the clients that may have asked it, and the looks since it came."""

    clients: set[object]
    looks: int = 0


class Presence(Generic[Question]):
    """
    Looks after the clients of a service or an action; for callbacks of `io` only.

    rclpy does not say which client has sent a request. So a question belongs to all clients that
    the graph shows in the two seconds after it came, and is abandoned when none of them is left.
    Where the graph shows none at all, it never is.

    name: of the service or, with `is_action`, of the action, as the graph knows it.
    gone: called with a question that is watched over and whose clients have gone.
    """

    def __init__(
        self, io: IoNode, name: str, gone: Callable[[Question], None], is_action: bool
    ) -> None:
        self._io, self._gone = io, gone
        self._clients: Callable[[], set[object]]
        if is_action:
            self._clients = functools.partial(_clients_of_action, io, name)
            # A client makes the reader of its results after that of its acceptances.
            ends = f'{name}/_action/send_goal', f'{name}/_action/get_result'
        else:
            self._clients = functools.partial(_clients_of_service, io, name)
            ends = name, name
        self._half_discovered = functools.partial(_half_discovered, io, *ends)
        self._open: dict[Question, _Open] = {}
        self._given_up: Counter[bytes] = Counter()
        self._closed = False
        self._timer = io.create_timer(
            _PERIOD,
            self._look,
            callback_group=ReentrantCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def close(self) -> None:
        """Stop looking, and let what waits for a client go on."""
        self._closed = True
        self._io.run(lambda: self._io.destroy_timer(self._timer))

    async def discovered(self) -> None:
        """
        Wait until responses reach all clients that may have sent requests, 10 s at most.

        A client is discovered piece by piece, and its request may come before the node knows the
        reader of the response.
        """
        deadline = time.monotonic() + _PATIENCE
        while (missing := self._half_discovered() - self._given_up) and not self._closed:
            if time.monotonic() > deadline:
                self._given_up |= missing  # what sends requests but never reads responses
                return
            await self._io.sleep(_TICK)

    @contextmanager
    def watching(self, question: Question) -> Iterator[None]:
        """Call `gone` if the clients of this question leave meanwhile."""
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
    """Give the endpoints by which clients of an action hear its feedback."""
    endpoints = node.get_subscriptions_info_by_topic(f'{name}/_action/feedback')
    return {bytes(endpoint.endpoint_gid) for endpoint in endpoints}


def _clients_of_service(node: Node, name: str) -> set[object]:
    """Give the names of the nodes that have a client of a service."""
    clients: set[object] = set()
    for one in node.get_node_names_and_namespaces():
        try:
            services = node.get_client_names_and_types_by_node(*one)
        except NodeNameNonExistentError:  # it has just left
            continue
        if name in (service for service, _ in services):
            clients.add(one)
    return clients


def _half_discovered(node: Node, request: str, response: str) -> Counter[bytes]:
    """
    Count, by participant, the writers of a service's requests beyond the readers of its responses.

    For rmw_fastrtps, which holds up a response to a reader that it does not know for 100 ms and
    then drops it, so that the client waits forever (ros2/rmw_fastrtps#842). Other middlewares wait
    by themselves, and may use other names than these of DDS: for them, nothing is counted.
    """
    if not get_rmw_implementation_identifier().startswith('rmw_fastrtps'):
        return Counter()
    writers = node.get_publishers_info_by_topic(f'rq{request}Request', no_mangle=True)
    readers = node.get_subscriptions_info_by_topic(f'rr{response}Reply', no_mangle=True)
    count_of = [
        Counter(bytes(endpoint.endpoint_gid[:_PARTICIPANT]) for endpoint in endpoints)
        for endpoints in (writers, readers)
    ]
    return count_of[0] - count_of[1]
