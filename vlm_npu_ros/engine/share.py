"""Where the package's own data files are."""

from __future__ import annotations

from pathlib import Path

from vlm_npu_ros.engine.errors import ModelFileError


def share_dir() -> Path:
    """
    Return the folder that holds config/ and resource/.

    It is share/vlm_npu_ros of the prefix that this module is installed in (colcon or pip), or
    the repository that it runs from.
    """
    for folder in Path(__file__).resolve().parents:
        for candidate in (folder, folder / 'share' / 'vlm_npu_ros'):
            if (candidate / 'config' / 'models').is_dir():
                return candidate
    raise ModelFileError('The data files of vlm_npu_ros are not installed beside its modules')
