# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Location of the package's data files."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

from vlm_npu_ros.engine.errors import ModelFileError


def share_dir() -> Path:
    """
    Return the folder that holds config/ and resource/.

    That is share/vlm_npu_ros of the prefix that this module is installed in (colcon or pip), or
    the repository that it runs from.
    """
    for folder in Path(__file__).resolve().parents:
        for candidate in (folder, folder / 'share' / 'vlm_npu_ros'):
            if (candidate / 'config' / 'models').is_dir():
                return candidate
    raise ModelFileError('The data files of vlm_npu_ros are not installed beside its modules')


def home_dir() -> Path:
    """Return the user's folder; / where nothing tells it, as in a container of an unknown user."""
    try:
        return Path.home()
    except RuntimeError:
        return Path('/')


def cache_dir() -> Path:
    """Return the folder for what can be found out again: ~/.cache/vlm-npu."""
    return Path(os.environ.get('XDG_CACHE_HOME') or home_dir() / '.cache') / 'vlm-npu'


def version() -> str:
    """Return the version of this package; '' in a ROS workspace, which installs no metadata."""
    try:
        return importlib.metadata.version('vlm_npu_ros')
    except importlib.metadata.PackageNotFoundError:
        return ''
