# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import pytest
from vlm_npu_ros.cli.main import main

DATA = Path(__file__).parents[1] / 'data'


def test_tells_what_files_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    language_model = tmp_path / 'qwen3-vl-2b.rkllm'
    language_model.write_bytes(b'\1\2\3\4' * 1000)
    files = [DATA / 'tiny_four.rknn', language_model, DATA / 'tiny.onnx']
    assert main(['inspect', *map(str, files)]) == 0
    out, err = capsys.readouterr()
    text = ' '.join(out.split())
    assert not err
    assert '32 x 32 pixels' in text and '16 tokens of 4 x 8' in text
    assert 'rk3588, by rknn-toolkit2 2.3.2' in text
    assert 'model qwen3-vl-2b (by its name)' in text and 'at least 4.0 kB' in text
    assert 'pixel: float32 (1, 3, 32, 32)' in text and 'opset 17' in text
    assert max(map(len, out.splitlines())) <= 98


def test_other_files_are_shown_beside_one_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / 'notes.txt'
    other.write_text('buy milk')
    files = [str(other), str(DATA / 'tiny_float.rknn'), str(DATA / 'tiny_encrypted.rknn')]
    assert main(['inspect', *files]) == 1
    out, err = capsys.readouterr()
    assert str(other) in err and 'not a .rknn, .rkllm or .onnx file' in err
    assert 'normalised already' in out and 'not known: encrypted' in out


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['inspect', '--json', str(DATA / 'demo_encoder.rknn'), '/nowhere.onnx']) == 1
    found, failed = json.loads(capsys.readouterr().out)
    assert found['kind'] == 'rknn' and found['facts']['metadata'] == {'model': 'demo'}
    assert found['facts']['tokens'] == 64 and found['facts']['folded'] is True
    assert found['memory']['at_least'] == found['size'] > 0
    assert failed['path'] == '/nowhere.onnx' and 'cannot be read' in failed['error']
