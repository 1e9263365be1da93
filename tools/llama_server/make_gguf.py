# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Write a tiny language model of the llama architecture with random weights, for llama.cpp.

    python tools/llama_server/make_gguf.py FILE.gguf

It knows a token for each byte and writes nonsense. Needs the packages gguf and numpy.
"""

from __future__ import annotations

from pathlib import Path
import sys

import gguf
import numpy as np

DIM, HIDDEN, LAYERS, HEADS, CONTEXT = 64, 128, 2, 4, 2048
SPECIAL = ('<unk>', '<s>', '</s>')
WORDS = ('\u2581yes', '\u2581no', 'yes', 'no')
_CHAT = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}"
    '{% endfor %}assistant:'
)


def vocabulary() -> tuple[list[str], list[float], list[gguf.TokenType]]:
    """List tokens, scores and types of a SentencePiece vocabulary with a token for each byte."""
    letters = [chr(code) for code in range(ord(' ') + 1, 127)] + ['\u2581']
    tokens = [*SPECIAL, *(f'<0x{byte:02X}>' for byte in range(256)), *letters, *WORDS]
    types = [
        gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL,
        *[gguf.TokenType.BYTE] * 256, *[gguf.TokenType.NORMAL] * (len(letters) + len(WORDS)),
    ]
    return tokens, [-float(i) for i in range(len(tokens))], types


def write(path: Path, seed: int = 0) -> None:
    """Write the file."""
    tokens, scores, types = vocabulary()
    writer = gguf.GGUFWriter(path, 'llama')
    writer.add_name('tiny')
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(DIM)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(DIM // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model('llama')
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(_CHAT)
    rng = np.random.default_rng(seed)
    for name, shape in _shapes(len(tokens)).items():
        ones = name.endswith('norm.weight')
        weights = np.ones(shape) if ones else rng.normal(0, shape[-1] ** -0.5, shape)
        writer.add_tensor(name, weights.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _shapes(tokens: int) -> dict[str, tuple[int, ...]]:
    """List the shape of each weight; inputs are the last axis."""
    shapes: dict[str, tuple[int, ...]] = {
        'token_embd.weight': (tokens, DIM), 'output_norm.weight': (DIM,),
        'output.weight': (tokens, DIM),
    }
    for i in range(LAYERS):
        block = f'blk.{i}'
        for name in ('attn_norm', 'ffn_norm'):
            shapes[f'{block}.{name}.weight'] = (DIM,)
        for name in ('attn_q', 'attn_k', 'attn_v', 'attn_output'):
            shapes[f'{block}.{name}.weight'] = (DIM, DIM)
        for name in ('ffn_gate', 'ffn_up'):
            shapes[f'{block}.{name}.weight'] = (HIDDEN, DIM)
        shapes[f'{block}.ffn_down.weight'] = (DIM, HIDDEN)
    return shapes


if __name__ == '__main__':
    write(Path(sys.argv[1]))
