# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Check that all that is known about a vision encoder agrees."""

from __future__ import annotations

import numpy as np
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import ImageFormat, ModelProfile, SAME_COLOUR


def check_agreement(
    found: RknnFile, source: str, profile: ModelProfile, platform: str, size: int
) -> None:
    """Raise ModelFileError where two sources contradict each other."""
    def expect(what: str, fact: object, by: str, wanted: object) -> None:
        if fact != wanted:
            raise ModelFileError(
                f'{found.path}: {what} is {fact} by {source}, but {wanted} by {by}',
                'Change one of them: they have to agree',
            )

    if found.platform:
        expect('the chip', found.platform, 'the board', platform)
    if size:
        expect('the size of the picture', found.size, 'the parameters', size)
    if profile.image is not None:
        by = f'the profile {profile.name}'
        expect('the embedding width', found.dim, by, profile.image.dim)
        expect('the number of outputs', len(found.outputs), by, profile.image.outputs)
        multiple = profile.image.multiple
        if multiple and found.size % multiple:
            raise ModelFileError(
                f'{found.path} reads pictures of {found.size} pixels by {source}, but sides are '
                f'multiples of {multiple} by {by}',
                'Convert it for such a side',
            )
        tokens = profile.image.tokens_at(found.size) or found.tokens
        expect(f'the number of tokens at {found.size} pixels', found.tokens, by, tokens)
        _check_colours(found, source, profile.image, by)
    elif not found.folded:
        raise ModelFileError(
            f'{found.path} wants pixels that are already normalised, and the profile '
            f'{profile.name} does not tell how',
            'Add image.mean and image.std to it',
        )


def _check_colours(found: RknnFile, source: str, image: ImageFormat, by: str) -> None:
    for what, fact, wanted in (('mean', found.mean, image.mean), ('std', found.std, image.std)):
        scaled = 255 * np.array(wanted)
        if fact is not None and np.abs(np.array(fact) - scaled).max() >= SAME_COLOUR:
            raise ModelFileError(
                f'{found.path}: the {what} of the pixels is {fact} by {source}, but '
                f'{tuple(scaled.round(2).tolist())} by {by}: pictures would have wrong colours',
                'Change one of them: they have to agree',
            )


def agrees(found: RknnFile, profile: ModelProfile) -> bool:
    try:
        check_agreement(found, 'the file', profile, found.platform, 0)
    except ModelFileError:
        return False
    return True
