# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The engine and the vlm-npu command for a machine without ROS; with ROS, colcon uses CMake."""
from pathlib import Path

from setuptools import setup


def share(folder: str) -> list[tuple[str, list[str]]]:
    """Return all files below folder, each as a data file of share/vlm_npu_ros."""
    return [
        (f'share/vlm_npu_ros/{path.parent.as_posix()}', [path.as_posix()])
        for path in sorted(Path(folder).rglob('*')) if path.is_file()
    ]


folders = ('config', 'resource/demo_model', 'resource/pictures')
setup(data_files=[entry for folder in folders for entry in share(folder)])
