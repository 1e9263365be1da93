# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What breaks: each cause of the table, and what it may do to a question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

from asking import Ask, Client
from processes import child_of, resident
from subject import is_over, Robot, SIZE
from vlm_npu_ros.demo.children import Children

_SLOW, _VERY_SLOW = 10, 1  # tokens a second
_CLIENTS = 20
_QUEUE = 8  # of the node's queue_size
_HOUR = 3600.0
_LEAK = 400  # MiB


@dataclass
class Hit:
    """
    What a fault has met.

    struck: when it did, time.monotonic(); None = at no single moment.
    over: when what it broke worked again, apart from the engine; None = at the end of the asks.
    """

    asks: list[Ask]
    struck: float | None = None
    over: float | None = None


def once(name: str, value: object = 1, **more: object) -> Callable[[Robot, str], Hit]:
    """Make a cause that lets a fault of the runtime strike one question."""
    def strike(robot: Robot, way: str) -> Hit:
        robot.faults.write({name: value, **more})
        ask = robot.ask(way)
        robot.finish(ask)
        return Hit([ask], robot.faults.struck)
    return strike


def killed(robot: Robot, way: str) -> Hit:
    """Kill the child while it writes."""
    robot.faults.write(SIMRKLLM_DECODE_RATE=_VERY_SLOW)
    return _killed_when(robot, way, lambda: True)


def out_of_memory(robot: Robot, way: str) -> Hit:
    """Do what the kernel does to a child that takes too much memory."""
    before = resident(child_of(robot.node))
    robot.faults.write({'SIMRKLLM_LEAK_MB': _LEAK}, SIMRKLLM_DECODE_RATE=_SLOW)
    return _killed_when(
        robot, way, lambda: resident(child_of(robot.node)) > before + (_LEAK << 19)
    )


def _killed_when(robot: Robot, way: str, condition: Callable[[], bool]) -> Hit:
    ask = robot.ask(way)
    robot.until_written(ask.shown, lambda: is_over(ask))
    robot.until('The moment to kill', condition, lambda: is_over(ask))
    child = child_of(robot.node)
    assert child
    struck = time.monotonic()
    os.kill(child, signal.SIGKILL)
    robot.finish(ask)
    robot.faults.write()
    return Hit([ask], struck)


def camera_stops(robot: Robot, way: str) -> Hit:
    """Ask a blind robot."""
    struck = time.monotonic()
    robot.camera.paused = True
    time.sleep(0.6)
    ask = robot.ask(way, max_age=0.5, timeout=1.0, not_before=None)
    robot.finish(ask)
    robot.camera.paused = False
    return Hit([ask], struck)


def camera_floods(robot: Robot, way: str) -> Hit:
    """Ask while a second camera sends far more than the node can read."""
    robot.camera.paused = True
    parameters = {
        'scenes': robot.scenes, 'width': SIZE[0], 'height': SIZE[1], 'rate': 200.0, 'period': 0.5,
    }
    asks = []
    with Children(robot.environment) as children:
        children.start('flood', 'camera', parameters)
        for _ in range(5):
            asks.append(robot.ask(way, shown=''))
            robot.finish(asks[-1])
        children.check()
    robot.camera.paused = False
    return Hit(asks)


def camera_sends_garbage(robot: Robot, way: str) -> Hit:
    """Ask while the camera sends what cannot be read."""
    struck = time.monotonic()
    robot.camera.sends_garbage = True
    ask = robot.ask(way, timeout=3.0)
    robot.finish(ask)
    robot.camera.sends_garbage = False
    return Hit([ask], struck)


def client_dies(robot: Robot, way: str) -> Hit:
    """Kill a client that waits for an answer."""
    robot.faults.write(SIMRKLLM_DECODE_RATE=_SLOW)
    shown = robot.show_next()
    program = Path(__file__).with_name('lone_client.py')
    with subprocess.Popen(
        [sys.executable, program, way], env=robot.environment
    ) as client:
        robot.until_written(shown, lambda: client.poll() is not None)
        client.kill()
    struck = time.monotonic()
    robot.faults.write()
    return Hit([], struck, struck)


def many_clients(robot: Robot, way: str) -> Hit:
    """Ask twenty times at once."""
    with Client('crowd', _CLIENTS) as crowd:
        crowd.find_node()
        shown = robot.show_next()
        asks = [robot.ask(way, shown, crowd, end=end) for end in range(_CLIENTS)]
        robot.finish(*asks, client=crowd)
    return Hit(asks)


def clock_jumps(robot: Robot, way: str) -> Hit:
    """Set the clock forward and back while an answer is written, and ask again."""
    asks = []
    for hours in (1, -1):
        robot.faults.write(SIMRKLLM_DECODE_RATE=_VERY_SLOW)
        writing = robot.ask(way)
        robot.until_written(writing.shown, lambda ask=writing: is_over(ask))
        # What it has still encoded for that question is done.
        robot.until_diagnosed('encoded per second', lambda rate: not float(rate))
        robot.clock.jump(hours * _HOUR)
        robot.faults.write()
        robot.finish(writing)
        now = robot.now().sec
        robot.until_diagnosed('time', lambda time, now=now: abs(int(time) - now) < _HOUR / 2)
        asks += [writing, robot.ask(way)]
        robot.finish(*asks)
    return Hit(asks)


@dataclass(frozen=True)
class Fault:
    """
    A row of the table.

    allowed: what may end a question that is hit. answers: how many must be answered.
    deaths: how often the child ends. parameters: of the node.
    """

    title: str
    cause: Callable[[Robot, str], Hit]
    allowed: frozenset[str] = frozenset({'BACKEND_CRASHED'})
    answers: int = 0
    deaths: int = 0
    is_quick: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)


ANSWER = frozenset({'answer'})
# Hangs are noticed after 12 s of loading, 3 s of encoding and 1 s of writing. A busy machine takes
# that long without a hang now and then, so that other faults keep the node's default.
IMPATIENT = {'watchdog': 0.1}
# A question that waits for its frame is not in the engine: it may wait for the next frame.
IN_ENCODER = frozenset({'answer', 'BACKEND_CRASHED'})
UNSEEN = frozenset({'NO_FRAME', 'STALE_FRAME', 'BAD_IMAGE'})

FAULTS = {
    'segv_load': Fault(
        'SIGSEGV at a token, and at the next load',
        once('SIMRKLLM_SEGV_AT', 2, SIMRKLLM_INIT_SEGV=1), deaths=2,
    ),
    'segv_encode': Fault('SIGSEGV in the encoder', once('SIMRKNN_SEGV'), IN_ENCODER, deaths=1),
    'segv_prefill': Fault('SIGSEGV while it reads', once('SIMRKLLM_PREFILL_SEGV'), deaths=1),
    'segv_token': Fault(
        'SIGSEGV at a token', once('SIMRKLLM_SEGV_AT', 3), deaths=1, is_quick=True
    ),
    'rc_error': Fault('runtime returns an error', once('SIMRKLLM_RUN_FAIL')),
    'kill': Fault('child killed with -9', killed, deaths=1, is_quick=True),
    'oom': Fault(f'child leaks {_LEAK} MiB: SIGKILL, as of the kernel', out_of_memory, deaths=1),
    'camera_stops': Fault('camera stops', camera_stops, UNSEEN),
    'camera_floods': Fault('camera floods: VGA at 200 Hz', camera_floods, ANSWER),
    'camera_garbage': Fault('camera sends garbage', camera_sends_garbage, UNSEEN),
    'client_dies': Fault('client killed while the answer is written', client_dies),
    'many_clients': Fault(
        f'{_CLIENTS} clients at once', many_clients, ANSWER | {'BUSY'}, answers=_QUEUE + 1
    ),
    'hang_load': Fault(
        'SIGSEGV at a token, and the next load hangs',
        once('SIMRKLLM_SEGV_AT', 2, SIMRKLLM_INIT_HANG=1), deaths=2, parameters=IMPATIENT,
    ),
    'hang_encode': Fault(
        'encoder hangs', once('SIMRKNN_HANG'), IN_ENCODER, deaths=1, is_quick=True,
        parameters=IMPATIENT,
    ),
    'hang_prefill': Fault(
        'hangs while it reads', once('SIMRKLLM_PREFILL_HANG'), deaths=1, parameters=IMPATIENT
    ),
    'hang_token': Fault(
        'hangs at a token', once('SIMRKLLM_HANG_AT', 3), deaths=1, is_quick=True,
        parameters=IMPATIENT,
    ),
    # Frames are encoded for questions only, so that each question is hit.
    'clock_jumps': Fault(
        'clock +1 h, -1 h', clock_jumps, ANSWER,
        parameters={'use_sim_time': True, 'encode_rate': 0.0},
    ),
}
