"""Which model profile a .rknn and a .rkllm file are of."""

from __future__ import annotations

from collections.abc import Mapping
import json
from pathlib import Path
import re
import reprlib
from typing import Any

from vlm_npu_ros.engine.backends.rknpu.rknn_file import RknnFile
from vlm_npu_ros.engine.errors import ModelFileError
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
    Return the profile of a model by its name, or for 'auto' the one that its files fit.

    A .rknn whose custom string is JSON brings the profile along (convert/metadata.py), or names
    it by a "model". Else the names of both files and what the .rknn makes of a picture must leave
    one profile; files whose names tell nothing are told by pictures of sizes known only. Raises
    ModelFileError naming the candidates.
    """
    if model != AUTO:
        return load_profile(model)
    labels = _labels(rknn)
    if rknn is not None and labels.keys() >= _WHOLE:
        return _described_by(labels, rknn)
    profiles = [p for p in map(load_profile, known_models()) if p.backend == 'rknpu']
    named = labels.get('model')
    if named and isinstance(named, str):
        for profile in profiles:
            if profile.name == named:
                return profile
        raise ModelFileError(
            f'{encoder} says that it is of the model {reprlib.repr(named)}, which is not known: '
            'give the path of its profile .yaml as the model'
        )
    alike = _named_alike(profiles, (encoder.name, language_model.name))
    fitting = [
        p for p in alike if rknn is None or _fits(p, rknn, any_size=len(alike) < len(profiles))
    ]
    if len(fitting) == 1:
        return fitting[0]
    raise ModelFileError(
        f'The model of {encoder.name} and {language_model.name} can not be told: by their names '
        f'it is {_one_of(alike)}, by what the encoder makes of a picture {_one_of(fitting)}. '
        f'Give one of {", ".join(p.name for p in profiles)}, or the path of a profile .yaml, as '
        'the model'
    )


def _one_of(profiles: list[ModelProfile]) -> str:
    return ' or '.join(p.name for p in profiles) or 'none that is known'


def _labels(rknn: RknnFile | None) -> dict[str, Any]:
    """Return the JSON object that is a file's custom string, or an empty one."""
    try:
        value = json.loads(rknn.custom_string) if rknn else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _described_by(labels: Mapping[str, Any], rknn: RknnFile) -> ModelProfile:
    """Return the profile embedded in a file; raise ModelFileError if it makes no sense."""
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
    """Return those that no name speaks against; a name that fits none says nothing."""
    alike = profiles
    for name in names:
        matching = [p for p in profiles if re.search(p.files, name, re.IGNORECASE)]
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
