# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path
import struct

import pytest
from vlm_npu_ros.convert.checkpoint import Checkpoint
from vlm_npu_ros.engine.errors import ModelFileError


def write_weights(path: Path, *shapes: tuple[int, ...]) -> None:
    header, at = {'__metadata__': {'format': 'pt'}}, 0
    for i, (rows, columns) in enumerate(shapes):
        end = at + 2 * rows * columns
        header[f'weight.{i}'] = {
            'dtype': 'BF16', 'shape': [rows, columns], 'data_offsets': [at, end],
        }
        at = end
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack('<Q', len(text)) + text + bytes(at))


def write_config(folder: Path, **config: object) -> Path:
    """Write a description of a model; return its folder."""
    (folder / 'config.json').write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize('config, dim', [
    ({'text_config': {'hidden_size': 8}, 'hidden_size': 4}, 8),
    ({'llm_config': {'hidden_size': 6}}, 6),
    ({'hidden_size': 4}, 4),
    ({}, 0),
])
def test_width_of_the_language_model(config: dict[str, object], dim: int, tmp_path: Path) -> None:
    write_weights(tmp_path / 'model.safetensors', (3, 5), (2, 2))
    found = Checkpoint.read(write_config(tmp_path, model_type='qwen3_vl', **config))
    assert (found.model_type, found.dim, found.parameters) == ('qwen3_vl', dim, 19)


def test_only_the_files_of_the_index_count(tmp_path: Path) -> None:
    write_config(tmp_path, model_type='qwen2_vl')
    for name in ('a', 'b', 'other'):
        write_weights(tmp_path / f'{name}.safetensors', (10, 10))
    index = tmp_path / 'model.safetensors.index.json'
    index.write_text('{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}')
    assert Checkpoint.read(tmp_path).parameters == 200
    (tmp_path / 'b.safetensors').unlink()
    with pytest.raises(ModelFileError, match='b.safetensors missing'):
        Checkpoint.read(tmp_path)


@pytest.mark.parametrize('name, data, words', [
    ('config.json', b'version https://git-lfs', 'does not describe a model'),
    ('config.json', b'[]', 'does not describe a model'),
    ('config.json', b'{"hidden_size": 4}', 'model_type'),
    ('config.json', b'{"model_type": "x", "text_config": 3}', 'does not describe a model'),
    ('model.safetensors', b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
    ('model.safetensors', b'', 'cannot be read'),
    ('model.safetensors', struct.pack('<Q', 2) + b'[]', 'cannot be read'),
    ('model.safetensors.index.json', b'{}', 'index.json cannot be read'),
])
def test_damaged_file_is_named(name: str, data: bytes, words: str, tmp_path: Path) -> None:
    write_weights(tmp_path / 'model.safetensors', (2, 2))
    write_config(tmp_path, model_type='qwen2_vl')
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelFileError, match=words) as caught:
        Checkpoint.read(tmp_path)
    assert str(tmp_path / name) in str(caught.value)


def test_weights_that_are_cut_short_are_an_error(tmp_path: Path) -> None:
    write_config(tmp_path, model_type='qwen2_vl')
    path = tmp_path / 'model.safetensors'
    write_weights(path, (20, 20))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match='cut short'):
        Checkpoint.read(tmp_path)


def test_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match='not a Hugging Face model'):
        Checkpoint.read(tmp_path)
    with pytest.raises(ModelFileError, match='no weights'):
        Checkpoint.read(write_config(tmp_path, model_type='qwen2_vl'))
