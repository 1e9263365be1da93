# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Random walks through the lifecycle with questions under way: nothing hangs, leaks, is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
import random
import threading
import time
from typing import Any

from fuzz.fuzzing import FULL
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState
import psutil
import pytest
import rclpy
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.parameter import Parameter
from robot import PATIENCE, Robot, Spinner, wait_until
from vlm_npu_ros.msg import ErrorCode
from vlm_npu_ros.node.vlm_node import VlmNode

WALKS = 500 if FULL else 25
STEPS = 6
WRONG = Transition.TRANSITION_ACTIVATE  # when unconfigured
NEXT = {
    State.PRIMARY_STATE_UNCONFIGURED: [Transition.TRANSITION_CONFIGURE, WRONG],
    State.PRIMARY_STATE_INACTIVE: [
        Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_ACTIVATE,
        Transition.TRANSITION_CLEANUP, Transition.TRANSITION_CONFIGURE,
    ],
    State.PRIMARY_STATE_ACTIVE: [
        Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
    ],
}
# A single frame may come before the new subscription is known: then there is none.
ENDS = {ErrorCode.NONE, ErrorCode.INACTIVE, ErrorCode.CANCELLED, ErrorCode.NO_FRAME}


class Walker:
    """A node, a walk through its states, and a client that asks meanwhile."""

    def __init__(self, context: rclpy.Context, seed: int) -> None:
        self.rng = random.Random(seed)
        self.robot = Robot(context)
        self.node = VlmNode(context=context, parameter_overrides=[
            Parameter('backend', value='scripted'),
            Parameter('scripted.answers', value=['one two three four']),
            Parameter('scripted.decode_rate', value=50.0),
            Parameter('scripted.encode_seconds', value=0.02),
            Parameter('encode_rate', value=100.0),
            Parameter('timeout', value=20.0),
            Parameter('image_reliability', value='reliable'),
        ])
        self.change = self.robot.node.create_client(ChangeState, '/vlm/change_state')
        self.outcomes: Counter[str] = Counter()
        self._open: list[Callable[[], Any]] = []

    @property
    def state(self) -> int:
        return self.node._state_machine.current_state[0]

    def step(self) -> None:
        """Ask, then change the state, to one that can follow or to one that cannot."""
        if self.state == State.PRIMARY_STATE_UNCONFIGURED:
            isolation = self.rng.choice(['none'] * 7 + ['process'])
            self.node.set_parameters([Parameter('isolation', value=isolation)])
        else:
            self.ask()
        transition = self.rng.choice(NEXT[self.state])
        request = ChangeState.Request(transition=Transition(id=transition))
        if transition == Transition.TRANSITION_CLEANUP or self.rng.random() < 0.3:
            self.collect()  # what the server has not yet taken goes away with a cleanup
        before = self.state
        if self.robot._call(self.change.call_async, request)().success:
            self.outcomes['transitions'] += 1
        else:
            self.outcomes['transitions refused'] += 1
            assert self.state == before

    def ask(self) -> None:
        """Put some questions, by service and by action; cancel some."""
        wait_until(self.robot.service.service_is_ready)
        for _ in range(self.rng.randrange(4)):
            if self.state == State.PRIMARY_STATE_ACTIVE:
                self.robot.publish()
            if self.rng.random() < 0.5:
                self._open.append(self.robot.ask_later(question='count'))
                continue
            goal = self.robot.send_goal(question='count')
            result = self.robot.result_of(goal)
            self._open.append(lambda result=result: result().result)
            if self.rng.random() < 0.3:
                self.robot._call(goal.cancel_goal_async)

    def collect(self) -> None:
        for answer in self._open:
            code = answer().error_code
            assert code in ENDS, code
            self.outcomes[f'ended with {code}'] += 1
        self._open.clear()

    def rest(self) -> None:
        self.collect()
        while self.state == State.PRIMARY_STATE_ACTIVE:
            self.node.trigger_deactivate()
        if self.state == State.PRIMARY_STATE_INACTIVE:
            self.node.trigger_cleanup()
        assert self.state == State.PRIMARY_STATE_UNCONFIGURED


@pytest.fixture
def walker() -> Iterator[Walker]:
    context = rclpy.Context()
    rclpy.init(context=context)
    walker = Walker(context, seed=11)
    spinners = [
        Spinner(walker.node, MultiThreadedExecutor(4, context=context)),
        Spinner(walker.robot.node, SingleThreadedExecutor(context=context)),
    ]
    try:
        assert walker.change.wait_for_service(PATIENCE)
        yield walker
    finally:
        walker.node.release()
        for spinner in spinners:
            spinner.close()
        context.try_shutdown()


def left_behind() -> tuple[int, int, set[str]]:
    """Return the numbers of open files and children, and the names of our threads."""
    process = psutil.Process()
    names = {thread.name for thread in threading.enumerate()}
    ours = names & {'encode', 'generate', 'deadlines', 'engine', 'engine log', 'supervisor'}
    return process.num_fds(), len(process.children()), ours


@pytest.mark.timeout(60 + 10 * WALKS)
def test_random_walks(
    walker: Walker, outcomes: dict[str, Counter[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    walker.step()
    walker.rest()
    files, children, threads = left_behind()
    assert not children and not threads
    started, longest = time.monotonic(), 0.0
    for _ in range(WALKS):
        before = time.monotonic()
        for _ in range(STEPS):
            walker.step()
        walker.rest()
        longest = max(longest, time.monotonic() - before)
        left = left_behind()
        assert left[1:] == (0, set()), left
        assert 'Traceback' not in ''.join(capfd.readouterr())
    assert left_behind()[0] <= files + 5
    assert longest < 60
    seconds = time.monotonic() - started
    kind = f'steps and answers of {WALKS} walks of {STEPS} steps, {seconds:.0f} s'
    outcomes[kind].update(walker.outcomes)
