# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Measure how soon goals are accepted and cancelled while the model is busy.

    make goals                       (or: tools/with_ros python3 tools/robustness/goals.py --help)

Nav2's behaviour trees give a goal 20 ms to be accepted, and as much to be cancelled. The real node
runs as a process, over DDS, with a camera, a slow model and a queue that others fill; a client in
another process sends goals and cancels them, every other one to a bare rclpy action server, which
tells what ROS takes by itself on this machine. Exit status 1 if one goal in a hundred or more is
late at the node, and not at the bare server.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import itertools
import os
from pathlib import Path
import random
import sys
import time
from typing import Any
import uuid

from asking import NodeError, Peer
import numpy as np
from rclpy.task import Future
from stand import prepare
from table import save, text
from vlm_npu_ros.action import Ask
from vlm_npu_ros.demo.children import ChildDiedError, Children

BAR = 20.0  # milliseconds; Nav2's default server_timeout
OTHERS = 8
BARE = 'alone'
SHARE = 99  # per cent of the goals that must keep the bar
PARAMETERS = {
    'backend': 'scripted',
    'scripted.answers': [4000 * 'word '],
    'scripted.encode_seconds': 0.3,
    'scripted.prefill_rate': 1000.0,
    'scripted.decode_rate': 15.0,
    'max_new_tokens': 4000,  # of the 4096 that the context holds: nobody's answer ends meanwhile
    'queue_size': OTHERS,
}
CAMERA = {'scenes': [1], 'width': 640, 'height': 480, 'rate': 10.0, 'period': 60.0}
_PATIENCE = 120.0  # seconds, on a busy machine
_HOLD = 0.03  # seconds until a goal is cancelled, at most
_FIGURES = ('accepted', 'cancel answered', 'result after cancel')


class Goal:
    """
    A goal that was sent and cancelled.

    stages: in its feedback. position: in the queue, as the last feedback said.
    milliseconds: what it took, by the names in _FIGURES.
    """

    def __init__(self) -> None:
        self.id = np.frombuffer(uuid.uuid4().bytes, np.uint8)
        self.stages: list[str] = []
        self.position: int | None = None
        self.milliseconds: dict[str, float] = {}
        self._open: dict[str, tuple[float, Future]] = {}

    def expect(self, figure: str, started: float, answer: Future) -> None:
        """Measure the time to an answer; started: time.perf_counter()."""
        self._open[figure] = started, answer

    def has_all(self) -> bool:
        """
        Note which answers have come; tell whether all have.

        To be called whenever the executor has done something: callbacks of futures come later.
        """
        now = time.perf_counter()
        for figure, (started, answer) in list(self._open.items()):
            if answer.done():
                self.milliseconds[figure] = 1000 * (now - started)
                del self._open[figure]
        return not self._open


class Server:
    """
    An action server as its client sees it: the services and the topic that an action is made of.

    Not rclpy's action client: that turns the states of all goals of the last minute into Python
    objects whenever one of them changes, and we would measure that.
    """

    def __init__(self, peer: Peer, name: str) -> None:
        self.name = name
        self._peer = peer
        self._goal: Goal | None = None
        self._send, self._cancel, self._result = (
            peer.node.create_client(kind, f'{name}/_action/{service}')
            for kind, service in (
                (Ask.Impl.SendGoalService, 'send_goal'),
                (Ask.Impl.CancelGoalService, 'cancel_goal'),
                (Ask.Impl.GetResultService, 'get_result'),
            )
        )
        peer.node.create_subscription(
            Ask.Impl.FeedbackMessage, f'{name}/_action/feedback', self._on_feedback, 100
        )

    def find(self) -> None:
        """Wait until it is there."""
        self._until(
            lambda: all(c.service_is_ready() for c in (self._send, self._cancel, self._result)),
            'was not found',
        )

    def cancelled_goal(self, *stages: str) -> Goal:
        """Send a goal and cancel it, a little later or when it comes to one of the stages."""
        goal = self._goal = Goal()
        request = Ask.Impl.SendGoalService.Request()
        request.goal_id.uuid = goal.id
        request.goal.question, request.goal.timeout.sec = 'what do you see?', 600
        started = time.perf_counter()
        sent = self._send.call_async(request)
        goal.expect('accepted', started, sent)
        self._until(goal.has_all, 'did not answer a goal')
        if not sent.result().accepted:
            raise NodeError(f'{self.name} refused a goal')
        result = self._result.call_async(
            Ask.Impl.GetResultService.Request(goal_id=request.goal_id)
        )
        if stages:
            self._until(
                lambda: {*stages} & {*goal.stages} or result.done(),
                f'did not come to {" or ".join(stages)}',
            )
        else:
            self._peer.wait(result.done, random.uniform(0, _HOLD))
        if result.done():
            error = result.result().result.error_msg
            raise NodeError(f'{self.name} ended a goal before it was cancelled: {error}')
        cancel = Ask.Impl.CancelGoalService.Request()
        cancel.goal_info.goal_id = request.goal_id
        started = time.perf_counter()
        cancelled = self._cancel.call_async(cancel)
        goal.expect('cancel answered', started, cancelled)
        goal.expect('result after cancel', started, result)
        self._until(goal.has_all, 'did not cancel a goal')
        if not cancelled.result().goals_canceling:
            raise NodeError(f'{self.name} refused to cancel a goal')
        return goal

    def _on_feedback(self, message: Any) -> None:
        goal = self._goal
        if goal and np.array_equal(message.goal_id.uuid, goal.id):
            goal.stages.append(message.feedback.stage)
            goal.position = message.feedback.queue_position

    def _until(self, condition: Callable[[], object], complaint: str) -> None:
        if not self._peer.wait(condition, _PATIENCE):
            raise NodeError(f'{self.name} {complaint}')


@contextmanager
def running() -> Iterator[tuple[Children, Server, Server]]:
    """Run the node, its camera and the bare server; yield when all of them are found."""
    paths = (str(Path(__file__).parent), *sys.path)
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths))}
    with Children(environment) as children, Peer('goals') as peer:
        children.start('camera', 'camera', CAMERA)
        children.start('node', 'vlm_npu_ros.node.vlm_node', PARAMETERS)
        children.start('bare server', 'bare', {'holds': True})
        node, bare = Server(peer, '/vlm/ask'), Server(peer, '/bare/ask')
        node.find()
        bare.find()
        yield children, node, bare


def measure(count: int) -> dict[tuple[str, str], list[Goal]]:
    """Send so many goals of each kind; they are listed by server and situation."""
    with running() as (children, node, bare):
        node.cancelled_goal('generating')  # the camera is found, too
        answered = [node.cancelled_goal('generating') for _ in range(count)]
        children.start('others', 'others', {'count': OTHERS})
        deadline = time.monotonic() + _PATIENCE
        while node.cancelled_goal('queued', 'generating').position != OTHERS - 1:
            if time.monotonic() > deadline:
                raise NodeError('The queue was not filled')
        queued, compared = [], []
        for _ in range(count):
            children.check()
            compared.append(bare.cancelled_goal())
            queued.append(node.cancelled_goal())
    return {
        ('node', f'behind {OTHERS} others'): queued,
        ('node', 'being answered'): answered,
        ('bare rclpy', BARE): compared,
    }


def rows(goals: dict[tuple[str, str], list[Goal]]) -> Iterator[dict[str, str]]:
    """Yield the rows of the table, in milliseconds."""
    for ((server, situation), those), figure in itertools.product(goals.items(), _FIGURES):
        times = [goal.milliseconds[figure] for goal in those]
        middle, most, share = np.percentile(times, (50, 95, SHARE))
        yield {
            'server': server,
            'goal': situation,
            'ms until': figure,
            'n': str(len(times)),
            'median': f'{middle:.1f}',
            '95 %': f'{most:.1f}',
            f'{SHARE} %': f'{share:.1f}',
            'max': f'{max(times):.1f}',
            f'> {BAR:.0f} ms': str(sum(t > BAR for t in times)),
        }


def judge(table: list[dict[str, str]]) -> None:
    """Add a verdict to each row that has a bar."""
    late = {
        (row['goal'], row['ms until']): float(row[f'{SHARE} %']) >= BAR for row in table
    }
    for row in table:
        situation, figure = row['goal'], row['ms until']
        if situation == BARE or figure == _FIGURES[-1]:
            row['verdict'] = ''
        elif not late[situation, figure]:
            row['verdict'] = 'ok'
        else:
            row['verdict'] = 'machine too busy' if late[BARE, figure] else 'MISSED'


def main() -> int:
    """Measure, and print the table."""
    options = _parse()
    prepare()
    try:
        table = list(rows(measure(options.goals)))
        judge(table)
    except (NodeError, ChildDiedError) as error:
        print(error, file=sys.stderr)
        return 1
    print(text(table, options.markdown))
    save(options.json, {'goals': table})
    return int(any(row['verdict'] == 'MISSED' for row in table))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='goals.py', description='Measure how soon goals are accepted and cancelled.'
    )
    parser.add_argument('--goals', type=int, default=1000, help='of each kind (default: 1000)')
    parser.add_argument('--markdown', action='store_true', help='print the table in Markdown')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the figures there')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
