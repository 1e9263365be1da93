# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
import struct

from gguf_files import ENCODER, gguf, LANGUAGE_MODEL, write
import pytest
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.gguf import GgufFile
from vlm_npu_ros.engine.model_files.inspect import inspect_file


def test_file_tells_what_it_is(tmp_path: Path) -> None:
    encoder = GgufFile.read(write(tmp_path / 'mmproj.gguf', ENCODER))
    model = GgufFile.read(write(tmp_path / 'model.gguf', LANGUAGE_MODEL, numbers=320, kind=8))
    assert encoder.is_encoder and encoder.sees and not model.is_encoder
    assert (model.architecture, model.context, model.tensors) == ('llama', 8192, 1)
    assert model.parameters == 320 and encoder.context == 0
    assert model.facts['tokenizer.ggml.tokens'] == 3


def test_encoder_of_sound_alone_sees_nothing(tmp_path: Path) -> None:
    facts = {**ENCODER, 'clip.has_vision_encoder': False, 'clip.has_audio_encoder': True}
    assert not GgufFile.read(write(tmp_path / 'mmproj.gguf', facts)).sees


def test_context_that_is_no_number_of_tokens_is_not_told(tmp_path: Path) -> None:
    for told in ('many', float('inf'), float('nan'), True):
        facts = {**LANGUAGE_MODEL, 'llama.context_length': told}
        assert GgufFile.read(write(tmp_path / 'model.gguf', facts)).context == 0, told


def test_every_shorter_file_is_refused(tmp_path: Path) -> None:
    path, whole = tmp_path / 'model.gguf', gguf(LANGUAGE_MODEL)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError) as caught:
            GgufFile.read(path)
        assert str(path) in caught.value.what and caught.value.remedy


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    path, whole = tmp_path / 'model.gguf', gguf(LANGUAGE_MODEL)
    for name, at, form, value in (
        ('version', 4, '<I', 1), ('byte order', 4, '>I', 3), ('tensors', 8, '<Q', 1 << 60),
        ('facts', 16, '<Q', 1 << 60), ('length of a name', 24, '<Q', 1 << 62),
    ):
        data = bytearray(whole)
        struct.pack_into(form, data, at, value)
        path.write_bytes(data)
        with pytest.raises(ModelFileError):
            GgufFile.read(path)
            pytest.fail(name)


def test_other_file_is_named(tmp_path: Path) -> None:
    for content, what in ((b'', 'is empty'), (b'<!doctype html>', 'web page'),
                          (b'version https://git-lfs', 'git-LFS'), (b'RKNN', 'vision encoder')):
        path = tmp_path / 'model.gguf'
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=what):
            GgufFile.read(path)


def test_inspection_shows_it(tmp_path: Path) -> None:
    found = inspect_file(write(tmp_path / 'model.gguf', LANGUAGE_MODEL))
    assert found.kind == 'gguf' and not found.facts['encoder'] and found.facts['name'] == 'Tiny'
    named_otherwise = inspect_file(write(tmp_path / 'model.bin', ENCODER))
    assert named_otherwise.kind == 'gguf' and named_otherwise.facts['encoder']
