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
        if not self.profile.startswith('qwen'):
            pixels = (picture / 255 - np.array(mean)) / np.array(std)
            batch = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
            with torch.no_grad():
                return [model.get_image_features(
                    batch[None] if 'smol' in self.profile else batch)[0].numpy()]
        vision = model.config.vision_config
        processor = transformers.Qwen2VLImageProcessor(
            patch_size=vision.patch_size, temporal_patch_size=vision.temporal_patch_size,
            merge_size=vision.spatial_merge_size, do_resize=False, image_mean=mean, image_std=std)
        inputs = processor(images=[picture], return_tensors='pt')
        with torch.no_grad():
            found = model.get_image_features(inputs['pixel_values'], inputs['image_grid_thw'])
        embedding, deepstack = found if self.outputs > 1 else (found, [])
        return [embedding[0].numpy(), *(level.numpy() for level in deepstack)]


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
}
