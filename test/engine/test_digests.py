# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from pathlib import Path
import shutil
import subprocess

import pytest
from vlm_npu_ros.engine import digests as module
from vlm_npu_ros.engine.digests import Digests
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.models import load_profile
from vlm_npu_ros.engine.progress import Event

ONNX = """\
name: mine
backend: onnx
folder: files
encoder: see.onnx
language_model: talk.onnx
tokenizer: words.json
context: 512
"""
RKNPU = """\
name: mine
backend: rknpu
files: mine
context: 512
image: {tokens: {448: 196}, outputs: 1, dim: 8, mean: [0, 0, 0], std: [1, 1, 1]}
tags: {start: '', end: '', content: '<c>'}
min_runtime: '1.2.3'
"""
HASH = 64 * 'a'


def pinned(folder: Path, sha256: str, profile: str = ONNX) -> Digests:
    path = folder / 'mine.yaml'
    path.write_text(f'{profile}sha256: {sha256}\n')
    return load_profile(str(path)).sha256


def write(path: Path, data: bytes) -> tuple[Path, str]:
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def test_nothing_is_pinned_where_a_profile_says_nothing(tmp_path: Path) -> None:
    events: list[Event] = []
    load_profile('demo').sha256.check(events.append, encoder=tmp_path / 'not_there')
    assert events == []


def test_pinned_files_pass_and_each_is_told(tmp_path: Path) -> None:
    see, see_hash = write(tmp_path / 'see', b'see')
    talk, talk_hash = write(tmp_path / 'talk', b'')
    words, words_hash = write(tmp_path / 'words', bytes(module._CHUNK) + b'and more')
    digests = pinned(
        tmp_path,
        f'{{encoder: {see_hash}, language_model: {talk_hash.upper()}, tokenizer: {words_hash}}}',
    )
    events: list[Event] = []
    digests.check(events.append, encoder=see, language_model=talk, tokenizer=words)
    for path, event in zip((see, talk, words), events, strict=True):
        assert str(path) in str(event)


def test_other_file_is_an_error_that_names_it_and_both_hashes(tmp_path: Path) -> None:
    see, see_hash = write(tmp_path / 'see', b'see')
    talk, talk_hash = write(tmp_path / 'talk', b'talk')
    digests = pinned(tmp_path, f'{{encoder: {see_hash}, language_model: {HASH.upper()}}}')
    with pytest.raises(ModelFileError) as caught:
        digests.check(lambda event: None, encoder=see, language_model=talk)
    assert all(word in str(caught.value) for word in (str(talk), HASH, talk_hash))
    assert str(see) not in str(caught.value)


def test_file_that_is_not_pinned_may_be_any(tmp_path: Path) -> None:
    see, see_hash = write(tmp_path / 'see', b'see')
    digests = pinned(tmp_path, f'{{encoder: {see_hash}}}')
    digests.check(lambda event: None, encoder=see, language_model=tmp_path / 'not_there')


@pytest.mark.parametrize('name', ['not_there', '.'])
def test_file_that_can_not_be_read_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(ModelFileError, match='cannot be read') as caught:
        pinned(tmp_path, f'{{encoder: {HASH}}}').check(lambda event: None, encoder=path)
    assert str(path) in str(caught.value)


@pytest.mark.skipif(not shutil.which('sha256sum'), reason='sha256sum is not installed')
def test_hash_is_that_of_sha256sum(tmp_path: Path) -> None:
    path, _ = write(tmp_path / 'see', b'see')
    printed = subprocess.run(['sha256sum', path], capture_output=True, text=True, check=True)
    digests = pinned(tmp_path, f'{{encoder: {printed.stdout.split()[0]}}}')
    digests.check(lambda event: None, encoder=path)


@pytest.mark.parametrize(('sha256', 'words'), [
    ('abc', 'sha256 must be a mapping'),
    ('{weights: abc}', 'sha256.weights is not one of encoder, language_model, tokenizer'),
    ('{encoder: abc}', r"sha256\.encoder must be the 64 hexadecimal digits .*, not 'abc'"),
    ("{encoder: ''}", "sha256.encoder must be the 64 .*, not ''"),
    (f'{{encoder: {HASH}a}}', 'sha256.encoder must be the 64'),
    (f'{{encoder: g{HASH[1:]}}}', 'sha256.encoder must be the 64'),
    (f'{{encoder: "{HASH}\\n"}}', 'sha256.encoder must be the 64'),
    (f'{{tokenizer: {64 * "1"}}}', 'sha256.tokenizer must be text, in quotes'),
    (f'{{language_model: [{HASH}]}}', 'sha256.language_model must be text'),
])
def test_wrong_form_is_an_error_of_the_profile(sha256: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=words) as caught:
        pinned(tmp_path, sha256)
    assert str(tmp_path / 'mine.yaml') in str(caught.value)


def test_tokenizer_in_the_language_model_can_not_be_pinned(tmp_path: Path) -> None:
    assert pinned(tmp_path, f'{{language_model: {HASH}}}', RKNPU).language_model == HASH
    with pytest.raises(ModelFileError, match='the tokenizer is in the language model'):
        pinned(tmp_path, f'{{tokenizer: {HASH}}}', RKNPU)
