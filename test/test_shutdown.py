"""SIGINT and SIGTERM end the node at any moment: soon, quietly, with nothing left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import threading
import time

from bars import timing, within
import psutil
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from robot import Robot, Spinner
import simulated

SIMULATED = Path(simulated.__path__[0])
PROGRAM = SIMULATED.parents[1] / 'scripts' / 'vlm_node'
BAR = within(3.0)  # seconds
pytestmark = timing


class RunningNode:
    """The node's process and its output."""

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

    def end(self, number: signal.Signals) -> int:
        """Send the signal; return the exit status, after all checks."""
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
        assert not [path for path in shared if Path(path).exists()]
        assert 'Traceback' not in ''.join(self.lines), ''.join(self.lines)
        assert seconds < BAR, f'{seconds:.1f} s\n' + ''.join(self.lines)
        return status

    def close(self) -> None:
        self.process.kill()
        self._reader.join()
        assert self.process.stdout
        self.process.stdout.close()
        self.process.wait()


@pytest.fixture
def start(files: Path) -> Iterator[Callable[[], RunningNode]]:
    nodes: list[RunningNode] = []

    def start_one() -> RunningNode:
        nodes.append(RunningNode(
            backend='rknpu',
            model=SIMULATED / 'demo_rknpu.yaml',
            encoder_path=SIMULATED.parent / 'data' / 'demo_encoder.rknn',
            language_model_path=files / 'demo.rkllm',
            image_reliability='reliable',
            **{'rknpu.library': files / '1.2.3' / 'librkllmrt.so'},
        ))
        return nodes[-1]

    yield start_one
    for node in nodes:
        node.close()


@contextmanager
def robot() -> Iterator[Robot]:
    context = rclpy.Context()
    rclpy.init(context=context)
    robot = Robot(context)
    spinner = Spinner(robot.node, SingleThreadedExecutor(context=context))
    try:
        yield robot
    finally:
        spinner.close()
        context.try_shutdown()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('fault', ['SIMRKLLM_INIT_SECONDS=120', 'SIMRKLLM_INIT_HANG=1'])
def test_while_a_model_loads(
    number: signal.Signals, fault: str, start: Callable[[], RunningNode], faults: Path
) -> None:
    faults.write_text(fault)
    node = start()
    node.wait_for('simulated runtime')
    assert node.end(number) == 0


@pytest.mark.parametrize('fault, words', [
    ('SIMRKLLM_PREFILL_RATE=0.5', 'a frame is'),
    ('SIMRKLLM_DECODE_RATE=0.02', 'a frame is'),
    ('SIMRKLLM_PREFILL_HANG=1', 'a frame is'),
    ('SIMRKLLM_HANG_AT=2', 'a frame is'),
    ('SIMRKNN_HANG=1', 'Camera camera'),
    ('SIMRKNN_SECONDS=120', 'Camera camera'),
])
def test_while_it_works_or_hangs(
    fault: str, words: str, start: Callable[[], RunningNode], faults: Path
) -> None:
    faults.write_text(fault)
    node = start()
    node.wait_for('Camera camera')
    with robot() as asker:
        asker.publish()
        node.wait_for(words)
        try:
            asker.send_goal(question='what do you see?')
        except AssertionError:  # the answer to a client that is just being discovered can be lost
            asker.send_goal(question='what do you see?')
        assert node.end(signal.SIGINT) == 0


def test_while_the_engine_restarts(start: Callable[[], RunningNode], faults: Path) -> None:
    node = start()
    node.wait_for('Camera camera')
    faults.write_text('SIMRKLLM_INIT_SECONDS=120')
    child, = psutil.Process(node.process.pid).children()
    os.kill(child.pid, signal.SIGSEGV)
    node.wait_for('being restarted')
    assert node.end(signal.SIGTERM) == 0


def test_at_any_moment(start: Callable[[], RunningNode], faults: Path) -> None:
    rng = random.Random(5)
    for _ in range(8):
        node = start()
        threading.Event().wait(rng.uniform(0.1, 2.0))  # the moment is what is tested
        assert node.end(rng.choice([signal.SIGINT, signal.SIGTERM])) in (
            0, -signal.SIGINT, -signal.SIGTERM
        )
