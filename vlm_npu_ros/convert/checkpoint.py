# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What the folder of a Hugging Face model says, without loading it."""

from __future__ import annotations

from dataclasses import dataclass
import hashlib
import json
import math
from pathlib import Path
import struct
from typing import Any

from vlm_npu_ros.engine.errors import ModelFileError

_LONGEST_HEADER = 100_000_000  # bytes; as the safetensors library has it
# Keys under which families describe their language model; others do so at the top level.
_LANGUAGE_MODELS = ('text_config', 'llm_config', 'language_config')


@dataclass(frozen=True)
class Checkpoint:
    """
    A model before its conversion.

    model_type: the family, in Hugging Face's words.
    dim: embedding width of the language model; 0 = not known.
    parameters: how many numbers its weights have.
    """

    folder: Path
    model_type: str
    dim: int
    parameters: int
    config_sha256: str

    @classmethod
    def read(cls, folder: Path) -> Checkpoint:
        """Read the folder; raise ModelFileError unless it holds a whole model."""
        path = folder / 'config.json'
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelFileError(
                f'{folder} is not a Hugging Face model: {path} cannot be read: {error}'
            ) from error
        try:
            config = json.loads(data)
            model_type, dim = str(config['model_type']), _dim(config)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ModelFileError(
                f'{path} does not describe a model: {type(error).__name__}: {error}'
            ) from error
        return cls(folder, model_type, dim, _parameters(folder), hashlib.sha256(data).hexdigest())


def _dim(config: dict[str, Any]) -> int:
    for name in _LANGUAGE_MODELS:
        if 'hidden_size' in config.get(name, {}):
            return int(config[name]['hidden_size'])
    return int(config.get('hidden_size', 0))


def _parameters(folder: Path) -> int:
    weights = sorted(folder.glob('*.safetensors'))
    if not weights:
        raise ModelFileError(f'{folder} holds no weights: it has no *.safetensors')
    index = folder / 'model.safetensors.index.json'
    if index.is_file():
        try:
            needed = set(json.loads(index.read_bytes())['weight_map'].values())
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ModelFileError(f'{index} cannot be read: {error}') from error
        missing = needed - {w.name for w in weights}
        if missing:
            raise ModelFileError(f'{folder} is not complete: {", ".join(sorted(missing))} missing')
        weights = [folder / name for name in needed]
    return sum(math.prod(t.shape) for path in weights for t in tensors_in(path).values())


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in a .safetensors file; start: its first byte."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int


def tensors_in(path: Path) -> dict[str, Tensor]:
    """List a .safetensors file: u64 length, JSON with the shapes, the weights."""
    try:
        with open(path, 'rb') as file:
            (length,) = struct.unpack('<Q', file.read(8))
            if length > _LONGEST_HEADER:
                raise ValueError('is it a git-LFS pointer? Run `git lfs pull`')
            tensors = json.loads(file.read(length))
        end = max((t['data_offsets'][1] for n, t in tensors.items() if n[:2] != '__'), default=0)
        if path.stat().st_size < 8 + length + end:
            raise ValueError('it is cut short: copy or download it again')
        return {
            name: Tensor(path, t['dtype'], tuple(t['shape']), 8 + length + t['data_offsets'][0])
            for name, t in tensors.items() if name[:2] != '__'
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise ModelFileError(f'The weights in {path} cannot be read: {error}') from error
