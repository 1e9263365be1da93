# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Descriptions of a vision encoder that its file does not hold: the runtime's or the profile's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm_npu_ros.engine.backends.rknpu.sessions import RknnSession
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import ModelProfile


def described_elsewhere(
    session: RknnSession, path: Path, profile: ModelProfile, size: int
) -> tuple[RknnFile, str]:
    """Ask the runtime, or else the profile, about a file that does not tell; name the source."""
    attributes, source = session.described(), 'the runtime'
    if not attributes:
        attributes, source = _profile_attributes(path, profile, size), 'the profile'
    # Nothing tells whether such a file normalises the pixels. Those of Rockchip's scripts do.
    colours = {'mean': [127.5], 'std': [127.5]}
    if profile.image is not None:
        colours = {k: [255 * v for v in getattr(profile.image, k)] for k in colours}
    described = {
        name: attribute if attribute.get('is_output') else {**attribute, **colours}
        for name, attribute in attributes.items()
    }
    found = RknnFile.from_attributes(
        path, described, layout='nhwc', platform='', toolkit='', custom_string=''
    )
    return found, source


def _profile_attributes(
    path: Path, profile: ModelProfile, size: int
) -> Mapping[str, Mapping[str, Any]]:
    """Describe inputs and outputs as rknn-toolkit2 does; raise ModelFileError if unknown."""
    image = profile.image
    known = image.tokens if image is not None else {}
    if not size and len(known) == 1:
        (size,) = known
    tokens = image.tokens_at(size) if image is not None else None
    if image is None or tokens is None:
        raise ModelFileError(
            f'Neither {path} nor the runtime tells its shapes, and the profile {profile.name} '
            f'knows the sizes {sorted(known)}, not {size}',
            'Write a profile that has image.tokens for its size',
        )
    shape = [tokens, image.dim]
    outputs = ({'is_output': True, 'idx': i, 'shape': shape} for i in range(image.outputs))
    picture = {'shape': [1, size, size, 3], 'layout': 'nhwc'}
    return {'picture': picture, **{f'output {o["idx"]}': o for o in outputs}}
