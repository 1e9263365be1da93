"""What all tests share: a ROS domain of their own, kept on this machine."""

from __future__ import annotations

import gc
import os
from pathlib import Path
import signal

import pytest
import vlm_npu_ros

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


@pytest.fixture(scope='module', autouse=True)
def _short_pauses() -> None:
    """Leave what was made before out of garbage collection: 5000 tests hold it up for 0.3 s."""
    gc.collect()
    gc.freeze()
