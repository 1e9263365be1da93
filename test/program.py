# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Runs a program of tools/ as a person does."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys


def run(program: Path, *arguments: str, patience: float) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, in a ROS domain that is not that of the in-process tests."""
    command = [sys.executable, str(program), *arguments]
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(int(os.environ['ROS_DOMAIN_ID']) + 20)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as running:
        try:
            out, log = running.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            running.terminate()  # it ends what it has started
            raise
    return subprocess.CompletedProcess(command, running.returncode, out, log)
