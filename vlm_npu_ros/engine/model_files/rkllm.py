# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What can be seen of a .rkllm language model without a runtime; the format is not published."""

from __future__ import annotations

import os
from pathlib import Path
import re

from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.kinds import ENOUGH, kind_of
from vlm_npu_ros.engine.model_files.other_npus import refuse_rknn3

_TRAILER = 1 << 16  # bytes
_TOOLKIT = re.compile(rb'rkllm-toolkit version: ?(\d+\.\d+\.\d+\w*)')


def check_rkllm(path: Path) -> int:
    """Raise ModelFileError if the file cannot be a language model; return its size in bytes."""
    refuse_rknn3(path)
    try:
        size = os.path.getsize(path)
        with open(path, 'rb') as file:
            head = file.read(ENOUGH)
    except (OSError, ValueError) as error:
        raise ModelFileError(f'{path} cannot be read: {error}') from error
    if size == 0:
        raise ModelFileError(f'{path} is empty', 'Copy or download it again')
    what, remedy = kind_of(head)  # only other kinds can be recognised
    if what:
        raise ModelFileError(f'{path} is not a .rkllm language model: it is {what}', remedy)
    return size


def toolkit_of(path: Path) -> str:
    """Return the version of the rkllm-toolkit that made a file; '' = its end does not tell."""
    with open(path, 'rb') as file:
        file.seek(max(os.path.getsize(path) - _TRAILER, 0))
        found = _TOOLKIT.findall(file.read())
    return found[-1].decode() if found else ''
