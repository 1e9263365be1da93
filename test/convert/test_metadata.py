# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The metadata of .rknn files, and that `model: auto` reads what was written."""

from __future__ import annotations

from dataclasses import fields, replace
import json
from pathlib import Path

import pytest
from vlm_npu_ros.convert.errors import ConversionError
from vlm_npu_ros.convert.metadata import custom_string, LONGEST, metadata
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.profiles import find_model
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import known_models, load_profile, ModelProfile

ON_NPU = [p for p in map(load_profile, known_models()) if p.backend == 'rknpu']
FILES = (Path('encoder.rknn'), Path('language_model.rkllm'))


def file_of(profile: ModelProfile, text: str) -> RknnFile:
    image = profile.image
    assert image
    size, tokens = next(iter(image.tokens.items()))
    return RknnFile(
        path=FILES[0], size=size, layout='nhwc', platform='rk3588', toolkit='2.5.0',
        mean=tuple(255 * v for v in image.mean), std=tuple(255 * v for v in image.std),
        outputs=((tokens, image.dim),) * image.outputs, custom_string=text,
    )


def labelled(profile: ModelProfile, **changes: object) -> RknnFile:
    values = {**metadata(profile, 'a_family', 40 * 'f'), 'size': 448, **changes}
    return file_of(profile, custom_string({k: v for k, v in values.items() if v != 'drop'}))


@pytest.mark.parametrize('profile', ON_NPU, ids=lambda profile: profile.name)
def test_a_file_brings_its_profile_along(profile: ModelProfile) -> None:
    mine = replace(profile, name='mine')  # which no profile on disk has
    found = find_model('auto', *FILES, labelled(mine))
    same = {f.name for f in fields(profile)} - {
        'faults', 'files', 'grounding', 'title', 'image', 'published', 'inferred', 'sha256',
    }
    assert {n: getattr(found, n) for n in same} == {n: getattr(mine, n) for n in same}
    assert found.image and profile.image
    size, tokens = next(iter(profile.image.tokens.items()))
    assert found.image == replace(profile.image, tokens={size: tokens}, multiple=0)


def test_what_has_no_room_in_a_file_is_known_by_its_name() -> None:
    profile = load_profile('qwen3.5-2b')
    assert profile.faults and profile.grounding
    found = find_model('auto', *FILES, labelled(profile))
    assert (found.faults, found.grounding) == (profile.faults, profile.grounding)


def test_metadata_of_every_shipped_profile_has_room() -> None:
    longest = max(len(labelled(profile).custom_string.encode()) for profile in ON_NPU)
    assert longest < LONGEST


def test_length_is_counted_in_bytes() -> None:
    # rknn-toolkit2 counts characters, and takes texts that the runtime cuts off.
    custom_string({'model': 'm', 'x': 'é' * 500})
    with pytest.raises(ConversionError, match='metadata of m has 10[0-9]{2} bytes.* holds 1023'):
        custom_string({'model': 'm', 'x': 'é' * 510})


def test_what_the_file_says_goes_before_a_profile_of_that_name() -> None:
    profile = load_profile('qwen3-vl-2b')
    assert find_model('auto', *FILES, labelled(profile, stop=['halt'])).stop == ('halt',)
    assert find_model('qwen3-vl-2b', *FILES, labelled(profile, stop=['halt'])) == profile


@pytest.mark.parametrize('name', ['tags', 'mean', 'context', 'min_runtime'])
def test_partial_metadata_only_names_the_model(name: str) -> None:
    profile = load_profile('qwen3-vl-2b')
    assert find_model('auto', *FILES, labelled(profile, **{name: 'drop'})) == profile
    with pytest.raises(ModelFileError, match="model 'mine', which is not known"):
        find_model('auto', *FILES, labelled(replace(profile, name='mine'), **{name: 'drop'}))


@pytest.mark.parametrize(('name', 'value', 'words'), [
    ('model', 3, 'name must be text'),
    ('tags', {'start': ''}, 'tags.end, tags.content missing'),
    ('tags', 'x', 'tags must be a mapping'),
    ('context', -1, 'context must be a number of tokens'),
    ('min_runtime', '0.1', 'min_runtime must be one of'),
    ('mean', [0.5], 'image.mean must have 3 entries'),
    ('template', 'chatml', 'template must be a mapping'),
    ('stop', 'x', 'stop must be a list'),
])
def test_metadata_that_makes_no_sense_is_an_error(name: str, value: object, words: str) -> None:
    rknn = labelled(load_profile('qwen3-vl-2b'), **{name: value})
    with pytest.raises(ModelFileError, match=f'encoder.rknn is not .*{words}'):
        find_model('auto', *FILES, rknn)


def test_it_tells_the_origin() -> None:
    values = json.loads(labelled(load_profile('internvl3.5-1b')).custom_string)
    assert (values['family'], values['revision']) == ('a_family', 40 * 'f')
    assert values['converter'].startswith('vlm_npu_ros')
