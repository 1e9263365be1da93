# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import shutil

import onnx
import pytest
from vlm_npu_ros.convert.metadata import custom_string, metadata
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.inspect import inspect_file
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import load_profile

DATA = Path(__file__).parents[2] / 'data'


def test_rknn_file() -> None:
    path = DATA / 'tiny_folded_2.5.0.rknn'
    found = inspect_file(path)
    assert (found.kind, found.size) == ('rknn', path.stat().st_size)
    facts = found.facts
    assert (facts['pixels'], facts['tokens'], facts['outputs'], facts['dim']) == (32, 16, 1, 8)
    assert facts['folded'] and facts['mean'] == pytest.approx((122.77, 116.75, 104.09), abs=0.01)
    assert (facts['platform'], facts['toolkit']) == ('rk3588', '2.5.0')
    assert facts['metadata'] == {'model': 'tiny'}
    assert found.models == () and found.matched == ''
    assert found.memory.at_least == found.size and found.memory.published_gb is None


def test_rknn_file_that_normalises_nothing() -> None:
    facts = inspect_file(DATA / 'tiny_float.rknn').facts
    assert not facts['folded'] and facts['mean'] is None


def test_rknn_file_that_brings_its_profile_along(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    labels = metadata(replace(load_profile('internvl3-1b'), name='my-model'), 'internvl', 'abc')
    path = tmp_path / 'vision.rknn'
    path.write_bytes(b'RKNN')
    described = RknnFile(
        path=path, size=448, layout='nhwc', mean=None, std=None, outputs=((256, 896),),
        platform='rk3588', toolkit='2.5.0', custom_string=custom_string(labels),
    )
    monkeypatch.setattr(RknnFile, 'try_read', lambda path: described)
    found = inspect_file(path)
    assert (found.models, found.matched) == (('my-model',), 'its metadata')
    assert found.facts['metadata']['revision'] == 'abc'
    assert found.memory.published_gb is None


def test_encrypted_file_is_known_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / 'Qwen3-VL-2B_vision.rknn'
    shutil.copy(DATA / 'tiny_encrypted.rknn', path)
    found = inspect_file(path)
    assert found.facts == {'shapes': None}
    assert (found.models, found.matched) == (('qwen3-vl-2b',), 'its name')


def test_rkllm_file_is_known_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / 'internvl3-1b_w8a8_rk3588.rkllm'
    path.write_bytes(b'\1\2\3\4' * 100)
    found = inspect_file(path)
    published = load_profile('internvl3-1b').published
    assert (found.kind, found.size, found.models) == ('rkllm', 400, ('internvl3-1b',))
    assert (found.memory.at_least, found.memory.published_gb) == (400, published.ram_gb)
    assert found.memory.source == published.source


@pytest.mark.parametrize('name, size, tokens, outputs, dim, mean, models, matched', [
    # As public files are called, and what they are.
    ('qwen3-vl-2b_vision_rk3588.rknn', 448, 196, 4, 2048, 0.5, ['qwen3-vl-2b'], 'name and'),
    ('vision.rknn', 448, 196, 4, 2048, 0.5, ['qwen3-vl-2b'], 'shapes'),
    ('vision.rknn', 448, 256, 1, 1024, 0.5, [], ''),  # InternVL's shape with wrong colours
    ('qwen3-vl-2b.rknn', 448, 196, 4, 2560, 0.5, ['qwen3-vl-4b'], 'shapes'),  # a wrong name
    ('vision.rknn', 512, 256, 4, 2048, 0.5, [], ''),  # of a size that no profile knows
    ('qwen3-vl-2b_512.rknn', 512, 256, 4, 2048, 0.5, ['qwen3-vl-2b'], 'name and'),
])
def test_profile_is_found_from_what_the_file_tells(
    name: str, size: int, tokens: int, outputs: int, dim: int, mean: float, models: list[str],
    matched: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    path = tmp_path / name
    path.write_bytes(b'RKNN')
    described = RknnFile(
        path=path, size=size, layout='nhwc', mean=(255 * mean,) * 3, std=(127.5,) * 3,
        outputs=((tokens, dim),) * outputs, platform='rk3588', toolkit='2.3.2', custom_string='',
    )
    monkeypatch.setattr(RknnFile, 'try_read', lambda path: described)
    found = inspect_file(path)
    assert list(found.models) == models
    assert matched in found.matched


def test_metadata_that_contradicts_the_shapes_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / 'vision.rknn'
    path.write_bytes(b'RKNN')
    described = RknnFile(
        path=path, size=448, layout='nhwc', mean=None, std=None, outputs=((196, 8),),
        platform='rk3588', toolkit='2.3.2', custom_string='{"model": "qwen3-vl-2b"}',
    )
    monkeypatch.setattr(RknnFile, 'try_read', lambda path: described)
    found = inspect_file(path)
    assert (found.models, found.matched) == (
        ('qwen3-vl-2b',), 'its metadata, which its shapes contradict',
    )


def test_onnx_file() -> None:
    found = inspect_file(DATA / 'tiny_four.onnx')
    assert (found.kind, found.models) == ('onnx', ())
    assert found.facts['inputs'] == [
        {'name': 'pixel', 'dtype': 'float32', 'shape': [1, 3, 32, 32]}
    ]
    assert [t['name'] for t in found.facts['outputs']] == ['4820', '1669', '2720', '3771']
    assert found.facts['opset'] == 17


def test_onnx_file_without_the_file_of_its_weights_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / 'tower.onnx'
    onnx.save(
        onnx.load(DATA / 'tiny.onnx'), path, save_as_external_data=True, location='tower.data',
        size_threshold=0,
    )
    found = inspect_file(path)
    assert found.size == path.stat().st_size + (tmp_path / 'tower.data').stat().st_size
    (tmp_path / 'tower.data').unlink()
    with pytest.raises(ModelFileError, match='tower.data'):
        inspect_file(path)


@pytest.mark.parametrize('name, data, words', [
    ('notes.txt', b'nothing of the kind', 'not a .rknn, .rkllm or .onnx file'),
    ('empty', b'', 'it is empty'),
    ('vision.rknn', b'version https://git-lfs.github.com/spec/v1', 'git lfs pull'),
    ('llm.rkllm', b'<!DOCTYPE html>', 'web page'),
    ('vision.rknn', b'RKNN'.ljust(64, b'\1'), 'cut short'),
    ('graph.onnx', b'\x08\x08\x12\x07pytorch', 'not an ONNX file'),
])
def test_what_is_none_of_these_is_an_error(
    name: str, data: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=words) as caught:
        inspect_file(path)
    assert str(path) in str(caught.value)


def test_missing_file_is_an_error() -> None:
    with pytest.raises(ModelFileError, match='cannot be read'):
        inspect_file(Path('/nowhere.rknn'))
