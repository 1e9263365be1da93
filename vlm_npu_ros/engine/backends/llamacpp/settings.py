# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Settings of the backend llamacpp."""

from __future__ import annotations

from dataclasses import dataclass

from vlm_npu_ros.engine.options import option


@dataclass(frozen=True)
class LlamaCppSettings:
    """
    Settings of the backend llamacpp.

    language_model_path, encoder_path: instead of those of EngineSettings, which belong to the
        first backend of a chain.
    image_tokens: where a picture is cut into tiles, those of the whole picture come on top.
    """

    language_model_path: str = option(
        '', 'Language model (.gguf) where language_model_path is that of another backend.',
    )
    encoder_path: str = option(
        '', 'Its vision encoder (mmproj .gguf) where encoder_path is that of another backend.',
    )
    image_tokens: int = option(
        256, 'Most tokens of a picture, if its model can read pictures of several sizes.',
        16, 4096, unit='tokens', flag='--image-tokens',
    )
    cache_memory: int = option(
        1024, 'Memory for what was read of earlier pictures and dialogues.',
        0, 65536, unit='MiB', flag='--cache-memory',
    )
    thinking: str = option(
        'off', 'Whether the model thinks before it answers: off, on, or auto (as it is made).',
        choices=('auto', 'off', 'on'),
    )
