# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
What a .gguf file says about itself, without llama.cpp.

    0  'GGUF', u32: version, u64: number of tensors, u64: number of facts
       each fact: its name, u32: type, its value
       each tensor: its name, u32: dimensions, u64 each, u32: type, u64: where its numbers begin
       the numbers, from the next multiple of general.alignment

A text is its u64 length and its bytes; an array its u32 type, its u64 length and its items.
"""

from __future__ import annotations

from dataclasses import dataclass
import math
import mmap
from pathlib import Path
import struct
from typing import Any

from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.kinds import ENOUGH, GGUF, kind_of

_VERSIONS = (2, 3)
_TEXT, _ARRAY = 8, 9
_NUMBERS = {0: 'B', 1: 'b', 2: 'H', 3: 'h', 4: 'I', 5: 'i', 6: 'f', 7: '?', 10: 'Q', 11: 'q',
            12: 'd'}
_MOST = 1 << 24  # facts, tensors, or items of an array; a file that says more is damaged
_LONGEST_TEXT = 1 << 24  # bytes
_MOST_DIMENSIONS = 8
# Numbers in a block and its bytes, by type (ggml.h); of others a byte for each 8 numbers at least.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 40), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4),
    27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66),
    39: (32, 17), 40: (64, 36), 41: (128, 18),
}
_UNKNOWN_BLOCK = (8, 1)


@dataclass(frozen=True)
class GgufFile:
    """
    A language model or a vision encoder (mmproj) as its file describes it.

    facts: by name; of arrays only the length, as an int.
    tensors: how many. parameters: numbers in all of them.
    """

    path: Path
    facts: dict[str, Any]
    tensors: int
    parameters: int

    @property
    def is_encoder(self) -> bool:
        """Whether it turns pictures into embeddings: what llama.cpp calls mmproj."""
        return self.facts.get('general.type') == 'mmproj' or self.architecture == 'clip'

    @property
    def sees(self) -> bool:
        """Whether this encoder is for pictures, and not for sound alone."""
        return self.is_encoder and self.facts.get('clip.has_vision_encoder') is not False

    @property
    def architecture(self) -> str:
        return str(self.facts.get('general.architecture', ''))

    @property
    def context(self) -> int:
        """Return the longest context in tokens; 0 = not told, or an encoder."""
        told = self.facts.get(f'{self.architecture}.context_length')
        return told if type(told) is int and told > 0 else 0

    @classmethod
    def read(cls, path: Path) -> GgufFile:
        """Read a description; raise ModelFileError unless the file is whole."""
        try:
            with open(path, 'rb') as file:
                head = file.read(ENOUGH)
                if not head.startswith(b'GGUF'):
                    raise _not_gguf(path, head)
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    return _read(path, data)
        except (OSError, ValueError) as error:
            raise ModelFileError(f'{path} cannot be read: {error}') from error
        except (struct.error, OverflowError, _DamagedError) as error:
            raise ModelFileError(
                f'{path} is cut short or damaged: {error}',
                'Copy or download it again and compare the sizes',
            ) from error


class _DamagedError(Exception):
    pass


def _not_gguf(path: Path, head: bytes) -> ModelFileError:
    what, remedy = kind_of(head)
    found = f'is {what}' if what else f"begins with '{head[:8].hex(' ')}', not with 'GGUF'"
    return ModelFileError(
        f'{path} is not {GGUF}: it {found if head else "is empty"}',
        remedy or 'Copy or download it again',
    )


def _read(path: Path, data: mmap.mmap) -> GgufFile:
    reader = _Reader(data)
    version, tensors, facts = reader.numbers('<IQQ')
    if version not in _VERSIONS:
        raise ModelFileError(
            f'{path} has version {version} of the format, known are 2 and 3: it is damaged, made '
            'for a machine with another byte order, or newer than this program'
        )
    if max(tensors, facts) > _MOST:
        raise _DamagedError(f'it announces {tensors} tensors and {facts} facts')
    known = {}
    for _ in range(facts):
        name, (kind,) = reader.text(), reader.numbers('<I')
        known[name] = reader.value(kind)
    parameters = end = 0
    for _ in range(tensors):
        name, (dimensions,) = reader.text(), reader.numbers('<I')
        if dimensions > _MOST_DIMENSIONS:
            raise _DamagedError(f'the tensor {name[:100]!r} has {dimensions} dimensions')
        count = math.prod(reader.numbers(f'<{dimensions}Q'))
        kind, begin = reader.numbers('<IQ')
        in_block, size = _BLOCKS.get(kind, _UNKNOWN_BLOCK)
        parameters += count
        end = max(end, begin + count // in_block * size)
    alignment = known.get('general.alignment', 32)
    if type(alignment) is not int or not alignment > 0:
        raise _DamagedError(f'general.alignment is {alignment!r}')
    needed = -(-reader.at // alignment) * alignment + end
    if needed > len(data):
        raise _DamagedError(f'it has {len(data)} bytes, its header announces {needed}')
    return GgufFile(path, known, tensors, parameters)


class _Reader:
    """Reads one thing after the other; struct.error where the file has ended."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.at = 4  # after the mark

    def numbers(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(form, self._data, self.at)
        self.at += struct.calcsize(form)
        return found

    def text(self) -> str:
        """Read a text; one that is not UTF-8, such as a piece of a character, with escapes."""
        length = self._length()
        if self.at + length > len(self._data):
            raise _DamagedError('a text goes on beyond its end')
        self.at += length
        return self._data[self.at - length:self.at].decode(errors='backslashreplace')

    def value(self, kind: int) -> Any:
        """Read a value, of an array only its length."""
        if kind == _TEXT:
            return self.text()
        if kind != _ARRAY:
            return self.numbers(f'<{self._form(kind)}')[0]
        kind, count = self.numbers('<IQ')
        if count > _MOST:
            raise _DamagedError(f'an array has {count} items')
        if kind in _NUMBERS:
            self.at += count * struct.calcsize(f'<{_NUMBERS[kind]}')
        elif kind == _TEXT:
            for _ in range(count):
                length = self._length()
                self.at += length
        else:
            raise _DamagedError(f'an array has items of type {kind}')
        return count

    def _length(self) -> int:
        (length,) = self.numbers('<Q')
        if length > _LONGEST_TEXT:
            raise _DamagedError(f'a text has {length} bytes')
        return int(length)

    def _form(self, kind: int) -> str:
        if kind not in _NUMBERS:
            raise _DamagedError(f'a fact has the type {kind}')
        return _NUMBERS[kind]
