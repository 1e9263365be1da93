# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.rkllm import check_rkllm, toolkit_of


@pytest.mark.parametrize('content, what', [
    (b'', 'is empty'),
    (b'\x7fELF\2\1\1', 'a library'),
    (b'RKNN\0\0\0\0\6', 'swapped'),
    (b'CYPTRKNN', 'swapped'),
    (b'GGUF\3', 'GGUF'),
    (b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
    (b'<!DOCTYPE html>', 'web page'),
    (b'PK\3\4', 'ZIP'),
    (b'\x08\x08\x12\x07pytorch', 'ONNX'),
])
def test_file_of_another_kind_is_told(content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / 'model.rkllm'
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=what) as caught:
        check_rkllm(path)
    assert str(path) in str(caught.value)


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match='cannot be read'):
        check_rkllm(tmp_path / 'model.rkllm')


def test_other_content_passes(tmp_path: Path) -> None:
    path = tmp_path / 'model.rkllm'
    path.write_bytes(b'\1\2\3\4' * 100)
    assert check_rkllm(path) == 400


@pytest.mark.parametrize('end, toolkit', [
    (b'rkllm-toolkit version: 1.3.1', '1.3.1'), (b'', ''),
    (b'rkllm-toolkit version: 1.2.1b1\0' + bytes(5000), '1.2.1b1'),
])
def test_end_of_a_file_tells_its_toolkit(end: bytes, toolkit: str, tmp_path: Path) -> None:
    path = tmp_path / 'model.rkllm'
    path.write_bytes(b'\1\2\3\4' * 50_000 + end)
    assert toolkit_of(path) == toolkit
