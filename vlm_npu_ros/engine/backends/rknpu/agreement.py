"""What is known of a vision encoder besides its file, and whether all that agrees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TYPE_CHECKING

import numpy as np
from vlm_npu_ros.engine.backends.rknpu.rknn_file import RknnFile
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.models import ImageFormat, ModelProfile, SAME_COLOUR

if TYPE_CHECKING:
    from rknnlite.api import RKNNLite


def described_elsewhere(
    rknn: RKNNLite, path: Path, profile: ModelProfile, size: int
) -> tuple[RknnFile, str]:
    """Return what the runtime, or else the profile, says of a file that does not tell."""
    attributes, source = _runtime_attributes(rknn), 'the runtime'
    if not attributes:
        attributes, source = _profile_attributes(path, profile, size), 'the profile'
    # Nobody tells whether such a file normalises the pixels itself: Rockchip's scripts make it so.
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


def _runtime_attributes(rknn: RKNNLite) -> Mapping[str, Mapping[str, Any]]:
    """Return inputs and outputs as rknn-toolkit2 writes them; empty if the runtime is silent."""
    try:
        # Private, but in all versions and widely used; there is no public way.
        runtime = rknn.rknn_runtime
        inputs, outputs = runtime.get_in_out_num()
        shapes = [runtime.get_tensor_attr(i) for i in range(inputs)]
        layouts = ('nchw', 'nhwc')
        return {
            **{
                f'input {i}': {'shape': list(a.dims)[:a.n_dims], 'layout': layouts[a.fmt]}
                for i, a in enumerate(shapes)
            },
            **{
                f'output {i}': {
                    'is_output': True, 'idx': i, 'shape': list(runtime.get_output_shape(i))
                }
                for i in range(outputs)
            },
        }
    except Exception:  # whatever a private interface has become
        return {}


def _profile_attributes(
    path: Path, profile: ModelProfile, size: int
) -> Mapping[str, Mapping[str, Any]]:
    """Return inputs and outputs as rknn-toolkit2 writes them; raise ModelFileError."""
    image = profile.image
    known = image.tokens if image is not None else {}
    if not size and len(known) == 1:
        (size,) = known
    if image is None or size not in known:
        raise ModelFileError(
            f'{path} does not tell its shapes, neither does the runtime, and the profile '
            f'{profile.name} knows the sizes {sorted(known)}, not {size}',
            'Write a profile that has image.tokens for its size',
        )
    return {
        'picture': {'shape': [1, size, size, 3], 'layout': 'nhwc'},
        **{
            f'output {i}': {'is_output': True, 'idx': i, 'shape': [image.tokens[size], image.dim]}
            for i in range(image.outputs)
        },
    }


def check_agreement(
    found: RknnFile, source: str, profile: ModelProfile, platform: str, size: int
) -> None:
    """Raise ModelFileError where two sources contradict each other."""
    def expect(what: str, fact: object, by: str, wanted: object) -> None:
        if fact != wanted:
            raise ModelFileError(
                f'{found.path}: {what} is {fact} by {source}, but {wanted} by {by}: these do not '
                'belong together'
            )

    if found.platform:
        expect('the chip', found.platform, 'the board', platform)
    if size:
        expect('the size of the picture', found.size, 'the parameters', size)
    if profile.image is not None:
        by = f'the profile {profile.name}'
        expect('the embedding width', found.dim, by, profile.image.dim)
        expect('the number of outputs', len(found.outputs), by, profile.image.outputs)
        tokens = profile.image.tokens.get(found.size, found.tokens)
        expect(f'the number of tokens at {found.size} pixels', found.tokens, by, tokens)
        _check_colours(found, source, profile.image, by)
    elif not found.folded:
        raise ModelFileError(
            f'{found.path} wants pixels that are normalised already, and the profile '
            f'{profile.name} does not tell how',
            'Add image.mean and image.std to it',
        )


def _check_colours(found: RknnFile, source: str, image: ImageFormat, by: str) -> None:
    for what, fact, wanted in (('mean', found.mean, image.mean), ('std', found.std, image.std)):
        scaled = 255 * np.array(wanted)
        if fact is not None and np.abs(np.array(fact) - scaled).max() >= SAME_COLOUR:
            raise ModelFileError(
                f'{found.path}: the {what} of the pixels is {fact} by {source}, but '
                f'{tuple(scaled.round(2).tolist())} by {by}: pictures would have wrong colours'
            )
