# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
The demo model in PyTorch: a convolutional vision encoder and a small causal transformer.

The encoder turns a 128×128 picture into 64 tokens of 128 floats. The decoder reads them in place
of the <image> tokens of a prompt. Both are exported as ONNX graphs of their own, as on the board.
"""

from __future__ import annotations

import torch
from torch import nn, Tensor
from torch.nn import functional

IMAGE_SIZE = 128
IMAGE_TOKENS = 64
DIM = 128
LAYERS = 3
HEADS = 4
CONTEXT = 1024


class Residual(nn.Module):
    """Two 3×3 convolutions around which the input is added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.body(x))


def _halve(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class VisionEncoder(nn.Module):
    """uint8 (batch, 128, 128, 3) RGB to float32 (batch, 64, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _halve(3, 24),
            _halve(24, 48),
            Residual(48),
            _halve(48, 96),
            Residual(96),
            _halve(96, 160),
            Residual(160),
        )
        self.mix = nn.Sequential(nn.Conv2d(160, 160, 5, padding=2, groups=160), nn.ReLU())
        self.project = nn.Linear(160, DIM)
        self.position = nn.Parameter(torch.randn(IMAGE_TOKENS, DIM) * 0.02)
        self.norm = nn.LayerNorm(DIM)

    def forward(self, image: Tensor) -> Tensor:
        x = image.permute(0, 3, 1, 2).float() / 127.5 - 1
        x = self.features(x)
        x = x + self.mix(x)
        return self.norm(self.project(x.flatten(2).transpose(1, 2)) + self.position)


class Block(nn.Module):
    """Pre-norm transformer block with rotary positions; keys and values come from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(DIM)
        self.qkv = nn.Linear(DIM, 3 * DIM, bias=False)
        self.out = nn.Linear(DIM, DIM, bias=False)
        self.norm2 = nn.LayerNorm(DIM)
        self.up = nn.Linear(DIM, 4 * DIM)
        self.down = nn.Linear(4 * DIM, DIM)

    def project(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value, each (batch, length, DIM); query and key rotated."""
        query, key, value = self.qkv(self.norm1(x)).split(DIM, -1)
        return _rotate(query, rotation), _rotate(key, rotation), value

    def mix(self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Attend, then the feed-forward layer; `mask` is added to the scores."""
        q, k, v = (_heads(t) for t in (query, key, value))
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (HEADS, DIM // HEADS)).transpose(1, 2)


def rotation(positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of the rotary angles: (length, DIM // HEADS // 2) each."""
    half = DIM // HEADS // 2
    rate = 10000.0 ** (-torch.arange(half, device=positions.device) / half)
    angle = positions.float()[..., None] * rate
    return angle.cos(), angle.sin()


def _rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = (t.unsqueeze(-2).to(x.dtype) for t in turn)
    pairs = x.unflatten(-1, (HEADS, 2, DIM // HEADS // 2))
    a, b = pairs[..., 0, :], pairs[..., 1, :]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -2).flatten(-3)


class Adapter(nn.Module):
    """Adds to each image token what can be computed from it alone."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(DIM, 4 * DIM)
        self.down = nn.Linear(4 * DIM, DIM)

    def forward(self, image: Tensor) -> Tensor:
        return image + self.down(functional.gelu(self.up(image)))


class LanguageModel(nn.Module):
    """
    Tokens and image embedding to the logits of the next token.

    adapts: it has an adapter of its own to image tokens that were trained for another model.
    """

    def __init__(self, vocabulary: int, image_token: int, adapts: bool = False) -> None:
        super().__init__()
        self.image_token = image_token
        self.adapter = Adapter() if adapts else nn.Identity()
        self.embed = nn.Embedding(vocabulary, DIM)
        nn.init.normal_(self.embed.weight, std=0.3)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, vocabulary, bias=False)

    def train_forward(
        self, tokens: Tensor, image: Tensor, positions: Tensor, group: Tensor
    ) -> tuple[Tensor, Tensor]:
        """
        Return hidden states of the text, and what the last block reads of the frames.

        Several dialogues about one group of frames share its image tokens: `tokens` (batch,
        length) are all of them one after another. `positions` and `group` (batch, image tokens
        + length) keep them apart: group 0 is seen by all, another one by itself only.
        """
        rows, x, frames = image.shape[1], self.embed(tokens), self.adapter(image)
        seen = (group[:, rows:, None] == group[:, None, :]) | (group[:, None, :] == 0)
        earlier = torch.ones(seen.shape[1:], dtype=torch.bool).tril(rows)
        mask = _added((seen & earlier)[:, None], image.dtype)
        frames_mask = _added(torch.ones(rows, rows, dtype=torch.bool).tril(), image.dtype)
        frames_turn, turn = rotation(positions[:, :rows]), rotation(positions[:, rows:])
        for block in self.blocks:
            shared = block.project(frames, frames_turn)
            query, *own = block.project(x, turn)
            key, value = (torch.cat(both, 1) for both in zip(shared[1:], own, strict=True))
            x = block.mix(x, query, key, value, mask)
            if block is not self.blocks[-1]:  # of which only keys and values matter
                frames = block.mix(frames, *shared, frames_mask)
        return self.norm(x), frames

    def forward(self, tokens: Tensor, image: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return logits after the last token, and the keys and values of these tokens.

        tokens: (length,) int64, <image> where the next row of `image` (rows, DIM) belongs.
        past: (past length, LAYERS, 2, DIM), what earlier calls returned.
        Returns (vocabulary,) and (length, LAYERS, 2, DIM).
        """
        is_image = (tokens == self.image_token).long()
        row = (is_image.cumsum(0) - 1).clamp(min=0)
        x = torch.where(is_image[:, None] > 0, self.adapter(image[row]), self.embed(tokens))[None]
        start, length = past.shape[0], tokens.shape[0]
        position = torch.arange(start + length, device=tokens.device)
        turn = rotation(position[start:])
        mask = torch.where(position[None, :] > position[start:, None], -1e9, 0.0)
        present = []
        for i, block in enumerate(self.blocks):
            query, key, value = block.project(x, turn)
            present.append(torch.stack((key[0], value[0]), 1))
            keys = torch.cat((past[:, i, 0], key[0]))[None]
            values = torch.cat((past[:, i, 1], value[0]))[None]
            x = block.mix(x, query, keys, values, mask)
        return self.head(self.norm(x[0, -1])), torch.stack(present, 1)


def _added(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what to add to the scores."""
    return torch.where(seen, 0.0, -1e9).to(dtype)


class Aid(nn.Module):
    """Reads shape, colour and distance off each image token: helps the encoder to learn faster."""

    def __init__(self, shapes: int, colours: int) -> None:
        super().__init__()
        self.sizes = (1, shapes, colours, 1)
        self.read = nn.Linear(DIM, sum(self.sizes))

    def loss(self, embedding: Tensor, target: Tensor) -> Tensor:
        """Compare with `target` (batch, 64, 4): present, shape, colour, near."""
        present, shape, colour, near = self.read(embedding).split(self.sizes, -1)
        here = target[..., 0] > 0
        loss = 4 * functional.binary_cross_entropy_with_logits(
            present[..., 0], target[..., 0].float()
        )
        loss = loss + functional.cross_entropy(shape[here], target[..., 1][here])
        loss = loss + functional.cross_entropy(colour[here], target[..., 2][here])
        nearness = functional.binary_cross_entropy_with_logits(
            near[..., 0][here], target[..., 3][here].float()
        )
        return loss + nearness


class ChangeAid(nn.Module):
    """Reads off each image token of the newest frame what happened there: speeds learning up."""

    def __init__(self, happenings: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(DIM)
        self.read = nn.Linear(DIM, happenings)

    def loss(self, frames: Tensor, target: Tensor) -> Tensor:
        """Compare with `target` (batch, 64), 0 = nothing; `frames` (batch, image tokens, DIM)."""
        guess = self.read(self.norm(frames[:, -IMAGE_TOKENS:]))
        weight = torch.ones(guess.shape[-1])
        weight[0] = 0.05  # most tokens
        return functional.cross_entropy(guess.flatten(0, 1).float(), target.flatten(), weight)


_WAVES = (256, 128, 64, 32, 16, 8)  # pixels


def waves(pixels: Tensor) -> Tensor:
    """
    Write numbers of pixels as cosines and sines, (...) to (..., 12).

    The scalar product of two such codes has its peak where both are of the same number, so that
    one matrix turns a code into the scores of all bins.
    """
    angle = 2 * torch.pi * pixels[..., None] / torch.tensor(_WAVES)
    return torch.cat((angle.cos(), angle.sin()), -1)


class BoxAid(nn.Module):
    """Reads off each image token which box an object has whose centre is there."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(DIM)
        self.read = nn.Linear(DIM, 1 + 4 * 2 * len(_WAVES))

    def loss(self, frames: Tensor, target: Tensor) -> Tensor:
        """Compare with `target` (batch, 64, 4): the sides in pixels; -1 = no object is there."""
        guess = self.read(self.norm(frames))
        here = target[..., 0] >= 0
        present = functional.binary_cross_entropy_with_logits(guess[..., 0], here.float())
        wanted = waves(target[here]).flatten(-2)
        return 4 * present + 3 * functional.mse_loss(guess[..., 1:][here], wanted)
