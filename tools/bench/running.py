# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The node, its camera and its callers as processes, and clients that ask them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
import ctypes
from dataclasses import dataclass, field
import os
from pathlib import Path
import sys
import time
from typing import Any
import uuid

from builtin_interfaces.msg import Time
import numpy as np
import psutil
from rclpy.qos import QoSProfile
from rclpy.task import Future
from vlm_npu_ros.action import Ask as AskAction
from vlm_npu_ros.demo.children import ChildDiedError, Children  # noqa: F401
from vlm_npu_ros.msg import PartialAnswer
from vlm_npu_ros.srv import Ask as AskService

_TOOLS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_TOOLS / 'robustness'), str(_TOOLS / 'demo')]

from asking import Client, duration, NodeError, Peer  # noqa: E402, F401, I100
from processes import child_of  # noqa: E402, F401
from stand import prepare, Stand  # noqa: E402, F401
from table import save, text  # noqa: E402, F401

NODE = 'vlm_npu_ros.node.vlm_node'
CAMERA = 'vlm_npu_ros.demo.scene_camera'
SMALL = {'width': 64, 'height': 48, 'rate': 20.0, 'reliability': 'reliable', 'scene_period': 0.0}
# A frame is encoded when a question needs one, so that nothing runs beside what is measured.
AT_ONCE = {
    'backend': 'scripted',
    'scripted.answers': ['yes'],
    'encode_rate': 0.0,
    'max_age': 3600.0,
    'image_reliability': 'reliable',
    'timeout': 30.0,  # before the client gives up, so that the node can say why
}
_PATIENCE = 60.0  # seconds
_RETRY = 10.0  # seconds; a bare server loses its answer to a client that is not discovered yet
_PIECES = 3.0  # seconds that they may come later than the result
_READY = '1 0'  # a question, and an order of one piece, see stamps.py
_DEPTH = QoSProfile(depth=10000)
Program = tuple[str, Mapping[str, Any]]


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Extend an environment so that the programs of this folder are found."""
    paths = (str(_TOOLS / 'bench'), more.get('PYTHONPATH', ''), *sys.path)
    return {**os.environ, **more, 'PYTHONPATH': os.pathsep.join(filter(None, paths))}


@contextmanager
def running(more: Mapping[str, str] | None = None, /, **programs: Program) -> Iterator[Peer]:
    """
    Run programs, by name: module and parameters; yield a node that can talk to them.

    more: variables of their environment.
    """
    with Children(_environment(more or {})) as children, Peer('bench') as peer:
        for name, (module, parameters) in programs.items():
            children.start(name, module, parameters)
        peer.check = children.check
        try:
            yield peer
        except NodeError as error:
            tails = (f'{name}: {children.log_tail(name)}' for name in programs)
            raise NodeError('\n'.join([str(error), *tails])) from error


def process_of(module: str) -> psutil.Process:
    """Find the process that runs a module, among those that we have started."""
    return next(p for p in psutil.Process().children() if module in p.cmdline())


def cpu_seconds(process: psutil.Process) -> float:
    """Measure the processor time that a process and its children have taken."""
    # Not from /proc, which counts in hundredths of a second.
    clocks = (_clock_of(p.pid) for p in (process, *process.children(recursive=True)))
    return sum(map(time.clock_gettime, clocks))


def _clock_of(pid: int) -> int:
    """Get the id of a process's clock, see clock_getcpuclockid(3); raise OSError."""
    clock = ctypes.c_int()
    error = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise OSError(error, os.strerror(error))
    return clock.value


@dataclass
class Answer:
    """
    What came back, and when, in milliseconds after the question was sent.

    pieces: arrival, time.monotonic_ns(), and text, of the topic or of the feedback.
    firsts: when the first piece came, by each of them.
    """

    sent: float
    total: float = 0.0
    firsts: dict[str, float] = field(default_factory=dict)
    pieces: list[tuple[int, str]] = field(default_factory=list)
    ended: bool = False
    result: Any = None

    def since(self) -> float:
        """Measure the milliseconds since it was sent."""
        return 1000 * (time.perf_counter() - self.sent)

    def first(self, way: str = 'topic') -> float:
        """Tell when the first piece came; raise NodeError if none did."""
        if way not in self.firsts:
            raise NodeError(f'No piece of the answer came by {way}')
        return self.firsts[way]


class Asker:
    """
    Asks one question after the other, by service or action.

    With the parts that an action is made of, as rclpy's action client looks at the states of all
    goals of the last minute whenever one of them changes.

    listens: to the topic of partial answers and to the feedback; () = to neither.
    """

    def __init__(self, peer: Peer, name: str, listens: tuple[str, ...] = ()) -> None:
        self._peer, self._name, self._listens = peer, name, listens
        self._answer = Answer(0.0)
        node = peer.node
        self._service = node.create_client(AskService, name, qos_profile=_DEPTH)
        self._send = node.create_client(
            AskAction.Impl.SendGoalService, f'{name}/_action/send_goal', qos_profile=_DEPTH
        )
        self._result = node.create_client(
            AskAction.Impl.GetResultService, f'{name}/_action/get_result', qos_profile=_DEPTH
        )
        self._heard = []
        # First, as it comes first: an executor has no other order for what comes together.
        if 'feedback' in listens:
            self._heard.append(node.create_subscription(
                AskAction.Impl.FeedbackMessage, f'{name}/_action/feedback', self._on_feedback,
                _DEPTH,
            ))
        if 'topic' in listens:
            topic = name.replace('/ask', '/partial_answer')
            self._heard.append(
                node.create_subscription(PartialAnswer, topic, self._on_piece, _DEPTH)
            )

    def find(self) -> None:
        """Wait until an answer comes."""
        clients = self._service, self._send, self._result
        self._until(lambda: all(client.service_is_ready() for client in clients), 'find it')
        deadline = time.monotonic() + _PATIENCE
        while problem := self._try():
            self._peer.check()
            if time.monotonic() > deadline:
                raise NodeError(f'{self._name} gives no answer: {problem}')
        if self._heard:
            self._until(lambda: all(s.get_publisher_count() for s in self._heard), 'hear it')

    def _try(self) -> str:
        """Ask once; tell what is missing, '' if nothing is."""
        answer = self._begin()
        asked = self._service.call_async(AskService.Request(question=_READY))
        if not self._peer.wait(asked.done, _RETRY):
            return 'nothing came back'
        if asked.result().error_msg or 'topic' not in self._listens:
            return str(asked.result().error_msg)
        # The node may not have discovered the listener yet.
        return '' if self._peer.wait(lambda: answer.firsts, _PIECES) else 'no piece of it came'

    def close(self) -> None:
        """Stop listening."""
        node = self._peer.node
        for subscription in self._heard:
            node.destroy_subscription(subscription)
        for client in (self._service, self._send, self._result):
            node.destroy_client(client)

    def by_service(self, **fields: Any) -> Answer:
        """Ask, and wait until the answer is complete."""
        request = AskService.Request(**fields)
        answer = self._begin()
        future = self._service.call_async(request)
        self._until(future.done, 'answer')
        return self._end(answer, future.result(), 'topic')

    def by_action(self, **fields: Any) -> Answer:
        """Send a goal, and wait for its result."""
        request = AskAction.Impl.SendGoalService.Request(goal=AskAction.Goal(**fields))
        request.goal_id.uuid = np.frombuffer(uuid.uuid4().bytes, np.uint8)
        answer = self._begin()
        sent = self._send.call_async(request)
        self._until(sent.done, 'accept a goal')
        result: Future = self._result.call_async(
            AskAction.Impl.GetResultService.Request(goal_id=request.goal_id)
        )
        self._until(result.done, 'end a goal')
        return self._end(answer, result.result().result, 'topic', 'feedback')

    def all_pieces(self, answer: Answer, count: int) -> None:
        """Wait until so many pieces have come; fewer may, in the end."""
        self._peer.wait(lambda: len(answer.pieces) >= count, _PIECES)

    def _begin(self) -> Answer:
        self._answer = Answer(time.perf_counter())
        return self._answer

    def _end(self, answer: Answer, result: Any, *ways: str) -> Answer:
        answer.total, answer.result = answer.since(), result
        if not result.success:
            raise NodeError(f'{self._name}: {result.error_msg}')
        # The result may be here first; a piece that comes later would count for the next answer.
        expected = {way for way in ways if way in self._listens}
        self._peer.wait(lambda: expected <= answer.firsts.keys(), _PIECES)
        return answer

    def _on_piece(self, piece: PartialAnswer) -> None:
        now, answer = time.monotonic_ns(), self._answer
        if piece.sequence == 0:
            answer.firsts['topic'] = answer.since()
        if piece.delta:
            answer.pieces.append((now, piece.delta))

    def _on_feedback(self, message: Any) -> None:
        now, answer = time.monotonic_ns(), self._answer
        if message.feedback.partial_answer:
            answer.firsts.setdefault('feedback', answer.since())
            answer.pieces.append((now, message.feedback.partial_answer))

    def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not self._peer.wait(condition, 1.0):
            self._peer.check()
            if time.monotonic() > deadline:
                raise NodeError(f'{self._name} did not {what} within {_PATIENCE:.0f} s')


def moment(peer: Peer, seconds: float = 0.0) -> Time:
    """Make a stamp of so many seconds ago."""
    now = peer.node.get_clock().now().nanoseconds - round(1e9 * seconds)
    return Time(sec=now // 10**9, nanosec=now % 10**9)
