# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What a file is by its first bytes."""

from __future__ import annotations

import re

ENOUGH = 64  # bytes of the head of a file, to tell its kind
SWAPPED = 'Are encoder and language model swapped?'
RKNN, ONNX, GGUF = 'a .rknn vision encoder', 'an ONNX file', 'a GGUF file (llama.cpp)'
_KINDS = (
    (rb'RKNN|CYPTRKNN|RKCE', RKNN, SWAPPED),
    (rb'\x7fELF', 'a library or program', 'Name the model file instead'),
    (rb'GGUF', GGUF, 'Convert the original model for the NPU'),
    (rb'version https://git-lfs', 'a git-LFS pointer, not the file itself',
     'Run `git lfs pull` beside it'),
    (rb'(?i)\s*<(!doctype|html|\?xml)', 'a web page',
     'Download the file itself, not the page about it'),
    (rb'PK\x03\x04', 'a ZIP archive or a PyTorch checkpoint', 'Unpack or convert it first'),
    # Protobuf: ir_version (a small number), then another field of ModelProto.
    (rb'\x08[\x01-\x1f][\x12\x1a\x22\x2a\x32\x3a\x42]', ONNX, 'Convert it for the NPU'),
)


def kind_of(head: bytes) -> tuple[str, str]:
    """Tell what a file is and what to do if it should be something else; ('', '') = unknown."""
    return next(
        ((what, remedy) for mark, what, remedy in _KINDS if re.match(mark, head)), ('', '')
    )
