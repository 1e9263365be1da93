"""Whether a file may be a .rkllm language model, as far as that can be seen without a runtime."""

from __future__ import annotations

import os
from pathlib import Path
import re

from vlm_npu_ros.engine.errors import ModelFileError

# The format is not published, so only files of other formats can be told.
_OTHERS = (
    (rb'\x7fELF', 'a library or program', 'Name the model instead'),
    (rb'RKNN|CYPTRKNN|RKCE', 'a .rknn vision encoder', 'Are the two files swapped?'),
    (rb'GGUF', 'a GGUF file (llama.cpp)', 'Convert the model with rkllm-toolkit'),
    (rb'version https://git-lfs', 'a git-LFS pointer', 'Run `git lfs pull` beside it'),
    (rb'(?i)\s*<(!doctype|html|\?xml)', 'a web page', 'Download the file itself'),
    (rb'PK\x03\x04', 'a ZIP archive or a PyTorch checkpoint', 'Convert it first'),
    (rb'\x08[\x01-\x1f][\x12\x1a\x22\x2a\x32\x3a\x42]', 'an ONNX file', 'Convert it first'),
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
        raise ModelFileError(f'{path} is empty', 'Copy or download it again')
    for mark, what, remedy in _OTHERS:
        if re.match(mark, head):
            raise ModelFileError(f'{path} is not a .rkllm language model: it is {what}', remedy)
    return size
