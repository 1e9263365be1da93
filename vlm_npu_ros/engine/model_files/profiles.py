# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Finds the model profile of a .rknn and a .rkllm file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
import json
from pathlib import Path
import re
import reprlib
from typing import Any

from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.agreement import agrees
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import AUTO, known_models, load_profile, ModelProfile, profile_of

# Profile fields that the metadata of a .rknn may have, and those that make it complete.
_COPIED = (
    'tags', 'template', 'stop', 'repeat_penalty', 'pictures', 'context', 'max_context',
    'min_runtime',
)
_WHOLE = {'model', 'mean', 'std', 'tags', 'context', 'min_runtime'}


def find_model(
    model: str, encoder: Path, language_model: Path, rknn: RknnFile | None = None
) -> ModelProfile:
    """
    Load the profile of a model by its name or, for 'auto', the one that fits the files.

    The custom string of a .rknn may be JSON with the whole profile (convert/metadata.py), or name
    it as "model". Otherwise the names of both files and the shapes of the .rknn must leave exactly
    one profile; if the names say nothing, only sizes that the profiles know count. Raises
    ModelFileError with the candidates.
    """
    if model != AUTO:
        return load_profile(model)
    labels, profiles = labels_of(rknn) if rknn else {}, npu_profiles()
    if rknn is not None and labels.keys() >= _WHOLE:
        found = _described_by(labels, rknn)
        # For these there is no room in the file.
        known = next((p for p in profiles if p.name == found.name), found)
        return replace(found, faults=known.faults, grounding=known.grounding)
    named = labels.get('model')
    if named and isinstance(named, str):
        if alike := [p for p in profiles if p.name == named]:
            return alike[0]
        raise ModelFileError(
            f'{encoder} says that it is of the model {reprlib.repr(named)}, which is not known',
            'Set the model to the path of its profile .yaml',
        )
    alike = _named_alike(profiles, (encoder.name, language_model.name))
    any_size = len(alike) < len(profiles)
    fitting = [p for p in alike if rknn is None or _fits(p, rknn, any_size)]
    if len(fitting) == 1:
        return fitting[0]
    raise ModelFileError(
        f'The model of {encoder.name} and {language_model.name} cannot be told: by their names '
        f'it is {_one_of(alike)}, by the shapes of the encoder {_one_of(fitting)}',
        f'Set the model to one of {", ".join(p.name for p in profiles)}, or to the path of a '
        'profile .yaml',
    )


def _one_of(profiles: list[ModelProfile]) -> str:
    return ' or '.join(p.name for p in profiles) or 'none that is known'


def npu_profiles() -> list[ModelProfile]:
    """Load all shipped profiles of models for the NPU."""
    return [p for p in map(load_profile, known_models()) if p.backend == 'rknpu']


def labels_of(rknn: RknnFile) -> dict[str, Any]:
    """Parse the JSON object that is a file's custom string; {} for any other text."""
    try:
        value = json.loads(rknn.custom_string)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def is_named(profile: ModelProfile, name: str) -> bool:
    """Return whether a file has one of the usual names of the model's files."""
    return bool(re.search(profile.files, name, re.IGNORECASE))


def _described_by(labels: Mapping[str, Any], rknn: RknnFile) -> ModelProfile:
    return profile_of({
        'name': labels['model'],
        'backend': 'rknpu',
        'files': re.escape(str(labels['model'])),
        'image': {
            'tokens': {rknn.size: rknn.tokens}, 'outputs': len(rknn.outputs), 'dim': rknn.dim,
            'mean': labels['mean'], 'std': labels['std'],
        },
        **{name: labels[name] for name in _COPIED if name in labels},
    }, f'The profile embedded in {rknn.path}', 'Name its model in the parameter model')


def _named_alike(profiles: list[ModelProfile], names: tuple[str, ...]) -> list[ModelProfile]:
    """Return the profiles that both names allow; a name that fits no profile is ignored."""
    alike = profiles
    for name in names:
        matching = [p for p in profiles if is_named(p, name)]
        alike = [p for p in alike if p in matching or not matching]
    return alike


def _fits(profile: ModelProfile, rknn: RknnFile, any_size: bool) -> bool:
    assert profile.image
    return agrees(rknn, profile) and (any_size or rknn.size in profile.image.tokens)
