# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from vlm_npu_ros.engine.catalogue import catalogue, Entry, File, Variant
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.registry import names
from vlm_npu_ros.pull.choosing import files_of, variant_for, variant_of
from vlm_npu_ros.pull.hub import RemoteFile

BOARD = ('Vision_RK3576.rknn', 'Vision_RK3588.rknn', 'LLM_RK3576_w4a16_g128.rkllm',
         'LLM_RK3576_w8a8.rkllm', 'LLM_RK3588_w8a8.rkllm')
GGUF = ('mmproj-BF16.gguf', 'mmproj-F16.gguf', 'X-UD-Q4_K_XL.gguf', 'X-Q4_K_M.gguf',
        'X-Q8_0.gguf', 'X-F16.gguf')
SPLIT = ('mmproj-Q8_0.gguf', 'q/X-Q4_K_M-00001-of-00002.gguf', 'q/X-Q4_K_M-00002-of-00002.gguf')


def repository(*paths: str) -> Any:
    files = [RemoteFile(path, 1, f'sha of {path}', '') for path in paths]
    return SimpleNamespace(name='test/repository', files=files, licence='')


def chosen(paths: tuple[str, ...], variant: Variant, weights: str = '') -> list[str]:
    encoder, model, parts = files_of(repository(*paths), variant, weights)
    return [file.path for file in (encoder, model, *parts)]


def variant(backend: str, chip: str = '', **more: Any) -> Variant:
    return Variant(backend, 'test/repository', 'tests', chip, **more)


def test_pair_of_a_repository_is_found(reader: object) -> None:
    for paths, wanted, weights, expected in (
        (BOARD, variant('rknpu', 'rk3588'), '', [BOARD[1], BOARD[4]]),
        (BOARD, variant('rknpu', 'rk3576'), '', [BOARD[0], BOARD[3]]),
        (BOARD, variant('rknpu', 'rk3576'), 'w4a16_g128', [BOARD[0], BOARD[2]]),
        (('model/v.rknn', 'model/m.rkllm', 'a.onnx'), variant('rknpu', 'rk3588'), '',
         ['model/v.rknn', 'model/m.rkllm']),
        (GGUF, variant('reader'), '', [GGUF[1], GGUF[3]]),
        (GGUF, variant('reader'), 'q8_0', [GGUF[1], GGUF[4]]),
        (GGUF, variant('reader'), 'F16', [GGUF[1], GGUF[5]]),
        (SPLIT, variant('reader'), '', list(SPLIT)),
        (GGUF, variant('reader', language_model=File('X-UD*')), '', [GGUF[1], GGUF[2]]),
        (('eye.gguf', 'x.gguf', 'mmproj.gguf'), variant('reader', encoder=File('eye.gguf')), '',
         ['eye.gguf', 'x.gguf']),
    ):
        assert chosen(paths, wanted, weights) == expected


def test_doubt_lists_the_candidates(reader: object) -> None:
    for paths, wanted, weights, words in (
        (BOARD, variant('rknpu'), '', 'Vision_RK3576.rknn, Vision_RK3588.rknn'),
        (BOARD, variant('rknpu', 'rk3562'), '', 'None fits'),
        (GGUF, variant('reader'), 'Q2_K', 'X-Q4_K_M.gguf'),
        (GGUF[2:], variant('reader'), '', 'encoder'),
        (('mmproj-F16.gguf', 'a.gguf', 'b.gguf'), variant('reader'), '', 'a.gguf, b.gguf'),
    ):
        with pytest.raises(ModelFileError, match=words):
            chosen(paths, wanted, weights)


def test_file_that_the_catalogue_pins_must_be_that(reader: object) -> None:
    pinned = File('X-Q8_0.gguf', sha256='sha of X-Q8_0.gguf')
    assert chosen(GGUF, variant('reader', language_model=pinned)) == [GGUF[1], GGUF[4]]
    with pytest.raises(ModelFileError, match='pins'):
        chosen(GGUF, variant('reader', language_model=File('X-Q8_0.gguf', sha256=64 * '0')))


def test_variant_is_that_of_the_machine(reader: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('VLM_NPU_SYSROOT', '/nowhere')
    any_machine, board = variant('reader'), variant('rknpu', 'rk3588')
    other = variant('rknpu', 'rk3576')
    entry = Entry('', (any_machine, board, other))
    assert variant_for('x', entry, '', '') == any_machine
    assert variant_for('x', entry, 'rk3588', '') == board
    assert variant_for('x', entry, 'rk3576', '') == other
    assert variant_for('x', entry, 'rk3588', 'reader') == any_machine
    for chip, backend in (('', 'rknpu'), ('rk3562', 'rknpu'), ('', 'onnx')):
        with pytest.raises(ModelFileError, match='reader, rknpu-rk3588, rknpu-rk3576'):
            variant_for('x', entry, chip, backend)


def test_variant_of_any_repository_is_known_by_its_files(
    reader: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('VLM_NPU_SYSROOT', '/nowhere')
    both = repository(*BOARD, *GGUF)
    assert variant_of(both, 'rk3588', '').name == 'rknpu-rk3588'
    assert variant_of(both, '', '').backend in ('llamacpp', 'reader')
    assert variant_of(repository(*BOARD), 'rk3588', '').name == 'rknpu-rk3588'
    for chip in '', 'rk3588':
        assert variant_of(repository(*GGUF), chip, 'reader').name == 'reader'
    for paths, backend in ((('a.safetensors',), ''), (GGUF, 'rknpu'), ((), '')):
        with pytest.raises(ModelFileError, match='has no model'):
            variant_of(repository(*paths), '', backend)


def test_catalogue_is_whole() -> None:
    for name, entry in catalogue().items():
        assert entry.title and entry.variants, name
        assert len({variant.name for variant in entry.variants}) == len(entry.variants), name
        for variant in entry.variants:
            assert variant.backend in (*names(), 'llamacpp') and variant.source, name
            assert variant.repository.count('/') == 1, name
            of_board = variant.backend == 'rknpu'
            assert (bool(variant.profile), bool(variant.chip)) == (of_board, of_board), name
