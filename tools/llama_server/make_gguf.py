# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Write a tiny vision-language model with random weights for llama.cpp: SmolVLM's two files.

    python tools/llama_server/make_gguf.py MODEL.gguf MMPROJ.gguf [SIZE]

SIZE: tiny, small, or 256m (that of SmolVLM-256M, with fewer words). The model knows a token for
each byte and writes nonsense. Needs the packages gguf and numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
import sys

import gguf
import numpy as np

SPECIAL = ('<unk>', '<s>', '</s>')
# What llama.cpp writes around the pictures of this family.
IMAGE_MARKS = (
    '<fake_token_around_image>', '<global-img>',
    *(f'<row_{row}_col_{column}>' for row in range(1, 7) for column in range(1, 7)),
)
WORDS = ('\u2581yes', '\u2581no', 'yes', 'no', '\n\n')
CONTEXT = 8192
_CHAT = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}"
    '{% endfor %}assistant:'
)


@dataclass(frozen=True)
class Size:
    """
    Sizes of both models.

    side: of a picture in pixels. patch: of what becomes one number of the encoder.
    shuffle: patches in a row, and in a column, that become one token.
    """

    dim: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    side: int
    patch: int
    shuffle: int
    vision_dim: int
    vision_hidden: int
    vision_layers: int
    vision_heads: int

    @property
    def tokens(self) -> int:
        """Count the tokens of a picture."""
        return (self.side // self.patch // self.shuffle) ** 2


SIZES = {
    'small': Size(256, 768, 8, 4, 4, 256, 16, 4, 384, 1536, 6, 6),
    'tiny': Size(64, 128, 2, 4, 4, 64, 8, 2, 64, 128, 2, 4),
    '256m': Size(576, 1536, 30, 9, 3, 512, 16, 4, 768, 3072, 12, 12),
}
TINY = SIZES['tiny']
Weights = dict[str, np.ndarray]


def vocabulary() -> tuple[list[str], list[float], list[gguf.TokenType]]:
    """List tokens, scores and types of a SentencePiece vocabulary with a token for each byte."""
    letters = [chr(code) for code in range(ord(' ') + 1, 127)] + ['\u2581']
    tokens = [
        *SPECIAL, *(f'<0x{byte:02X}>' for byte in range(256)), *letters, *WORDS, *IMAGE_MARKS,
    ]
    types = [
        gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL,
        *[gguf.TokenType.BYTE] * 256, *[gguf.TokenType.NORMAL] * (len(letters) + len(WORDS)),
        *[gguf.TokenType.CONTROL] * len(IMAGE_MARKS),
    ]
    return tokens, [-float(i) for i in range(len(tokens))], types


def write(model: Path, mmproj: Path, size: Size = TINY, seed: int = 0) -> None:
    """Write both files."""
    write_model(model, size, seed)
    write_mmproj(mmproj, size, seed)


def write_model(path: Path, size: Size = TINY, seed: int = 0) -> None:
    """Write the language model, of the architecture llama."""
    tokens, scores, types = vocabulary()
    writer = gguf.GGUFWriter(path, 'llama')
    writer.add_name('tiny')
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(size.dim)
    writer.add_feed_forward_length(size.hidden)
    writer.add_block_count(size.layers)
    writer.add_head_count(size.heads)
    writer.add_head_count_kv(size.kv_heads)
    writer.add_rope_dimension_count(size.dim // size.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model('llama')
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(_CHAT)
    _write(writer, model_weights(size, seed))


def write_mmproj(path: Path, size: Size = TINY, seed: int = 0) -> None:
    """Write the vision encoder, of the kind idefics3."""
    writer = gguf.GGUFWriter(path, 'clip')
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(gguf.VisionProjectorType.IDEFICS3)
    writer.add_vision_projection_dim(size.dim)
    writer.add_vision_image_size(size.side)
    writer.add_vision_preproc_image_size(4 * size.side)
    writer.add_vision_patch_size(size.patch)
    writer.add_vision_embedding_length(size.vision_dim)
    writer.add_vision_feed_forward_length(size.vision_hidden)
    writer.add_vision_block_count(size.vision_layers)
    writer.add_vision_head_count(size.vision_heads)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])
    writer.add_vision_projector_scale_factor(size.shuffle)
    writer.add_vision_use_gelu(True)
    _write(writer, mmproj_weights(size, seed))


def _write(writer: gguf.GGUFWriter, weights: Mapping[str, np.ndarray]) -> None:
    for name, values in weights.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def model_weights(size: Size = TINY, seed: int = 0) -> Weights:
    """Draw the weights of the language model; the inputs are the last axis."""
    tokens = len(vocabulary()[0])
    shapes = {
        'token_embd.weight': (tokens, size.dim), 'output_norm.weight': (size.dim,),
        'output.weight': (tokens, size.dim),
    }
    kv = size.dim // size.heads * size.kv_heads
    for i in range(size.layers):
        for name, shape in (
            ('attn_norm', (size.dim,)), ('ffn_norm', (size.dim,)),
            ('attn_q', (size.dim, size.dim)), ('attn_output', (size.dim, size.dim)),
            ('attn_k', (kv, size.dim)), ('attn_v', (kv, size.dim)),
            ('ffn_gate', (size.hidden, size.dim)), ('ffn_up', (size.hidden, size.dim)),
            ('ffn_down', (size.dim, size.hidden)),
        ):
            shapes[f'blk.{i}.{name}.weight'] = shape
    weights = _drawn(shapes, seed)
    texts, _, kinds = vocabulary()
    seen = [kind is gguf.TokenType.NORMAL and text.strip('\u2581\n')
            for text, kind in zip(texts, kinds, strict=True)]
    weights['output.weight'][[not each for each in seen]] = 0  # answers do not end, nor are blank
    return weights


def mmproj_weights(size: Size = TINY, seed: int = 0) -> Weights:
    """Draw the weights of the vision encoder."""
    dim, hidden = size.vision_dim, size.vision_hidden
    shapes: dict[str, tuple[int, ...]] = {
        'v.patch_embd.weight': (dim, 3, size.patch, size.patch), 'v.patch_embd.bias': (dim,),
        'v.position_embd.weight': ((size.side // size.patch) ** 2, dim),
        'v.post_ln.weight': (dim,), 'v.post_ln.bias': (dim,),
        'mm.model.fc.weight': (size.dim, dim * size.shuffle**2),
    }
    for i in range(size.vision_layers):
        for name, shape in (
            ('ln1', (dim,)), ('ln2', (dim,)), ('attn_q', (dim, dim)), ('attn_k', (dim, dim)),
            ('attn_v', (dim, dim)), ('attn_out', (dim, dim)), ('ffn_up', (hidden, dim)),
            ('ffn_down', (dim, hidden)),
        ):
            shapes[f'v.blk.{i}.{name}.weight'] = shape
            shapes[f'v.blk.{i}.{name}.bias'] = shape[:1]
    return _drawn(shapes, seed)


def _drawn(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Weights:
    rng, weights = np.random.default_rng(seed), {}
    for name, shape in shapes.items():
        is_norm = len(shape) == 1 and 'bias' not in name
        scale = 0.02 if len(shape) == 1 else np.prod(shape[1:]) ** -0.5
        drawn = rng.standard_normal(shape, np.float32) * np.float32(scale)
        weights[name] = np.ones(shape, np.float32) if is_norm else drawn
    return weights


if __name__ == '__main__':
    write(Path(sys.argv[1]), Path(sys.argv[2]), SIZES[(*sys.argv[3:], 'tiny')[0]])
