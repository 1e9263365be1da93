# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The whole way from a question to boxes in a picture and to distances, over ROS."""

from __future__ import annotations

from pathlib import Path
import re
import subprocess
import sys

import annotated_demo
import cv2
from program import in_own_domain
import pytest

PATIENCE = 100.0  # seconds; only a broken test waits this long


def test_places_and_distances_are_the_true_ones(tmp_path: Path) -> None:
    command = [sys.executable, annotated_demo.__file__, '--output', 'a/b.jpg']
    done = subprocess.run(
        command, cwd=tmp_path, env=in_own_domain(), text=True, capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.findall(r'all objects: \d+x\d+ at .*, (.+) m ahead', done.stdout)
    scene = annotated_demo.scene_of(4)
    assert [float(metres) for metres in told] == [
        pytest.approx(thing.distance, rel=0.1) for thing in scene.objects]
    assert cv2.imread(str(tmp_path / 'a' / 'b.jpg')).shape == (480, 640, 3)
