# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Small files as llama.cpp's converter writes them: facts and one tensor of zeros."""

from __future__ import annotations

from pathlib import Path
import struct
from typing import Any

TEXT, ARRAY, U32, BOOL, F32 = 8, 9, 4, 7, 6
ENCODER = {
    'general.type': 'mmproj', 'general.architecture': 'clip', 'clip.has_vision_encoder': True,
}
LANGUAGE_MODEL = {
    'general.type': 'model', 'general.architecture': 'llama', 'general.name': 'Tiny',
    'llama.context_length': 8192, 'tokenizer.ggml.tokens': ['<s>', 'a', 'bee'],
    'tokenizer.ggml.scores': [0.0, 1.0, 2.5],
}


def gguf(facts: dict[str, Any], numbers: int = 64, kind: int = 0, version: int = 3) -> bytes:
    """Return the bytes of a file; numbers: of its tensor, whose type is `kind` (0: float32)."""
    head = struct.pack('<4sIQQ', b'GGUF', version, 1, len(facts))
    head += b''.join(_text(name) + _fact(value) for name, value in facts.items())
    head += _text('weight') + struct.pack('<IQIQ', 1, numbers, kind, 0)
    head += bytes(-len(head) % 32)
    return head + bytes(4 * numbers if kind == 0 else numbers // 32 * 34)


def write(path: Path, facts: dict[str, Any], **more: int) -> Path:
    path.write_bytes(gguf(facts, **more))
    return path


def _text(text: str) -> bytes:
    return struct.pack('<Q', len(text.encode())) + text.encode()


def _fact(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack('<I?', BOOL, value)
    if isinstance(value, str):
        return struct.pack('<I', TEXT) + _text(value)
    if isinstance(value, int):
        return struct.pack('<II', U32, value)
    if isinstance(value, float):
        return struct.pack('<If', F32, value)
    kind = TEXT if isinstance(value[0], str) else F32
    items = b''.join(_text(i) if kind == TEXT else struct.pack('<f', i) for i in value)
    return struct.pack('<IIQ', ARRAY, kind, len(value)) + items
