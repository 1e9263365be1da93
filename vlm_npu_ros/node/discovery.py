"""Requests that come before the middleware knows where to send the response."""

from __future__ import annotations

from collections.abc import Callable, Iterable
import threading
import time

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier

_PERIOD = 0.02  # seconds between looks at the graph, while a request waits
_PATIENCE = 10.0  # seconds; the longest seen, on a busy machine of 2 cores, was 0.9
_READER = 0x04  # in the last byte of a GUID: it is a reader's (DDSI-RTPS 2.5, 9.3.1.2)


class Discovery:
    """
    Holds a request back until the reader of its response is discovered.

    A client is discovered piece by piece, and its request may come before its reader. rmw_fastrtps
    then holds up who responds for 100 ms, and drops the response: the client waits for ever.

    services: names of those that are responded to.
    group: of the callback in which requests go on that were held back.
    """

    def __init__(self, node: Node, services: Iterable[str], group: CallbackGroup) -> None:
        self._node = node
        self._topics = [f'rr{node.resolve_service_name(name)}Reply' for name in services]
        self._holds = get_rmw_implementation_identifier().startswith('rmw_fastrtps')
        self._lock = threading.Lock()
        self._readers: set[bytes] = set()  # when the graph was looked at last
        self._held: list[tuple[bytes | None, float, Callable[[], object]]] = []
        self._timer = node.create_timer(
            _PERIOD, self._look, group, Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._timer.cancel()

    def close(self) -> None:
        """Let all requests go on, those that are still to come, too."""
        with self._lock:
            self._holds = False
            self._node.destroy_timer(self._timer)
        self._look()

    def when_found(self, gid: bytes | None, go_on: Callable[[], object]) -> None:
        """
        Call `go_on` once the reader is discovered: at once, as a rule, or after 10 s at last.

        gid: of the request, see gid_of; at once if it is None, or that of no reader.
        """
        with self._lock:
            known = self._knows(gid)
            if not known:
                self._held.append((gid, time.monotonic(), go_on))
                self._timer.reset()
        if known:
            go_on()
        else:
            self._look()

    def _knows(self, gid: bytes | None) -> bool:
        if gid is None or not self._holds or not gid[-1] & _READER:
            return True
        return gid in self._readers and not self._held  # nobody is overtaken

    def _look(self) -> None:
        readers = {
            bytes(reader.endpoint_gid[:16])
            for topic in self._topics
            for reader in self._node.get_subscriptions_info_by_topic(topic, no_mangle=True)
        }
        overdue = time.monotonic() - _PATIENCE
        with self._lock:
            self._readers = readers
            held, self._held = self._held, []
            going = []
            for one in held:
                gid, since, go_on = one
                if gid in readers or since < overdue or not self._holds:
                    going.append(go_on)
                else:
                    self._held.append(one)
            if self._holds and not self._held:
                self._timer.cancel()
        for go_on in going:
            go_on()
