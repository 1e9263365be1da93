# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Which variant of a model a machine takes, and which files of a repository that are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
import re

from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.catalogue import Entry, File, Variant
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.registry import all_backends, find, names
from vlm_npu_ros.pull.hub import RemoteFile, Repository

_CHIP = re.compile(r'r[kv]\d{4}[a-z]?', re.IGNORECASE)
# How the weights of published files are stored, most wanted first: llama.cpp takes the first, too.
_WEIGHTS = ('w8a8', 'Q4_K_M', 'Q8_0', 'F16', 'BF16', 'F32')
_ENCODER_WEIGHTS = ('Q8_0', 'F16', 'BF16', 'F32')
_PART = re.compile(r'-(\d{5})-of-\d{5}(?=\.gguf$)')


def variant_for(name: str, entry: Entry, chip: str, backend: str) -> Variant:
    """
    Choose the variant for a machine: made for its chip, else for any.

    chip: of another machine than this one, or ''. backend: the wanted one, or ''.
    Raises ModelFileError, which lists what there is.
    """
    def fits(variant: Variant) -> bool:
        if backend not in ('', variant.backend) or variant.backend not in names():
            return False
        return variant.chip in ('', chip or find(variant.backend).chip())

    fitting = [variant for variant in entry.variants if fits(variant)]
    if not fitting:
        there = ', '.join(variant.name for variant in entry.variants)
        machine = f' on {chip}' if chip else ' on this machine'
        raise ModelFileError(
            f'{name} has no files for {backend or "any backend"}{machine}: there are {there}',
            'Name another machine (--for rk3588) or backend (--backend llamacpp)',
        )
    return max(fitting, key=lambda variant: bool(variant.chip))


def variant_of(repository: Repository, chip: str, backend: str) -> Variant:
    """Make the variant of a repository that the catalogue does not have, by its files."""
    suffixes = {PurePosixPath(file.path).suffix.lower() for file in repository.files}
    fitting = [
        known for known in all_backends()
        if backend in ('', known.name) and all(known.suffixes) and suffixes >= {*known.suffixes}
    ]
    if not fitting:
        wanted = [known for known in all_backends() if backend in ('', known.name)]
        pairs = ' or '.join(' + '.join(w.suffixes) for w in wanted if all(w.suffixes))
        raise ModelFileError(
            f'{repository.name} has no model for {backend or "any backend"}: wanted are files '
            f'{pairs or "of another backend"}, it has {", ".join(sorted(suffixes)) or "none"}'
        )

    def chip_of(known: Backend) -> str:  # only files for an NPU are converted for a chip
        return (chip or known.chip()) if known.finds_profiles else ''

    known = max(fitting, key=lambda known: (bool(chip_of(known)), not known.finds_profiles))
    return Variant(
        known.name, repository.name, '', chip_of(known), licence=repository.licence)


def files_of(
    repository: Repository, variant: Variant, weights: str = ''
) -> tuple[RemoteFile, RemoteFile, list[RemoteFile]]:
    """
    Find encoder, language model and the further files of a split model in a repository.

    weights: how those of the language model shall be stored, such as Q8_0.
    Raises ModelFileError, which lists the candidates.
    """
    backend = find(variant.backend)
    encoders, models = (
        [file for file in repository.files if file.path.lower().endswith(suffix)]
        for suffix in backend.suffixes
    )
    if backend.suffixes[0] == backend.suffixes[1]:
        named = variant.encoder.path if variant.encoder else ''
        encoders = [
            file for file in encoders
            if 'mmproj' in file.path.lower() or fnmatchcase(file.path, named)
        ]
        models = [file for file in models if file not in encoders]
    parts = [file for file in models if (match := _PART.search(file.path)) and match[1] != '00001']
    models = [file for file in models if file not in parts]
    encoder = _chosen(encoders, variant.encoder, variant.chip, _ENCODER_WEIGHTS, 'encoder')
    wanted = (weights,) if weights else _WEIGHTS
    model = _chosen(models, variant.language_model, variant.chip, wanted, 'language-model')
    if weights.lower() not in model.path.lower():
        raise ModelFileError(
            f'{repository.name} has no language model in {weights}: it has {_listed(models)}')
    first = _PART.sub('', model.path)
    return encoder, model, [file for file in parts if _PART.sub('', file.path) == first]


def _chosen(
    files: Sequence[RemoteFile], named: File | None, chip: str, weights: Iterable[str], option: str
) -> RemoteFile:
    """Choose one of the files of a kind: by name, by chip, by how its weights are stored."""
    left = [file for file in files if named is None or fnmatchcase(file.path, named.path)]
    if chip:
        left = [file for file in left if _may_be_for(chip, file.path)]
    for stored in weights:
        mark = re.compile(rf'(?<![a-z0-9]){re.escape(stored)}(?![a-z0-9])', re.IGNORECASE)
        if alike := [file for file in left if mark.search(file.path)]:
            left = alike
            break
    if len(left) != 1:
        raise ModelFileError(
            f'Which file shall be the {option.replace("-", " ")}? '
            + (f'There are {_listed(left)}' if left else
               f'None fits; there are {_listed(files) or "none"}'),
            f'Name it: --{option} PATH',
        )
    return _with_facts(left[0], named)


def _may_be_for(chip: str, path: str) -> bool:
    """Tell whether a path names that chip or none."""
    named = [found.lower() for found in _CHIP.findall(path)]
    return not named or any(found.startswith(chip) for found in named)


def _with_facts(file: RemoteFile, known: File | None) -> RemoteFile:
    """Add the SHA-256 that the catalogue has; raise ModelFileError if the server has another."""
    if not known or not known.sha256:
        return file
    if file.sha256 not in ('', known.sha256):
        raise ModelFileError(
            f'{file.path} is not the file that the catalogue pins: its SHA-256 is {file.sha256} '
            f'on the server, {known.sha256} in the catalogue',
            'Pull the repository itself if you trust what it has now: hf:OWNER/REPO',
        )
    return replace(file, sha256=known.sha256)


def _listed(files: Sequence[RemoteFile]) -> str:
    return ', '.join(file.path for file in files)
