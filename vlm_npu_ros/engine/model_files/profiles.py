"""Which model profile a .rknn and a .rkllm file are of."""

from __future__ import annotations

from collections.abc import Mapping
import json
from pathlib import Path
import re
import reprlib
from typing import Any

from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import (
    AUTO,
    known_models,
    load_profile,
    ModelProfile,
    profile_of,
    SAME_COLOUR,
)

# What the metadata of a .rknn has of a profile, in the profile's words; and what must be there.
_COPIED = ('tags', 'template', 'stop', 'context', 'max_context', 'min_runtime')
_WHOLE = {'model', 'mean', 'std', 'tags', 'context', 'min_runtime'}


def find_model(
    model: str, encoder: Path, language_model: Path, rknn: RknnFile | None = None
) -> ModelProfile:
    """
    Load the profile of a model by its name, or for 'auto' the one that its files fit.

    A .rknn whose custom string is JSON brings the profile along (convert/metadata.py), or names
    it as "model". Otherwise the names of both files and what the .rknn makes of a picture must
    leave one profile; where the names say nothing, only picture sizes that profiles know count.
    Raises ModelFileError with the candidates.
    """
    if model != AUTO:
        return load_profile(model)
    labels = labels_of(rknn) if rknn else {}
    if rknn is not None and labels.keys() >= _WHOLE:
        return _described_by(labels, rknn)
    profiles = npu_profiles()
    named = labels.get('model')
    if named and isinstance(named, str):
        for profile in profiles:
            if profile.name == named:
                return profile
        raise ModelFileError(
            f'{encoder} says that it is of the model {reprlib.repr(named)}, which is not known',
            'Set the model to the path of its profile .yaml',
        )
    alike = _named_alike(profiles, (encoder.name, language_model.name))
    fitting = [
        p for p in alike if rknn is None or _fits(p, rknn, any_size=len(alike) < len(profiles))
    ]
    if len(fitting) == 1:
        return fitting[0]
    raise ModelFileError(
        f'The model of {encoder.name} and {language_model.name} cannot be told: by their names '
        f'it is {_one_of(alike)}, by what the encoder makes of a picture {_one_of(fitting)}',
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
    """Return whether a file's name is one that the model's files usually have."""
    return re.search(profile.files, name, re.IGNORECASE) is not None


def _described_by(labels: Mapping[str, Any], rknn: RknnFile) -> ModelProfile:
    """Return the profile embedded in a file; raise ModelFileError if it is invalid."""
    return profile_of({
        'name': labels['model'],
        'backend': 'rknpu',
        'files': re.escape(str(labels['model'])),
        'image': {
            'tokens': {rknn.size: rknn.tokens},
            'outputs': len(rknn.outputs),
            'dim': rknn.dim,
            'mean': labels['mean'],
            'std': labels['std'],
        },
        **{name: labels[name] for name in _COPIED if name in labels},
    }, f'What is embedded in {rknn.path}', 'Name its model in the parameter model')


def _named_alike(profiles: list[ModelProfile], names: tuple[str, ...]) -> list[ModelProfile]:
    """Leave out profiles that a name speaks against; a name that fits none says nothing."""
    alike = profiles
    for name in names:
        matching = [p for p in profiles if is_named(p, name)]
        alike = [p for p in alike if p in matching or not matching]
    return alike


def _fits(profile: ModelProfile, rknn: RknnFile, any_size: bool) -> bool:
    image = profile.image
    assert image
    tokens = image.tokens.get(rknn.size, rknn.tokens if any_size else None)
    format_ = (len(rknn.outputs), rknn.tokens, rknn.dim)
    colours = ((rknn.mean, image.mean), (rknn.std, image.std))
    return format_ == (image.outputs, tokens, image.dim) and all(
        abs(fact - 255 * wanted) < SAME_COLOUR
        for facts, values in colours if facts is not None
        for fact, wanted in zip(facts, values, strict=False)
    )
