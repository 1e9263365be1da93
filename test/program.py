# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Runs a program of tools/ as a person does."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys


def in_own_domain() -> dict[str, str]:
    """Give an environment with a ROS domain that none of the in-process tests is in."""
    return {**os.environ, 'ROS_DOMAIN_ID': str(int(os.environ['ROS_DOMAIN_ID']) + 20)}


def run(program: Path, *arguments: str, patience: float) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, in a ROS domain of its own."""
    command = [sys.executable, str(program), *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=in_own_domain()
    ) as running:
        try:
            out, log = running.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            running.terminate()  # it ends what it has started
            raise
    return subprocess.CompletedProcess(command, running.returncode, out, log)
