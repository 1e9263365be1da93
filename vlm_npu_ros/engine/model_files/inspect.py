# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What a model file is, and which model it may be of: .rknn, .rkllm, .gguf, .onnx."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.agreement import agrees
from vlm_npu_ros.engine.model_files.gguf import GgufFile
from vlm_npu_ros.engine.model_files.kinds import ENOUGH, GGUF, kind_of, ONNX, RKNN
from vlm_npu_ros.engine.model_files.onnx_graph import read_onnx
from vlm_npu_ros.engine.model_files.other_npus import refuse_rknn3
from vlm_npu_ros.engine.model_files.profiles import find_model, is_named, labels_of, npu_profiles
from vlm_npu_ros.engine.model_files.rkllm import check_rkllm, toolkit_of
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import AUTO, known_models, load_profile

_WITHOUT_CACHE = (
    'size of the file; the key-value cache, which grows with the context, comes on top')


@dataclass(frozen=True)
class Memory:
    """
    An estimate of the memory that a model takes when it is loaded.

    estimate: how it is made.
    published_gb: what was measured for both models together; source: by whom.
    """

    at_least: int
    estimate: str
    published_gb: float | None = None
    source: str = ''


@dataclass(frozen=True)
class Inspected:
    """
    What was found.

    kind: 'rknn', 'rkllm', 'gguf' or 'onnx'. size: bytes, with the files that belong to it.
    models: names of the profiles that it may be of; matched: by what.
    facts: what this kind of file tells.
    """

    path: Path
    kind: str
    size: int
    models: tuple[str, ...]
    matched: str
    memory: Memory
    facts: dict[str, Any]


def inspect_file(path: Path) -> Inspected:
    """
    Read what a file says about itself.

    Raises ModelFileError if it is none of these kinds or damaged, and BackendUnavailableError
    for an .onnx file where the package onnx is not installed.
    """
    refuse_rknn3(path)
    try:
        with open(path, 'rb') as file:
            head = file.read(ENOUGH)
    except (OSError, ValueError) as error:
        raise ModelFileError(f'{path} cannot be read: {error}') from error
    suffix, (kind, _) = path.suffix.lower(), kind_of(head)
    read = {RKNN: _rknn, ONNX: _onnx, GGUF: _gguf}.get(kind)
    if read:
        return read(path)
    if suffix == '.rknn':
        RknnFile.read(path)  # says what is there instead
    if suffix == '.gguf':
        GgufFile.read(path)  # likewise
    if suffix == '.rkllm':
        return _rkllm(path)
    raise ModelFileError(
        f'{path} is not a .rknn, .rkllm or .onnx file, nor a .gguf: '
        + (f"it begins with '{head[:8].hex(' ')}'" if head else 'it is empty')
    )


def _rknn(path: Path) -> Inspected:
    size, file = path.stat().st_size, RknnFile.try_read(path)
    if file is None:
        facts: dict[str, Any] = {'shapes': None}
        models, matched = _models_by_name(path)
    else:
        facts = {
            'pixels': file.size, 'layout': file.layout, 'tokens': file.tokens,
            'outputs': len(file.outputs), 'dim': file.dim, 'folded': file.folded,
            'mean': file.mean, 'std': file.std,
            'platform': file.platform, 'toolkit': file.toolkit,
            'metadata': labels_of(file) or file.custom_string or None,
        }
        models, matched = _models(file)
    return Inspected(path, 'rknn', size, models, matched, _memory(
        size, 'size of the file, whose weights are loaded whole; buffers come on top', models
    ), facts)


def _rkllm(path: Path) -> Inspected:
    size = check_rkllm(path)
    models, matched = _models_by_name(path)
    # The format is not published, so nothing that the file says can be trusted to be read right.
    facts = {'shapes': None, 'toolkit': toolkit_of(path)}
    return Inspected(
        path, 'rkllm', size, models, matched, _memory(size, _WITHOUT_CACHE, models), facts)


def _gguf(path: Path) -> Inspected:
    size, file = path.stat().st_size, GgufFile.read(path)
    names = ('general.name', 'general.quantized_by', 'general.license')
    return Inspected(path, 'gguf', size, (), '', Memory(size, _WITHOUT_CACHE), {
        'encoder': file.is_encoder, 'architecture': file.architecture, 'context': file.context,
        'parameters': file.parameters, **{n.split('.')[1]: file.facts.get(n) for n in names},
    })


def _onnx(path: Path) -> Inspected:
    facts = read_onnx(path)
    missing = [name for name in facts['data'] if not Path(name).is_file()]
    if missing:
        raise ModelFileError(f'{path} keeps weights in {", ".join(missing)}, which is missing')
    size = sum(Path(name).stat().st_size for name in (path, *facts['data']))
    models, matched = _models_of_graph(path, facts)
    return Inspected(path, 'onnx', size, models, matched, Memory(
        size, 'its weights; converting it with rknn-toolkit2 takes 6 to 8 times as much '
        '(docs/conversion.md)',
    ), facts)


def _memory(size: int, estimate: str, models: tuple[str, ...]) -> Memory:
    if len(models) == 1 and models[0] in known_models():
        published = load_profile(models[0]).published
        if published and published.ram_gb is not None:
            return Memory(size, estimate, published.ram_gb, published.source)
    return Memory(size, estimate)


def _models_by_name(path: Path) -> tuple[tuple[str, ...], str]:
    names = tuple(p.name for p in npu_profiles() if is_named(p, path.name))
    return names, 'its name' if names else ''


def _models(file: RknnFile) -> tuple[tuple[str, ...], str]:
    """Find the profiles that an encoder may be of: the one it names, or those that it fits."""
    if 'model' in labels_of(file):
        try:
            profile = find_model(AUTO, file.path, Path(), file)
        except ModelFileError:  # a name that nobody knows
            pass
        else:
            contradicted = '' if agrees(file, profile) else ', which its shapes contradict'
            return (profile.name,), f'its metadata{contradicted}'
    fitting = [p for p in npu_profiles() if agrees(file, p)]
    by_name = tuple(p.name for p in fitting if is_named(p, file.path.name))
    if by_name:
        return by_name, 'its name and shapes'
    alike = tuple(p.name for p in fitting if p.image and file.size in p.image.tokens)
    return alike, 'its shapes' if alike else ''


def _models_of_graph(path: Path, facts: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    """Find the profiles that a graph would fit if it were converted with their mean and std."""
    picture = {'layout': 'nchw', 'mean': [0], 'std': [1]}
    attributes = {t['name']: {'shape': t['shape'], **picture} for t in facts['inputs']}
    for i, tensor in enumerate(facts['outputs']):
        attributes[tensor['name']] = {'is_output': True, 'idx': i, 'shape': tensor['shape']}
    try:
        encoder = RknnFile.from_attributes(
            path, attributes, layout='nchw', platform='', toolkit='', custom_string=''
        )
    except (ModelFileError, TypeError):  # not square, or sides that are not constant
        return (), ''
    return _models(encoder)
