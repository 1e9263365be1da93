"""Whether a file may be a .rkllm language model, as far as that can be seen without a runtime."""

from __future__ import annotations

import os
from pathlib import Path
import re

from vlm_npu_ros.engine.errors import ModelFileError

# The format is not published: only what it is not can be told.
_OTHERS = (
    (rb'\x7fELF', 'it is a library or program'),
    (rb'RKNN|CYPTRKNN|RKCE', 'it is a .rknn vision encoder: are the two files swapped?'),
    (rb'GGUF', 'it is a GGUF file (llama.cpp): convert the model with rkllm-toolkit'),
    (rb'version https://git-lfs', 'it is a git-LFS pointer: run `git lfs pull` beside it'),
    (rb'(?i)\s*<(!doctype|html|\?xml)', 'it is a web page: download the file itself'),
    (rb'PK\x03\x04', 'it is a ZIP archive or a PyTorch checkpoint: convert it first'),
    (rb'\x08[\x01-\x1f][\x12\x1a\x22\x2a\x32\x3a\x42]', 'it is an ONNX file: convert it first'),
)


def check_rkllm(path: Path) -> int:
    """Return the size of the file in bytes; raise ModelFileError if it is no language model."""
    try:
        size = os.path.getsize(path)
        with open(path, 'rb') as file:
            head = file.read(64)
    except (OSError, ValueError) as error:
        raise ModelFileError(f'{path} can not be read: {error}') from error
    if size == 0:
        raise ModelFileError(f'{path} is empty: copy or download it again')
    for mark, what in _OTHERS:
        if re.match(mark, head):
            raise ModelFileError(f'{path} is no .rkllm language model, {what}')
    return size
