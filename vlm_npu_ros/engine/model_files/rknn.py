# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
What a .rknn file says about itself, without any runtime.

    0  'RKNN', u64 at 8: format version, u64 at 16: length of the body
   64  the body: a FlatBuffer whose root table holds texts about the model, and its weights
       u64: length of the trailer
       the trailer: JSON

The texts have the same places in the root table in files of rknn-toolkit2 1.6.1 to 2.5.0.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
import mmap
import os
from pathlib import Path
import re
import struct
from typing import Any

from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.kinds import kind_of, SWAPPED
from vlm_npu_ros.engine.model_files.other_npus import refuse_rknn3

_HEADER = 64  # bytes
_ENCRYPTED = (b'CYPTRKNN', b'RKCE')
_LONGEST_TEXT = 1 << 20  # bytes
_LONGEST_QUOTE = 200  # characters
_LARGEST_SIDE = 8192  # pixels; a file that says more is damaged
# Places in the root table.
_ATTRIBUTES, _TOOLKIT, _PLATFORM, _CUSTOM_STRING, _INPUT_LAYOUTS = 3, 7, 8, 11, 12


@dataclass(frozen=True)
class RknnFile:
    """
    A vision encoder as its file describes it.

    size: side of the square picture in pixels.
    layout: how the runtime wants the picture, 'nhwc' or 'nchw'.
    mean, std: what the model itself subtracts and divides by, for each of R, G and B in 0..255;
        None if it wants pixels that are already normalised.
    outputs: shapes in the order of the outputs, all alike: any number of 1, tokens, dim.
    platform: the chip that it was converted for, for example 'rk3588'.
    toolkit: version of rknn-toolkit2 that made the file.
    custom_string: free text, put in at the conversion.
    """

    path: Path
    size: int
    layout: str
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    outputs: tuple[tuple[int, ...], ...]
    platform: str
    toolkit: str
    custom_string: str

    @property
    def folded(self) -> bool:
        """Whether the model normalises the pixels itself."""
        return self.mean is not None

    @property
    def tokens(self) -> int:
        """How many tokens a picture becomes."""
        return self.outputs[0][-2]

    @property
    def dim(self) -> int:
        """Length of one token of one output."""
        return self.outputs[0][-1]

    @classmethod
    def read(cls, path: Path) -> RknnFile:
        """Read a description; raise ModelFileError if the file is not a readable encoder."""
        found = cls.try_read(path)
        if found is None:
            raise ModelFileError(
                f'{path} does not tell its shapes: it is encrypted, or a later rknn-toolkit2 than '
                '2.5.0 made it',
                'Export it unencrypted (export_rknn)',
            )
        return found

    @classmethod
    def try_read(cls, path: Path) -> RknnFile | None:
        """Do as `read`, but return None if the file is whole and its description unreadable."""
        refuse_rknn3(path)
        with _open(path) as data:
            if not _is_whole(path, data):
                return None
            texts = _root_texts(data)
        refuse_rknn3(path, texts.get(_PLATFORM, ''))
        try:
            (layout,) = json.loads(texts[_INPUT_LAYOUTS]).values()
            return cls.from_attributes(
                path,
                ast.literal_eval(texts[_ATTRIBUTES])['attrs'],
                layout='nchw' if layout['layout'] == 'NCHW' else 'nhwc',
                platform=texts[_PLATFORM],
                toolkit=re.split(r'[(\s]', texts[_TOOLKIT])[0],
                custom_string=texts.get(_CUSTOM_STRING, ''),
            )
        # Of literal_eval, and of descriptions in another form.
        except (LookupError, TypeError, AttributeError, ValueError, SyntaxError, MemoryError,
                RecursionError, OverflowError):
            return None

    @classmethod
    def from_attributes(
        cls, path: Path, attributes: Mapping[str, Mapping[str, Any]], **others: str
    ) -> RknnFile:
        """
        Describe what goes in and out; raise ModelFileError if that is not an encoder.

        attributes: of each input and output by its name, as rknn-toolkit2 writes them.
        others: the fields of this class that hold text.
        """
        inputs = {n: a for n, a in attributes.items() if not a.get('is_output')}
        outputs = sorted(
            (a for a in attributes.values() if a.get('is_output')), key=lambda a: int(a['idx'])
        )
        if len(inputs) != 1:
            raise ModelFileError(
                f'{path} is not a usable vision encoder: expected one input, the picture, '
                f'found {len(inputs)}: {_quoted(", ".join(inputs))}',
                'Fold the others in when converting (input_initial_val)',
            )
        (picture,) = inputs.values()
        mean, std = picture['mean'], picture['std']
        if len(mean) not in (1, 3) or len(std) not in (1, 3):
            raise ValueError(f'{path} has {len(mean)} colours')
        # rknn-toolkit2 writes 0 and 1, once or for each colour, if nothing is folded in.
        folded = any(mean) or any(value != 1 for value in std)
        return cls(
            path=path,
            size=_side(path, picture),
            mean=tuple(map(float, mean)) if folded else None,
            std=tuple(map(float, std)) if folded else None,
            outputs=_output_shapes(path, [tuple(a['shape']) for a in outputs]),
            **others,
        )


def _open(path: Path) -> mmap.mmap:
    """Map the file, which may have a gigabyte: only the pages that are looked at are read."""
    try:
        if os.path.getsize(path) == 0:
            raise ModelFileError(f'{path} is empty', 'Copy or download it again')
        with open(path, 'rb') as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ModelFileError(f'{path} cannot be read: {error}') from error


def _is_whole(path: Path, data: mmap.mmap) -> bool:
    """Tell whether the file is unencrypted; raise ModelFileError if it is damaged."""
    head = data[:_HEADER]
    if head.startswith(_ENCRYPTED):
        return False
    if not head.startswith(b'RKNN'):
        what, remedy = kind_of(head)
        if not what and path.suffix == '.rkllm':
            what, remedy = 'a language model by its name', SWAPPED
        raise ModelFileError(
            f'{path} is not a .rknn vision encoder: it '
            + (f'is {what}' if what else f"begins with '{head[:8].hex(' ')}', not with 'RKNN'"),
            remedy or 'Copy or download it again',
        )
    try:
        (body,) = struct.unpack_from('<Q', data, 16)
        (trailer,) = struct.unpack_from('<Q', data, _HEADER + body)
        missing = _HEADER + body + 8 + trailer > len(data)
    except (struct.error, OverflowError):
        missing = True
    if missing:
        raise ModelFileError(
            f'{path} is cut short or damaged: it has {len(data)} bytes, its header announces more',
            'Copy or download it again and compare the sizes',
        )
    return True


def _root_texts(data: mmap.mmap) -> dict[int, str]:
    """
    Read the texts of the body's root table, by their places in it.

    FlatBuffers: a u32 points forwards from where it stands; the i32 at the start of a table points
    backwards, to the list of its fields. A text is its u32 length and its bytes.
    """
    def number(form: str, at: int) -> int:
        return int(struct.unpack_from(form, data, at)[0])

    texts = {}
    try:
        root = _HEADER + number('<I', _HEADER)
        fields = root - number('<i', root)
        for place in (_ATTRIBUTES, _TOOLKIT, _PLATFORM, _CUSTOM_STRING, _INPUT_LAYOUTS):
            offset = number('<H', fields + 4 + 2 * place)
            if offset:  # 0: not there
                text = root + offset + number('<I', root + offset)
                length = min(number('<I', text), _LONGEST_TEXT)
                texts[place] = data[text + 4:text + 4 + length].decode()
    except (struct.error, UnicodeDecodeError):
        return {}
    return texts


def _side(path: Path, picture: Mapping[str, Any]) -> int:
    match picture['layout'], picture['shape']:
        case ('nchw', [1, 3, int(height), int(width)]) | (
            'nhwc', [1, int(height), int(width), 3]
        ) if height == width and 1 <= height <= _LARGEST_SIDE:
            return height
    raise ModelFileError(
        f'{path} is not a usable vision encoder: expected a square RGB picture, found an '
        f'input of {_quoted(picture["shape"])} ({_quoted(picture["layout"])})'
    )


def _output_shapes(path: Path, shapes: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    plain = all(
        len(s) >= 2
        and all(isinstance(length, int) and length > 0 for length in s)
        and set(s[:-2]) <= {1}
        for s in shapes
    )
    if not shapes or not plain or len(set(shapes)) > 1:
        raise ModelFileError(
            f'{path} is not a vision encoder: expected outputs of (tokens, dim), all alike, found '
            f'{_quoted(shapes)}'
        )
    return tuple(shapes)


def _quoted(value: object) -> str:
    """Make any content of a file fit for a message."""
    return str(value)[:_LONGEST_QUOTE].encode('ascii', 'backslashreplace').decode()
