# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Small checkpoints of every family: the real architecture and folder, random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

DIM = 64  # of the language model's embeddings

_TEXT = {
    'hidden_size': DIM, 'intermediate_size': 64, 'num_hidden_layers': 1,
    'num_attention_heads': 2, 'num_key_value_heads': 2, 'vocab_size': 128,
}
_ROPE = {'rope_type': 'default', 'mrope_section': [4, 6, 6]}
_QWEN_TOWER = {'depth': 2, 'hidden_size': 128, 'num_heads': 4, 'intermediate_size': 256}


@dataclass(frozen=True)
class Family:
    """
    A family to make a checkpoint of.

    profile: the shipped one whose normalisation and tags a model of this family has.
    size, tokens, outputs: of the encoder made from it.
    """

    profile: str
    model: Any
    config: Any
    size: int
    tokens: int
    outputs: int = 1

    def save(self, folder: Path) -> None:
        """Write it as Hugging Face's have been: 16-bit floats in several files."""
        torch.manual_seed(0)
        model = self.model(self.config())
        with torch.no_grad():
            for parameter in model.parameters():
                # None is left at 0 or 1, where it would not matter.
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
        model.to(torch.bfloat16).save_pretrained(folder, max_shard_size='500KB')

    def embeddings(self, folder: Path, picture: np.ndarray, mean: Any, std: Any) -> list[Any]:
        """Return what PyTorch makes of a picture, with Hugging Face's own processing of it."""
        model = self.model.from_pretrained(folder, dtype=torch.float32)
        prepared = _PREPARED[model.config.model_type](model.config, picture, mean, std)
        with torch.no_grad():
            found = model.get_image_features(**prepared)
        embedding = torch.cat(list(found.pooler_output)).reshape(-1, DIM)
        return [embedding.numpy(), *(f.numpy() for f in found.get('deepstack_features', ()))]


def _normalised(_: Any, picture: np.ndarray, mean: Any, std: Any) -> dict[str, torch.Tensor]:
    pixels = (picture / 255 - np.array(mean)) / np.array(std)
    return {'pixel_values': torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))}


def _several(*args: Any) -> dict[str, torch.Tensor]:
    return {'pixel_values': _normalised(*args)['pixel_values'][None]}


def _qwen(config: Any, picture: np.ndarray, mean: Any, std: Any) -> Any:
    vision = config.vision_config
    return transformers.Qwen2VLImageProcessorPil(
        patch_size=vision.patch_size, temporal_patch_size=vision.temporal_patch_size,
        merge_size=vision.spatial_merge_size, do_resize=False, image_mean=mean, image_std=std,
    )(images=[picture], return_tensors='pt')


def _gemma(config: Any, picture: np.ndarray, mean: Any, std: Any) -> Any:
    prepared = transformers.Gemma4ImageProcessorPil(max_soft_tokens=70, do_resize=False)(
        images=[picture], return_tensors='pt')
    prepared.pop('num_soft_tokens_per_image')
    return prepared


def _lfm(config: Any, picture: np.ndarray, mean: Any, std: Any) -> Any:
    # The one that LFM2-VL's is made of, which needs no torchvision.
    return transformers.Siglip2ImageProcessorPil(
        patch_size=config.vision_config.patch_size, image_mean=mean, image_std=std,
        max_num_patches=(len(picture) // config.vision_config.patch_size) ** 2,
    )(images=[picture], return_tensors='pt')


_PREPARED = {  # by model_type: what the model takes for a picture
    'gemma4': _gemma, 'internvl': _normalised, 'lfm2_vl': _lfm, 'qwen2_vl': _qwen,
    'qwen2_5_vl': _qwen, 'qwen3_5': _qwen, 'qwen3_vl': _qwen, 'smolvlm': _several,
}

FAMILIES = {
    'qwen2_vl': Family(
        'qwen2-vl-2b', transformers.Qwen2VLForConditionalGeneration,
        lambda: transformers.Qwen2VLConfig(
            text_config={**_TEXT, 'rope_scaling': _ROPE}, tie_word_embeddings=True,
            vision_config={'depth': 2, 'embed_dim': 128, 'hidden_size': DIM, 'num_heads': 4,
                           'mlp_ratio': 2}),
        size=112, tokens=16),
    'qwen2_5_vl': Family(
        'qwen2.5-vl-3b', transformers.Qwen2_5_VLForConditionalGeneration,
        lambda: transformers.Qwen2_5_VLConfig(
            text_config={**_TEXT, 'rope_scaling': _ROPE},
            # Windows of 4 x 4 tokens in the first layer, the whole picture in the second.
            vision_config={**_QWEN_TOWER, 'out_hidden_size': DIM, 'fullatt_block_indexes': [1]}),
        size=168, tokens=36),
    'qwen3_vl': Family(
        'qwen3-vl-2b', transformers.Qwen3VLForConditionalGeneration,
        lambda: transformers.Qwen3VLConfig(
            text_config={**_TEXT, 'rope_scaling': _ROPE, 'head_dim': 32},
            # A layer for each level of deepstack; positions of 14 x 14 patches, here for 8 x 8.
            vision_config={**_QWEN_TOWER, 'out_hidden_size': DIM, 'depth': 3,
                           'deepstack_visual_indexes': [0, 1, 2],
                           'num_position_embeddings': 196}),
        size=128, tokens=16, outputs=4),
    'qwen3_5': Family(
        'qwen3.5-2b', transformers.Qwen3_5ForConditionalGeneration,
        lambda: transformers.Qwen3_5Config(
            text_config={**_TEXT, 'head_dim': 32, 'layer_types': ['full_attention'],
                         'rope_parameters': {**_ROPE, 'rope_theta': 1e4}},
            vision_config={**_QWEN_TOWER, 'out_hidden_size': DIM, 'num_position_embeddings': 196}),
        size=128, tokens=16),
    'internvl': Family(
        'internvl3-1b', transformers.InternVLForConditionalGeneration,
        lambda: transformers.InternVLConfig(
            text_config={'model_type': 'qwen2', **_TEXT}, image_token_id=100,
            vision_config={'hidden_size': 128, 'intermediate_size': 256, 'num_hidden_layers': 2,
                           'num_attention_heads': 4, 'image_size': [224, 224],
                           'patch_size': [14, 14]}),
        size=224, tokens=64),
    'smolvlm': Family(
        'smolvlm2-256m', transformers.SmolVLMForConditionalGeneration,
        lambda: transformers.SmolVLMConfig(
            text_config={'model_type': 'llama', **_TEXT}, image_token_id=100, pad_token_id=0,
            scale_factor=4,
            vision_config={'hidden_size': 96, 'intermediate_size': 192, 'num_hidden_layers': 2,
                           'num_attention_heads': 4, 'image_size': 256, 'patch_size': 16}),
        size=256, tokens=16),
    'gemma4': Family(
        'gemma4-e2b', transformers.Gemma4ForConditionalGeneration,
        lambda: transformers.Gemma4Config(
            audio_config=None,
            text_config={**_TEXT, 'layer_types': ['full_attention'], 'num_kv_shared_layers': 0,
                         'hidden_size_per_layer_input': 16, 'vocab_size_per_layer_input': 128},
            vision_config={'hidden_size': 128, 'intermediate_size': 256, 'num_hidden_layers': 2,
                           'num_attention_heads': 4, 'num_key_value_heads': 4, 'head_dim': 32,
                           'position_embedding_size': 64, 'use_clipped_linears': True,
                           'standardize': True}),
        size=192, tokens=16),
    'lfm2_vl': Family(
        'lfm2.5-vl-450m', transformers.Lfm2VlForConditionalGeneration,
        lambda: transformers.Lfm2VlConfig(
            text_config={**_TEXT, 'layer_types': ['full_attention']}, projector_hidden_size=96,
            # Positions of 8 x 8 patches, here for 12 x 12.
            vision_config={'hidden_size': 128, 'intermediate_size': 256, 'num_hidden_layers': 2,
                           'num_attention_heads': 4, 'num_patches': 64}),
        size=192, tokens=36),
}
