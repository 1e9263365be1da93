# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""SIGINT and SIGTERM end the node in every state: soon, quietly, with nothing left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, ExitStack
from dataclasses import dataclass, field
import os
from pathlib import Path
import random
import signal
import socket
import subprocess
import sys
import threading
import time

from bars import timing, within
from chat_server import chat_server, Exchange
from fuzz.fuzzing import FULL
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
import psutil
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from robot import Robot, Spinner, wait_until
import simulated

SIMULATED = Path(simulated.__path__[0])
PROGRAM = SIMULATED.parents[1] / 'scripts' / 'vlm_node'
BAR = 3.0 if FULL else within(3.0)  # seconds
ACTIVE = 'Camera camera'
pytestmark = timing


class RunningNode:
    """
    The node's process and its output.

    hangs: native code hangs in the process itself, which cannot end in order then.
    """

    hangs = False

    def __init__(self, **parameters: object) -> None:
        arguments = [a for k, v in parameters.items() for a in ('-p', f'{k}:={v}')]
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), '--ros-args', *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()

    def wait_for(self, words: str) -> None:
        """Wait until it has printed this."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(words in li for li in self.lines), 60), \
                ''.join(self.lines)

    def wait_until_it_handles_signals(self) -> None:
        """Wait until the interpreter has come to the program."""
        status = Path(f'/proc/{self.process.pid}/status')
        bit = 1 << (signal.SIGTERM - 1)
        wait_until(lambda: bool(int(status.read_text().split('SigCgt:')[1].split()[0], 16) & bit))

    def end(self, number: signal.Signals) -> None:
        """Send the signal and check how it ends."""
        node = psutil.Process(self.process.pid)
        children = node.children(recursive=True)
        # Only its own segments: those of other programs are mapped, too, and ports are for all.
        locks = [file.path for file in node.open_files()
                 if file.path.endswith('_el') and 'port' not in file.path]
        shared = [path for lock in locks for path in (lock, lock.removesuffix('_el'))]
        started = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(60)
        seconds = time.monotonic() - started
        assert psutil.wait_procs(children, timeout=within(1))[1] == []
        self.close()
        said = ''.join(self.lines)
        assert status == 0, said
        assert 'Traceback' not in said, said
        assert seconds < BAR, f'{seconds:.1f} s\n{said}'
        if not self.hangs:
            assert not [path for path in shared if Path(path).exists()]

    def close(self) -> None:
        self.process.kill()
        self._reader.join()
        assert self.process.stdout
        self.process.stdout.close()
        self.process.wait()


@dataclass(frozen=True)
class State:
    """
    What the node does when the signal comes.

    fault: of the simulated board; without one the backend is `server`.
    server: answers | silent (takes connections only) | full (drops them) | gone.
    words: that the node has printed by then. ask: with a question under way.
    """

    words: str = ''
    fault: str = ''
    server: str = ''
    ask: bool = False
    parameters: dict[str, object] = field(default_factory=dict)
    then: Callable[[RunningNode, Robot, Path], None] = lambda node, robot, faults: None


def crash(node: RunningNode, robot: Robot, faults: Path) -> None:
    faults.write_text('SIMRKLLM_INIT_SECONDS=120')
    child, = psutil.Process(node.process.pid).children()
    os.kill(child.pid, signal.SIGSEGV)
    node.wait_for('being restarted')


def deactivate(node: RunningNode, robot: Robot, faults: Path) -> None:
    change = robot.node.create_client(ChangeState, '/vlm/change_state')
    wait_until(change.service_is_ready)
    wanted = Transition(id=Transition.TRANSITION_DEACTIVATE)
    change.call_async(ChangeState.Request(transition=wanted))


CHAIN = {'backends': '[openai, onnx]'}
STATES = {
    'starting': State(),
    'loading': State('simulated runtime', 'SIMRKLLM_INIT_SECONDS=120'),
    'hanging while it loads': State('simulated runtime', 'SIMRKLLM_INIT_HANG=1'),
    'connecting to a silent server': State(server='silent'),
    'connecting to a server that drops packets': State(server='full'),
    'waiting for a server': State('tried again in', server='gone'),
    'connecting in a chain': State(ACTIVE, server='silent', parameters=CHAIN),
    'encoding': State(ACTIVE, 'SIMRKNN_SECONDS=120', ask=True),
    'hanging while it encodes': State(ACTIVE, 'SIMRKNN_HANG=1', ask=True),
    'reading': State('a frame is', 'SIMRKLLM_PREFILL_RATE=0.5', ask=True),
    'generating': State('a frame is', 'SIMRKLLM_DECODE_RATE=0.02', ask=True),
    'hanging while it generates': State('a frame is', 'SIMRKLLM_HANG_AT=2', ask=True),
    'waiting for an answer': State('a frame is', server='answers', ask=True),
    'restarting': State(ACTIVE, then=crash),
    'deactivating': State('a frame is', 'SIMRKLLM_HANG_AT=2', ask=True, then=deactivate),
    'hanging in its own process': State(
        'a frame is', 'SIMRKLLM_HANG_AT=2', ask=True, parameters={'isolation': 'none'}
    ),
}
MOMENTS = 200 if FULL else len(STATES)


@contextmanager
def listening(server: str) -> Iterator[tuple[str, Callable[[RunningNode], None]]]:
    """Give the address of a server that does this, and what waits until the node is there."""
    if server == 'answers':
        with chat_server() as chat:
            chat.answer = Exchange.wait_for_disconnect
            yield chat.url, lambda node: None
        return
    with socket.socket() as listener, ExitStack() as clients:
        listener.bind(('127.0.0.1', 0))
        if server != 'gone':
            listener.listen(0)
        if server == 'full':  # the kernel drops what has no room in the queue
            for _ in range(2):
                client = clients.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(listener.getsockname())
        state = {'full': psutil.CONN_SYN_SENT, 'silent': psutil.CONN_ESTABLISHED}.get(server)

        def wait(node: RunningNode) -> None:
            process = psutil.Process(node.process.pid)
            address = listener.getsockname()
            wait_until(lambda: state is None or any(
                tuple(connection.raddr) == address and connection.status == state
                for connection in process.net_connections('tcp4')
            ))

        yield 'http://{}:{}/v1'.format(*listener.getsockname()), wait


@contextmanager
def asking() -> Iterator[Robot]:
    context = rclpy.Context()
    rclpy.init(context=context)
    robot = Robot(context)
    spinner = Spinner(robot.node, SingleThreadedExecutor(context=context))
    try:
        yield robot
    finally:
        spinner.close()
        context.try_shutdown()


@contextmanager
def running(state: State, url: str, faults: Path, files: Path) -> Iterator[RunningNode]:
    """Start the node so that it gets into this state."""
    parameters: dict[str, object] = {'image_reliability': 'reliable', 'encode_rate': 10.0}
    if state.server:
        parameters.update({'backend': 'openai', 'openai.base_url': url})
    else:
        faults.write_text(state.fault)
        parameters.update({
            'backend': 'rknpu',
            'model': SIMULATED / 'demo_rknpu.yaml',
            'encoder_path': SIMULATED.parent / 'data' / 'demo_encoder.rknn',
            'language_model_path': files / 'demo.rkllm',
            'rknpu.library': files / '1.2.3' / 'librkllmrt.so',
            # Their proofs would meet the fault already while the models are loaded.
            'read_ahead': "'off'", 'rknpu.probabilities': "'off'",  # unquoted, it is a bool
        })
    node = RunningNode(**parameters, **state.parameters)
    node.hangs = state.parameters.get('isolation') == 'none'
    try:
        yield node
    finally:
        node.close()


@pytest.mark.parametrize('moment', range(MOMENTS))
def test_in_every_state(moment: int, faults: Path, files: Path) -> None:
    rng = random.Random(moment)
    name = list(STATES)[moment % len(STATES)]
    number = rng.choice([signal.SIGINT, signal.SIGTERM])
    state = STATES[name]
    with (
        listening(state.server) as (url, wait), asking() as robot,
        running(state, url, faults, files) as node,
    ):
        if moment < len(STATES) or rng.random() < 0.5:
            reach(state, node, robot, wait, faults)
        else:
            node.wait_until_it_handles_signals()
        threading.Event().wait(rng.uniform(0.0, 0.5))  # the moment is what is tested
        print(f'{name}: {number.name}')
        node.end(number)


def reach(
    state: State, node: RunningNode, robot: Robot, wait: Callable[[RunningNode], None],
    faults: Path,
) -> None:
    """Get the node into the state."""
    node.wait_until_it_handles_signals()
    wait(node)
    if state.ask:
        node.wait_for(ACTIVE)
        robot.publish()
    if state.words:
        node.wait_for(state.words)
    if state.ask:
        robot.ask_later(question='what do you see?')
    state.then(node, robot, faults)
