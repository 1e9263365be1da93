"""Who has asked, and whether they are still there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import functools
import os
import struct
from typing import Any, Generic, TypeVar

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

_PERIOD = 1.0  # seconds between looks at the graph
_PARTICIPANT = 12  # bytes of a gid; the others tell a participant's endpoints apart
_ADDRESS = struct.Struct('P')
_REQUEST_ID = struct.Struct('16sq')  # rmw_request_id_t of all ROS versions since Humble


def gid_of(header: Any) -> bytes | None:
    """
    Return the 16 bytes that tell who sent a request; None if that can not be told.

    In rmw_fastrtps they are those of the reader that waits for the response.

    rclpy has no name for the writer_guid, which is in each header: it is read from where pybind11
    keeps the address of the C structure, right behind the head of the Python object. The kernel
    does the reading, so that a wrong address is an error and no crash.
    """
    request_id = getattr(header, 'request_id', header)
    if type(type(request_id)).__name__ != 'pybind11_type':
        return None
    try:
        memory = _memory()
        (address,) = _ADDRESS.unpack(
            os.pread(memory, _ADDRESS.size, id(request_id) + object.__basicsize__)
        )
        guid, number = _REQUEST_ID.unpack(os.pread(memory, _REQUEST_ID.size, address))
    except (OSError, OverflowError, struct.error):
        return None
    return bytes(guid) if number == request_id.sequence_number else None


@functools.cache
def _memory() -> int:
    """Return the descriptor of this process's memory, open from now on."""
    return os.open('/proc/self/mem', os.O_RDONLY)


Question = TypeVar('Question')


@dataclass
class _Watch:
    client: bytes
    seen: bool


class Clients(Generic[Question]):
    """
    Tells when a client has gone whose question is open.

    A client is the participant (rclpy: the context) that has endpoints of the service or the
    action `name`. One that was never seen in the graph, as where the middleware uses other gids
    there than in requests, is not missed either.

    gone: called with the question, or what else was watched over.
    """

    def __init__(self, node: Node, name: str, gone: Callable[[Question], None]) -> None:
        self._node = node
        self._gone = gone
        self._feedback = f'{name}/_action/feedback'
        self._requests = f'rq{node.resolve_service_name(name)}Request'
        self._watches: dict[Question, _Watch] = {}
        self._seen: set[bytes] = set()  # when the graph was looked at last
        self._timer = node.create_timer(
            _PERIOD,
            self._look,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def close(self) -> None:
        """Stop looking."""
        self._node.destroy_timer(self._timer)

    def watch(self, ask: Question, gid: bytes | None) -> None:
        """
        Look after a question from now on, where its client is known.

        gid: of the request, see gid_of.
        """
        if gid is not None:
            client = gid[:_PARTICIPANT]
            seen = client in self._seen or client in self._present()
            self._watches[ask] = _Watch(client, seen)

    def forget(self, ask: Question) -> None:
        """Do not look after a question any more."""
        self._watches.pop(ask, None)

    def _present(self) -> set[bytes]:
        endpoints = [
            *self._node.get_subscriptions_info_by_topic(self._feedback),
            *self._node.get_publishers_info_by_topic(self._requests, no_mangle=True),
        ]
        self._seen = {bytes(endpoint.endpoint_gid[:_PARTICIPANT]) for endpoint in endpoints}
        return self._seen

    def _look(self) -> None:
        watches = list(self._watches.items())
        present = self._present() if watches else set()
        for ask, watch in watches:
            if watch.client in present:
                watch.seen = True
            elif watch.seen:
                self._gone(ask)
