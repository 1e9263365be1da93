# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""llama.cpp writes the tokens of transformers for the same weights, where that is installed."""

from __future__ import annotations

from collections.abc import Mapping
import json
from typing import Any
from urllib.request import Request, urlopen

import cv2
from llama_server.make_gguf import mmproj_weights, model_weights, TINY, vocabulary
import numpy as np
import pytest
from tiny_llama import llama_settings
from vlm_npu_ros.engine.backends.llamacpp.settings import LlamaCppSettings
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import GenerationRequest

torch = pytest.importorskip('torch', reason='PyTorch is not installed')
transformers = pytest.importorskip('transformers', reason='transformers is not installed')

NEW_TOKENS = 40
IMAGE = -1  # among the ids of a prompt: a picture
QUESTIONS = ('what do you see?', 'is the path clear?', 'where is the ball', 'yes or no')


def rotary(weights: np.ndarray, heads: int) -> np.ndarray:
    """Put rows in the order of transformers; llama.cpp has pairs of them side by side."""
    paired = weights.reshape(heads, -1, 2, weights.shape[-1])
    return paired.swapaxes(1, 2).reshape(weights.shape)


def model_of_the_same_weights() -> Any:
    size, count = TINY, len(vocabulary()[0])
    text = {
        'model_type': 'llama', 'vocab_size': count, 'hidden_size': size.dim,
        'intermediate_size': size.hidden, 'num_hidden_layers': size.layers,
        'num_attention_heads': size.heads, 'num_key_value_heads': size.kv_heads,
        'rms_norm_eps': 1e-5, 'max_position_embeddings': 8192, 'tie_word_embeddings': False,
    }
    vision = {
        'hidden_size': size.vision_dim, 'intermediate_size': size.vision_hidden,
        'num_hidden_layers': size.vision_layers, 'num_attention_heads': size.vision_heads,
        'image_size': size.side, 'patch_size': size.patch,
    }
    config = transformers.SmolVLMConfig(
        text_config=text, vision_config=vision, scale_factor=size.shuffle, image_token_id=0,
        tie_word_embeddings=False,
    )
    model = transformers.SmolVLMForConditionalGeneration(config).eval()
    named = {name: torch.from_numpy(w) for name, w in renamed()}
    assert model.load_state_dict(named, strict=False).unexpected_keys == []
    assert {n for n, _ in model.named_parameters()} == set(named)
    return model


def renamed() -> Any:
    """Yield the weights by the names that they have in transformers."""
    size = TINY
    text = {'attn_norm': 'input_layernorm', 'ffn_norm': 'post_attention_layernorm',
            'attn_q': 'self_attn.q_proj', 'attn_k': 'self_attn.k_proj',
            'attn_v': 'self_attn.v_proj', 'attn_output': 'self_attn.o_proj',
            'ffn_gate': 'mlp.gate_proj', 'ffn_up': 'mlp.up_proj', 'ffn_down': 'mlp.down_proj'}
    vision = {'ln1': 'layer_norm1', 'ln2': 'layer_norm2', 'attn_q': 'self_attn.q_proj',
              'attn_k': 'self_attn.k_proj', 'attn_v': 'self_attn.v_proj',
              'attn_out': 'self_attn.out_proj', 'ffn_up': 'mlp.fc1', 'ffn_down': 'mlp.fc2'}
    whole = {'token_embd': 'model.text_model.embed_tokens',
             'output_norm': 'model.text_model.norm', 'output': 'lm_head',
             'v.patch_embd': 'model.vision_model.embeddings.patch_embedding',
             'v.position_embd': 'model.vision_model.embeddings.position_embedding',
             'v.post_ln': 'model.vision_model.post_layernorm',
             'mm.model.fc': 'model.connector.modality_projection.proj'}
    for name, weights in {**model_weights(), **mmproj_weights()}.items():
        part, kind = name.rsplit('.', 1)
        if part in whole:
            yield f'{whole[part]}.{kind}', weights
            continue
        *_, layer, inner = part.split('.')
        if part.startswith('v.'):
            yield f'model.vision_model.encoder.layers.{layer}.{vision[inner]}.{kind}', weights
        else:
            heads = {'attn_q': size.heads, 'attn_k': size.kv_heads}.get(inner)
            weights = rotary(weights, heads) if heads else weights
            yield f'model.text_model.layers.{layer}.{text[inner]}.{kind}', weights


def prompt(engine: LocalEngine, question: str) -> list[int]:
    """List the ids of a prompt about a picture that is one tile, and is then shown whole."""
    speaker = engine._language_model._server._client
    address = str(speaker.base_url).removesuffix('v1/')

    def tokens(text: str, first: bool = False) -> list[int]:
        body = {'content': text, 'parse_special': True, 'add_special': first}
        headers = {'Authorization': f'Bearer {speaker.api_key}',
                   'Content-Type': 'application/json'}
        with urlopen(Request(f'{address}tokenize', json.dumps(body).encode(), headers)) as reply:
            found: Mapping[str, list[int]] = json.load(reply)
        return found['tokens']

    ids = {text: i for i, text in enumerate(vocabulary()[0])}
    fake = ids['<fake_token_around_image>']
    return [
        *tokens('user: ', first=True), fake, ids['<row_1_col_1>'], IMAGE, ids['\n\n'],
        fake, ids['<global-img>'], IMAGE, fake,
        *tokens(f'{question}\nassistant:'),
    ]


def test_tokens_are_those_of_transformers() -> None:
    model = model_of_the_same_weights()
    engine = load_engine(llama_settings(options=LlamaCppSettings(image_tokens=16)))
    coarse = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    image = engine.encode(cv2.resize(coarse, (TINY.side, TINY.side)))
    seen = cv2.cvtColor(cv2.imdecode(image.data.reshape(-1), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    pixels = torch.from_numpy(seen.transpose(2, 0, 1) / np.float32(127.5) - 1)
    texts = [text.replace('\u2581', ' ') for text in vocabulary()[0]]
    for question in QUESTIONS:
        answer = engine.answer(GenerationRequest(question, (image,), NEW_TOKENS))
        ids = prompt(engine, question)
        read = engine._language_model._read[1]
        assert len(ids) + 2 * (TINY.tokens - 1) == read, (ids, read)
        row = [i for each in ids for i in ([0] * TINY.tokens if each == IMAGE else [each])]
        with torch.no_grad():
            written = model.generate(
                input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=int),
                pixel_values=torch.stack([pixels, pixels])[None], do_sample=False,
                max_new_tokens=NEW_TOKENS, eos_token_id=2, pad_token_id=2,
            )[0, len(row):]
        assert answer == ''.join(texts[i] for i in written), question
    engine.close()
