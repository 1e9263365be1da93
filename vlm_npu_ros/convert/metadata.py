# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
What we write into a .rknn file, so that it can be used without a profile on disk.

It is JSON in the custom string; engine/model_files/profiles.py reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
import json
from typing import Any

from vlm_npu_ros.convert.errors import ConversionError
from vlm_npu_ros.engine.models import ModelProfile
from vlm_npu_ros.engine.share import version

# The runtime hands it out in 1024 bytes with a 0 at the end (rknn_api.h, rknn_custom_string).
# rknn-toolkit2 counts characters, and so accepts texts that are too long.
LONGEST = 1023


def metadata(profile: ModelProfile, family: str, revision: str) -> dict[str, Any]:
    """Collect what a profile says and where the model comes from; the graph adds its format."""
    assert profile.image and profile.tags
    return {
        'model': profile.name,
        'family': family,
        'mean': profile.image.mean,
        'std': profile.image.std,
        'tags': asdict(profile.tags),
        'template': asdict(profile.template) if profile.template else None,
        'stop': profile.stop,
        'repeat_penalty': profile.repeat_penalty,
        'pictures': profile.pictures,
        'context': profile.context,
        'max_context': profile.max_context,
        'min_runtime': profile.min_runtime,
        'revision': revision,
        'converter': f'vlm_npu_ros {version()}',
    }


def custom_string(values: Mapping[str, Any]) -> str:
    """Write the JSON; raise ConversionError if it is too long for the file."""
    text = json.dumps(values, ensure_ascii=False)
    length = len(text.encode())
    if length > LONGEST:
        raise ConversionError(
            f'The metadata of {values["model"]} has {length} bytes, a .rknn holds {LONGEST}',
            'Shorten template, tags or stop in its profile',
        )
    return text
