# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Models that `vlm-npu pull` knows by name, and where their files are: config/catalogue.yaml."""

from __future__ import annotations

from dataclasses import dataclass
import functools

from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.share import share_dir
from vlm_npu_ros.engine.yaml_fields import checked, read_yaml


@dataclass(frozen=True)
class File:
    """
    A file in a repository.

    path: there; * and ? stand for what is not known of it. size: bytes; 0 = not known.
    sha256: in hexadecimal; '' = not known.
    """

    path: str
    size: int = 0
    sha256: str = ''


@dataclass(frozen=True)
class Variant:
    """
    Files of a model for one backend.

    backend: that runs them. chip: the only one that does; '' = any machine.
    repository: OWNER/REPO on Hugging Face.
    encoder, language_model: None = chosen among the files of the repository.
    source: who says that this pair works, or has it. licence: of the files.
    memory_gb: that both take when they are loaded, if a source states it.
    profile: name of their model profile; '' = found from the files, or not needed.
    """

    backend: str
    repository: str
    source: str
    chip: str = ''
    encoder: File | None = None
    language_model: File | None = None
    licence: str = ''
    memory_gb: float | None = None
    profile: str = ''

    @property
    def name(self) -> str:
        """Name it among the variants of its model: 'llamacpp' or 'rknpu-rk3588'."""
        return f'{self.backend}-{self.chip}' if self.chip else self.backend


@dataclass(frozen=True)
class Entry:
    """A model, whose variants are listed with the best one for a machine first."""

    title: str
    variants: tuple[Variant, ...]


@functools.lru_cache(maxsize=1)
def catalogue() -> dict[str, Entry]:
    """Return all models by name; raise ModelFileError if the file is damaged."""
    path = share_dir() / 'config' / 'catalogue.yaml'
    try:
        entries: dict[str, Entry] = checked(dict[str, Entry], read_yaml(path))
    except (OSError, ValueError) as error:
        raise ModelFileError(f'{path} is not a valid catalogue: {error}') from error
    return entries
