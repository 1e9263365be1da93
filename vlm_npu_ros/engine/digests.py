# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Hashes of model files, by which a profile pins its files."""

from __future__ import annotations

from dataclasses import dataclass, fields
import hashlib
from pathlib import Path
import re

from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.progress import Event, Progress

_CHUNK = 1 << 20  # bytes
_SAMPLES, _SAMPLE = 64, 1 << 14  # of a fingerprint: how many, and bytes of each


@dataclass(frozen=True)
class Digests:
    """
    The SHA-256 of each file as sha256sum prints it; None = any file.

    Raises ValueError for anything else.
    """

    encoder: str | None = None
    language_model: str | None = None
    tokenizer: str | None = None
    locator: str | None = None
    locator_tokenizer: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not re.fullmatch('[0-9a-fA-F]{64}', value):
                raise ValueError(
                    f'sha256.{field.name} must be the 64 hexadecimal digits that sha256sum '
                    f'prints, not {value!r}'
                )

    def check(self, progress: Progress, **paths: Path) -> None:
        """Raise ModelFileError unless each file, given by field name, is the pinned one."""
        for name, path in paths.items():
            expected = getattr(self, name)
            if expected is None:
                continue
            progress(Event(f'Comparing {path} with the sha256 of its profile'))
            if (found := sha256_of(path)) != expected.lower():
                raise ModelFileError(
                    f'{path} is not the file that its profile pins: sha256.{name} is '
                    f'{expected.lower()}, that of the file {found}',
                    'Download the file again, or correct the profile',
                )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; raise ModelFileError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, 'rb') as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise ModelFileError(f'{path} cannot be read: {error}') from error
    return digest.hexdigest()


def fingerprint(path: Path) -> str:
    """
    Tell a file from all others by its size and samples of it: quick for gigabytes.

    No protection against someone who wants to deceive. Raises ModelFileError.
    """
    try:
        with open(path, 'rb') as file:
            size = file.seek(0, 2)
            digest = hashlib.sha256(str(size).encode())
            for i in range(_SAMPLES):
                file.seek(max(size - _SAMPLE, 0) * i // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE))
    except OSError as error:
        raise ModelFileError(f'{path} cannot be read: {error}') from error
    return digest.hexdigest()[:32]
