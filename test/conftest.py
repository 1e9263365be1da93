# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What all tests share: a ROS domain of their own, kept on this machine, and a context in it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
import gc
import os
from pathlib import Path
import signal
from typing import TYPE_CHECKING

import pytest
import vlm_npu_ros

if TYPE_CHECKING:
    from clocks import Simulation
    import rclpy
    from robot import Robot

# Where the tests run in the background, Ctrl-C is ignored, and what they start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_WORKER = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))

# Before any test imports rclpy. Domains 60 to 75 are for in-process tests.
os.environ['ROS_DOMAIN_ID'] = str(60 + _WORKER % 16)
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'

# The converter is not installed with the ROS package: find it in the source tree.
vlm_npu_ros.__path__.append(str(Path(__file__).resolve().parents[1] / 'vlm_npu_ros'))


@pytest.fixture
def context() -> Iterator[rclpy.Context]:
    """Give a ROS context of its own; many tests run where there is no ROS."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    context.try_shutdown()


@pytest.fixture
def robot(context: rclpy.Context) -> Iterator[Robot]:
    from rclpy.executors import SingleThreadedExecutor
    from robot import Robot, Spinner

    robot = Robot(context)
    spinner = Spinner(robot.node, SingleThreadedExecutor(context=context))
    yield robot
    spinner.close()


@pytest.fixture
def simulated(context: rclpy.Context) -> Iterator[Simulation]:
    from clocks import simulation

    with simulation(context) as simulated:
        yield simulated


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


@pytest.fixture(scope='session')
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the language model of a simulated board, and its runtime 1.2.3."""
    from simulated import runtime, weights

    folder = tmp_path_factory.mktemp('board')
    weights.write_model(folder / 'demo.rkllm')
    runtime.build('1.2.3', folder)
    return folder


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the test on a simulated board; give the file that says what it does wrong."""
    from simulated.board import board_tree, use

    use(monkeypatch, board_tree(tmp_path / 'board'))
    monkeypatch.setenv('SIMNPU_FAULTS', str(tmp_path / 'faults'))
    return tmp_path / 'faults'


@pytest.fixture(scope='module', autouse=True)
def _short_pauses() -> None:
    """Leave older objects out of garbage collection, which takes 0.3 s after 5000 tests."""
    gc.collect()
    gc.freeze()
