"""Descriptions of a vision encoder that its file does not hold: the runtime's or the profile's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TYPE_CHECKING

from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import ModelProfile

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
