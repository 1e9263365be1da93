# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Rows of the LM head, of the demo model's in the form of a Hugging Face checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
import sys

import numpy as np
import pytest
from simulated.weights import head_rows
from vlm_npu_ros.cli.main import main
from vlm_npu_ros.convert.errors import ConversionError, UsageError
from vlm_npu_ros.convert.head import rows_of
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.lm_head import head_path, LmHead
from vlm_npu_ros.engine.models import load_profile

DEMO = load_profile('demo')
TOKENIZER = Tokenizer.load(DEMO.folder / DEMO.tokenizer)
CONFIG = {'model_type': 'demo', 'text_config': {'final_logit_softcapping': 30.0}}


def checkpoint(folder: Path, name: str, kind: str, config: dict[str, object]) -> Path:
    """Write the LM head of the demo model under a name, and another matrix before it."""
    rows = head_rows()
    data = {
        'F32': rows.astype('<f4').tobytes(),
        'F16': rows.astype('<f2').tobytes(),
        'BF16': (rows.astype('<f4').view('<u4') >> 16).astype('<u2').tobytes(),
    }[kind]
    tensors = {
        'model.vision.weight': {'dtype': 'F32', 'shape': [2, 2], 'data_offsets': [0, 16]},
        name: {'dtype': kind, 'shape': rows.shape, 'data_offsets': [16, 16 + len(data)]},
    }
    header = json.dumps(tensors).encode()
    (folder / 'model.safetensors').write_bytes(
        len(header).to_bytes(8, 'little') + header + bytes(16) + data
    )
    (folder / 'config.json').write_text(json.dumps(config))
    return folder


def test_rows_are_those_of_the_words_whatever_holds_them(tmp_path: Path) -> None:
    rows = head_rows()
    for name, kind, config, tolerance in (
        ('lm_head.weight', 'F32', CONFIG, 0),
        ('language_model.lm_head.weight', 'F16', {'tie_word_embeddings': True}, 1e-3),
        ('model.text_model.embed_tokens.weight', 'BF16', CONFIG, 1e-2),
    ):
        folder = checkpoint(tmp_path, name, kind, config)
        head = rows_of(folder, TOKENIZER.encode, more=['purple door', 'Kitchen'])
        for word in ('yes', ' no', 'purple', ' purple', ' door', 'kitchen'):
            assert head.words[word] == TOKENIZER.encode(word)[0]
            found = head.rows[head.index[head.words[word]]]
            assert np.allclose(found, rows[head.words[word]], atol=tolerance, rtol=tolerance)
        assert head.softcap == (30 if config is CONFIG else 0)
        assert 100 < len(head.tokens) <= 885
        assert {TOKENIZER.encode('\n')[0], TOKENIZER.encode('**')[0]} <= {*head.tokens}


def test_head_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    folder = checkpoint(
        tmp_path, 'embed_tokens.weight', 'F32', {'tie_word_embeddings': False})
    with pytest.raises(ConversionError, match='no LM head'):
        rows_of(folder, TOKENIZER.encode)
    with pytest.raises(UsageError, match='not a Hugging Face model'):
        rows_of(tmp_path / 'none', TOKENIZER.encode)


def test_file_belongs_to_its_model(tmp_path: Path) -> None:
    model, other = tmp_path / 'a.rkllm', tmp_path / 'b.rkllm'
    model.write_bytes(b'a' * 3_000_000)
    other.write_bytes(b'a' * 2_999_999 + b'b')
    assert LmHead.load(model) is None
    head = LmHead({'yes': 3}, np.array([3, 7], np.int32), np.eye(2, 4, dtype=np.float32), 2.0)
    path = head.save(model)
    loaded = LmHead.load(model)
    assert loaded and loaded.words == {'yes': 3} and loaded.index == {3: 0, 7: 1}
    capped = loaded.logits(np.array([50, 1, 0, 0], np.float32))
    assert np.allclose(capped, [2, 2 * np.tanh(0.5)])
    path.rename(head_path(other))
    with pytest.raises(ModelFileError, match='made for another file'):
        LmHead.load(other)
    with np.load(head_path(other)) as kept:
        arrays = dict(kept)
    facts = json.loads(str(arrays['facts']))
    for wrong in (*({k: v for k, v in facts.items() if k != name} for name in facts),
                  {**facts, 'words': 5}):
        np.savez(head_path(other), **{**arrays, 'facts': np.array(json.dumps(wrong))})
        with pytest.raises(ModelFileError, match='not a file of LM-head rows'):
            LmHead.load(other)
    for broken in (b'', b'PK', head_path(other).read_bytes()[:200]):
        head_path(other).write_bytes(broken)
        with pytest.raises(ModelFileError, match='not a file of LM-head rows'):
            LmHead.load(other)


def test_command_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    folder = checkpoint(tmp_path, 'lm_head.weight', 'F32', CONFIG)
    (tmp_path / 'llm.rkllm').write_bytes(b'a')
    command = ['convert', 'head', str(folder), str(tmp_path / 'llm.rkllm')]
    assert main([*command, '--python', sys.executable]) in (2, 3)
    assert 'tokenizer' in capsys.readouterr().err
    assert not head_path(tmp_path / 'llm.rkllm').exists()
