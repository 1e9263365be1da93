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
        return (self.vpm(self._patches(pixels), self.grid),)

    def _patches(self, pixels: torch.Tensor) -> torch.Tensor:
        """Cut flat patches; a still picture is a video that repeats one frame."""
        blocks = self.size // self.patch // self.merge
        x = pixels.reshape(3, blocks, self.merge, self.patch, blocks, self.merge, self.patch)
        x = x.permute(1, 4, 2, 5, 0, 3, 6).reshape(-1, 3, 1, self.patch, self.patch)
        return x.expand(-1, -1, self.frames, -1, -1).reshape(x.shape[0], -1)


class Qwen3Vl(Qwen2Vl):
    """Qwen3-VL: a further output for each level of deepstack."""

    def __init__(self, model: Any, size: int) -> None:
        super().__init__(model, size)
        _freeze(self.vpm, 'rot_pos_emb', self.grid)
        _freeze(self.vpm, 'fast_pos_embed_interpolate', self.grid)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        embedding, deepstack = self.vpm(self._patches(pixels), self.grid)
        return embedding, *deepstack


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
        return (self.vpm.get_image_features(pixels)[0],)


class SmolVlm(Tower):
    """SmolVLM and SmolVLM2."""

    def __init__(self, model: Any, size: int) -> None:
        super().__init__(model, size)
        self.vpm = model.vision_model
        self.connector = model.connector

    @staticmethod
    def token_size(config: Any) -> int:
        return config.vision_config.patch_size * config.scale_factor

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.connector(self.vpm(pixels).last_hidden_state)[0],)


FAMILIES: dict[str, type[Tower]] = {  # by model_type in config.json
    'internvl': InternVl,
    'qwen2_5_vl': Qwen2Vl,
    'qwen2_vl': Qwen2Vl,
    'qwen3_vl': Qwen3Vl,
    'smolvlm': SmolVlm,
}


def load_tower(folder: Path, size: int) -> Tower:
    """
    Load the tower of a checkpoint, as 32-bit floats on the CPU.

    :raises ValueError: the family is unknown, weights are missing, or the size does not fit.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    # The language model is not needed and may be large.
    config.text_config.num_hidden_layers = 0
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
    setattr(module, method, lambda *_: result)
