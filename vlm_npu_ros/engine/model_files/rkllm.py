"""Whether a file may be a .rkllm language model, as far as that can be seen without a runtime."""

from __future__ import annotations

import os
from pathlib import Path

from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.kinds import ENOUGH, kind_of


def check_rkllm(path: Path) -> int:
    """Raise ModelFileError if the file cannot be a language model; return its size in bytes."""
    try:
        size = os.path.getsize(path)
        with open(path, 'rb') as file:
            head = file.read(ENOUGH)
    except (OSError, ValueError) as error:
        raise ModelFileError(f'{path} cannot be read: {error}') from error
    if size == 0:
        raise ModelFileError(f'{path} is empty', 'Copy or download it again')
    what, remedy = kind_of(head)  # the format is not published: only others can be recognised
    if what:
        raise ModelFileError(f'{path} is not a .rkllm language model: it is {what}', remedy)
    return size
