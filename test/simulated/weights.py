# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The language model of the demo as a model file of the simulated RKLLM runtime."""

from __future__ import annotations

from pathlib import Path
import struct

import numpy as np
import onnx
from onnx import numpy_helper
from vlm_npu_ros.engine.backends.onnx.tokenizer import SPECIAL_TOKENS, Tokenizer
from vlm_npu_ros.engine.model_files.lm_head import LmHead
from vlm_npu_ros.engine.share import share_dir

_HEADS = 4  # cannot be read off the weights
_LAYOUT = 1
_FOLDER = share_dir() / 'resource' / 'demo_model'


def write_model(
    path: Path,
    platform: str = 'rk3588',
    toolkit: str = '',
    context_limit: int = 512,
    outputs: int = 1,
    lowercase: bool = True,
    system: str = '',
    prefix: str = '',
    postfix: str = '<assistant>',
    turn_end: str = '<eos><user>',
) -> Path:
    """
    Write the file and return its path; librkllmrt/model.c reads it.

    toolkit: version of the converter, refused by older runtimes; '' = none given.
    context_limit: tokens. outputs: vectors that make up an image token; the first is used.
    lowercase: the runtime lower-cases the prompt. system, prefix, postfix: the chat template;
    turn_end: what the runtime puts between an answer that it holds and the next question.
    """
    weights = _weights(onnx.load(_FOLDER / 'language_model.onnx').graph)
    tokenizer = Tokenizer.load(_FOLDER / 'tokenizer.json')
    vocabulary, dim = weights[0].shape
    layers, hidden = (len(weights) - 4) // 10, weights[8].size
    special = tokenizer.special
    header = struct.pack(
        '<12I', _LAYOUT, context_limit, dim, outputs, layers, _HEADS, hidden, vocabulary,
        min(special.values()), len(special), special['<eos>'], lowercase,
    )
    texts = [t.encode() for t in (platform, toolkit, system, prefix, postfix, turn_end)]
    texts += [bytes([i]) for i in range(256)]
    texts += [t.encode() for t in (*SPECIAL_TOKENS, *tokenizer.pieces)]
    data = b'SIMRKLLM' + header + b''.join(
        struct.pack('<I', len(text)) + text + b'\0' for text in texts
    )
    data += bytes(-len(data) % 4)  # the floats are aligned
    path.write_bytes(data + b''.join(w.astype('<f4').tobytes() for w in weights))
    return path


def write_head(model: Path) -> Path:
    """Write the rows of all tokens of the LM head beside a model file; return the path."""
    pieces, rows = Tokenizer.load(_FOLDER / 'tokenizer.json').pieces, head_rows()
    first = len(rows) - len(pieces)
    words = {piece: first + i for i, piece in enumerate(pieces)}
    norm = np.stack(_weights(onnx.load(_FOLDER / 'language_model.onnx').graph)[-3:-1])
    return LmHead(words, np.arange(len(rows), dtype=np.int32), rows, norm=norm).save(model)


def head_rows() -> np.ndarray:
    """Return the LM head of the demo model, (vocabulary, dim) float32."""
    return _weights(onnx.load(_FOLDER / 'language_model.onnx').graph)[-1].T


def _weights(graph: onnx.GraphProto) -> list[np.ndarray]:
    """
    Return the weights in the order of the file.

    Matrices are (inputs, outputs). They have no telling names in the graph: they are known by
    the order of the multiplications, which is qkv, out, up and down of each block, then head.
    """
    named = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    matrices = [
        named[node.input[1]] for node in graph.node
        if node.op_type == 'MatMul' and node.input[1] in named
    ]
    weights = [named['embed.weight']]
    for i in range(len(matrices) // 4):
        qkv, out, up, down = matrices[4 * i:4 * i + 4]
        block = {name: named[f'blocks.{i}.{name}'] for name in (
            'norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias', 'up.bias', 'down.bias'
        )}
        weights += [block['norm1.weight'], block['norm1.bias'], qkv, out]
        weights += [block['norm2.weight'], block['norm2.bias'], up, block['up.bias']]
        weights += [down, block['down.bias']]
    return [*weights, named['norm.weight'], named['norm.bias'], matrices[-1]]
