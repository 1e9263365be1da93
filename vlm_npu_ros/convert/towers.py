# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Vision towers of Hugging Face checkpoints with their projectors, one class for each family.

A tower takes pixels (1, 3, size, size), normalised, and returns its embeddings, each (tokens,
dim). Of the language model only the embedding table is read.

Its parts are named as in Rockchip's own export scripts, so that names of nodes in recipes match.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText


class Tower(torch.nn.Module):
    """Base class; a family defines what a token is, and which way pixels take."""

    def __init__(self, model: Any, size: int) -> None:
        super().__init__()
        token = self.token_size(model.config)
        if size < token or size % token:
            raise ValueError(f'a token of this model is {token} x {token} pixels, which does not '
                             f'fit into {size} x {size}')
        self.size = size
        self.tokens = (size // token) ** 2

    @staticmethod
    def token_size(config: Any) -> int:
        """Side of the square that one token stands for, in pixels."""
        raise NotImplementedError

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute the embedding, then those of deepstack if the family has them."""
        raise NotImplementedError


class Qwen2Vl(Tower):
    """Qwen2-VL and Qwen2.5-VL: patches in the order of the tokens that they merge to."""

    def __init__(self, model: Any, size: int) -> None:
        super().__init__(model, size)
        self.vpm = model.visual
        config = model.config.vision_config
        self.patch, self.merge, self.frames = (
            config.patch_size, config.spatial_merge_size, config.temporal_patch_size)
        side = size // self.patch
        self.grid = torch.tensor([[1, side, side]])

    @staticmethod
    def token_size(config: Any) -> int:
        return config.vision_config.patch_size * config.vision_config.spatial_merge_size

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.vpm(self._patches(pixels), self.grid).pooler_output,)

    def _patches(self, pixels: torch.Tensor) -> torch.Tensor:
        """Cut flat patches; a still picture is a video that repeats one frame."""
        blocks = self.size // self.patch // self.merge
        x = pixels.reshape(3, blocks, self.merge, self.patch, blocks, self.merge, self.patch)
        x = x.permute(1, 4, 2, 5, 0, 3, 6).reshape(-1, 3, 1, self.patch, self.patch)
        return x.expand(-1, -1, self.frames, -1, -1).reshape(x.shape[0], -1)


class Qwen3Vl(Qwen2Vl):
    """Qwen3-VL and Qwen3.5: a further output for each level of deepstack, which 3.5 has not."""

    def __init__(self, model: Any, size: int) -> None:
        super().__init__(model, size)
        _freeze(self.vpm, 'rot_pos_emb', self.grid)
        _freeze(self.vpm, 'fast_pos_embed_interpolate', self.grid)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.vpm(self._patches(pixels), self.grid)
        return found.pooler_output, *found.get('deepstack_features', ())


class InternVl(Tower):
    """InternVL 3 and 3.5."""

    def __init__(self, model: Any, size: int) -> None:
        super().__init__(model, size)
        del model.language_model
        self.vpm = model
        config = model.config.vision_config
        patches = (size // config.patch_size[0]) ** 2
        _freeze(model.vision_tower.embeddings, 'interpolate_pos_encoding',
                torch.empty(1, 1 + patches, config.hidden_size), size, size)

    @staticmethod
    def token_size(config: Any) -> int:
        return round(config.vision_config.patch_size[0] / config.downsample_ratio)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.vpm.get_image_features(pixels).pooler_output[0],)


class SmolVlm(Tower):
    """SmolVLM and SmolVLM2."""

    def __init__(self, model: Any, size: int) -> None:
        super().__init__(model, size)
        self.vpm = model.vision_model
        self.connector = model.connector
        side = size // model.config.vision_config.patch_size
        black = torch.zeros(1, 3, size, size)
        with torch.no_grad():
            # As traced, positions would be looked up by floats.
            self.places = self.vpm.embeddings(
                black, torch.ones(1, side, side, dtype=torch.bool)) - self._patches(black)

    @staticmethod
    def token_size(config: Any) -> int:
        return config.vision_config.patch_size * config.scale_factor

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.vpm.encoder(inputs_embeds=self._patches(pixels) + self.places).last_hidden_state
        return (self.connector(self.vpm.post_layernorm(x))[0],)

    def _patches(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.vpm.embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)


class Gemma4(Tower):
    """Gemma 4: the average of some patches is a token."""

    def __init__(self, model: Any, size: int) -> None:
        super().__init__(model, size)
        self.vpm, self.connector = model.vision_tower, model.embed_vision
        config = model.config.vision_config
        self.patch, self.pool = config.patch_size, config.pooling_kernel_size
        side = torch.arange(size // self.patch)
        # Horizontal positions first.
        self.positions = torch.stack(torch.meshgrid(side, side, indexing='xy'), -1).view(1, -1, 2)
        grey = torch.full((*self.positions.shape[:2], 3 * self.patch ** 2), 0.5)
        with torch.no_grad():
            # Of grey patches nothing but their positions is left.
            self.places = self.vpm.patch_embedder(
                grey, self.positions, torch.zeros(self.positions.shape[:2], dtype=torch.bool))
            self.turns = self.vpm.encoder.rotary_emb(self.places, self.positions)

    @staticmethod
    def token_size(config: Any) -> int:
        return config.vision_config.patch_size * config.vision_config.pooling_kernel_size

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        flat = _rows_of_patches(pixels, self.patch)
        x = self.vpm.patch_embedder.input_proj(2 * (flat - 0.5)) + self.places
        for layer in self.vpm.encoder.layers:
            x = layer(x, position_embeddings=self.turns, position_ids=self.positions)
        side = self.size // self.patch // self.pool
        x = x.reshape(side, self.pool, side, self.pool, -1).mean((1, 3)).flatten(0, 1)
        x = x * self.vpm.config.hidden_size ** 0.5
        if self.vpm.config.standardize:
            x = (x - self.vpm.std_bias) * self.vpm.std_scale
        return (self.connector(x),)


class Lfm2Vl(Tower):
    """LFM2-VL and LFM2.5-VL: a picture that is not cut into tiles."""

    def __init__(self, model: Any, size: int) -> None:
        super().__init__(model, size)
        self.vpm, self.connector = model.vision_tower, model.multi_modal_projector
        self.patch = model.config.vision_config.patch_size
        self.side = size // self.patch
        self.shape = torch.tensor([[self.side, self.side]])
        embeddings = self.vpm.embeddings
        known = embeddings.position_embedding_size
        _freeze(embeddings, 'resize_positional_embeddings',
                embeddings.position_embedding.weight.view(known, known, -1), self.shape,
                self.side ** 2)

    @staticmethod
    def token_size(config: Any) -> int:
        return config.vision_config.patch_size * config.downsample_factor

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.vpm.embeddings(_rows_of_patches(pixels, self.patch), self.shape)
        x = self.vpm.post_layernorm(self.vpm.encoder(inputs_embeds=x).last_hidden_state)
        return (self.connector(x.reshape(1, self.side, self.side, -1))[0].flatten(0, 1),)


FAMILIES: dict[str, type[Tower]] = {  # by model_type in config.json
    'gemma4': Gemma4,
    'internvl': InternVl,
    'lfm2_vl': Lfm2Vl,
    'qwen2_5_vl': Qwen2Vl,
    'qwen2_vl': Qwen2Vl,
    'qwen3_5': Qwen3Vl,
    'qwen3_vl': Qwen3Vl,
    'smolvlm': SmolVlm,
}


def load_tower(folder: Path, size: int) -> Tower:
    """
    Load the tower of a checkpoint, as 32-bit floats on the CPU.

    :raises ValueError: the family is unknown, weights are missing, or the size does not fit.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    # The language model is not needed and may be large; so may Gemma's embeddings for each layer.
    config.text_config.num_hidden_layers = 0
    if hasattr(config.text_config, 'hidden_size_per_layer_input'):
        config.text_config.hidden_size_per_layer_input = 0
    model, loading = AutoModelForImageTextToText.from_pretrained(
        folder, config=config, local_files_only=True, dtype=torch.float32,
        attn_implementation='eager', output_loading_info=True)
    if loading['missing_keys']:
        raise ValueError(f'{folder} has no {", ".join(sorted(loading["missing_keys"])[:3])}')
    return FAMILIES[config.model_type](model.model, size).eval()


def _freeze(module: Any, method: str, *args: Any) -> None:
    """Compute a method's result now, so that a trace of the module has it as a constant."""
    with torch.no_grad():
        result = getattr(module, method)(*args)
    setattr(module, method, lambda *_, **__: result)


def _rows_of_patches(pixels: torch.Tensor, patch: int) -> torch.Tensor:
    """Cut flat patches row by row, (1, patches, numbers), each pixel's channels together."""
    side = pixels.shape[-1] // patch
    x = pixels.reshape(3, side, patch, side, patch).permute(1, 3, 2, 4, 0)
    return x.reshape(1, side * side, -1)
