# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Models that `vlm-npu pull` has fetched: where they are, and how `model: NAME` finds them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
import os
from pathlib import Path
import re

from vlm_npu_ros.engine.catalogue import catalogue
from vlm_npu_ros.engine.digests import Digests
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.models import AUTO, known_models, load_profile
from vlm_npu_ros.engine.progress import Progress
from vlm_npu_ros.engine.registry import all_backends, find, names
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.share import home_dir
from vlm_npu_ros.engine.yaml_fields import checked, read_yaml
import yaml

FOLDER_VARIABLE = 'VLM_NPU_MODELS'
MANIFEST = 'pulled.yaml'
HUGGING_FACE = 'hf:'  # before the name of a repository: hf:OWNER/REPO, hf:OWNER/REPO:Q8_0


@dataclass(frozen=True)
class PulledFile:
    """A model file: its path in the folder of its model, its bytes and its SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Pulled:
    """
    What was fetched, as pulled.yaml says beside the files.

    name: by which `model` finds it. backend, chip: that it is for; chip '' = any machine.
    profile: name of the model profile, path of a .yaml in the folder, or auto = found from the
        files; '' = none is needed.
    repository, revision: where it comes from. parts: all further files of a split model.
    """

    name: str
    backend: str
    chip: str
    profile: str
    repository: str
    revision: str
    licence: str
    encoder: PulledFile
    language_model: PulledFile
    parts: tuple[PulledFile, ...] = ()

    @property
    def variant(self) -> str:
        """Name it among the variants of its model."""
        return f'{self.backend}-{self.chip}' if self.chip else self.backend

    @property
    def folder(self) -> Path:
        return folder_of(self.name, self.variant)

    @property
    def model(self) -> str:
        """Value of EngineSettings.model for it."""
        own = self.profile.endswith('.yaml')
        return str(self.folder / self.profile) if own else self.profile or self.name

    @property
    def files(self) -> tuple[PulledFile, ...]:
        return (self.encoder, self.language_model, *self.parts)

    def write(self, folder: Path) -> None:
        """Write pulled.yaml."""
        values = {**asdict(self), 'parts': [asdict(part) for part in self.parts]}
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        (folder / MANIFEST).write_text(text, encoding='utf-8')

    def check(self, progress: Progress) -> None:
        """Raise ModelFileError unless all files are there as they were when they came."""
        for file in self.files:
            path = self.folder / file.path
            if not os.path.isfile(path) or path.stat().st_size != file.size:
                raise ModelFileError(
                    f'{path} is not the whole file that was pulled', self._remedy)
            try:
                Digests(language_model=file.sha256).check(progress, language_model=path)
            except ModelFileError as error:
                raise ModelFileError(error.what, self._remedy) from error

    @property
    def _remedy(self) -> str:
        return f'Remove {self.folder}, and pull it again: `{pull_command(self.name)}`'


def models_folder() -> Path:
    """Return the folder of all pulled models: $VLM_NPU_MODELS, or vlm-npu/models of XDG's."""
    own = os.environ.get(FOLDER_VARIABLE)
    data = os.environ.get('XDG_DATA_HOME') or home_dir() / '.local/share'
    return Path(os.path.expanduser(own or Path(data, 'vlm-npu', 'models')))


def folder_of(name: str, variant: str) -> Path:
    """Return the folder of a variant; no name leads out of that of all models."""
    return models_folder() / re.sub(r'[^\w.-]', '--', f'{name}').lstrip('.') / variant


def pull_command(name: str, backend: str = '') -> str:
    return f'vlm-npu pull {name}' + (f' --backend {backend}' if backend else '')


def all_pulled() -> list[Pulled]:
    """Return all that is there, by name; damaged pulled.yaml and renamed folders are left out."""
    found = []
    for path in sorted(models_folder().glob(f'*/*/{MANIFEST}')):
        with suppress(OSError, ValueError):
            pulled: Pulled = checked(Pulled, read_yaml(path))
            if pulled.folder == path.parent:
                found.append(pulled)
    return found


def find_pulled(name: str, backend: str = '', chip: str = '') -> Pulled | None:
    """
    Return a model that is there; one that was converted for a chip comes first.

    backend: that it must be for; '' = any. chip: that it must run on; '' = that of this machine.
    """
    fitting = [
        pulled for pulled in all_pulled()
        if pulled.name == name and backend in ('', pulled.backend)
        and (pulled.chip in ('', chip) if chip else _runs_here(pulled))
    ]
    return max(fitting, key=lambda pulled: bool(pulled.chip), default=None)


def last_pulled() -> Pulled | None:
    """Return the model that was pulled last, of those that run here."""
    def pulled_at(pulled: Pulled) -> float:
        return (pulled.folder / MANIFEST).stat().st_mtime

    return max(filter(_runs_here, all_pulled()), key=pulled_at, default=None)


def _runs_here(pulled: Pulled) -> bool:
    return pulled.backend in names() and pulled.chip in ('', find(pulled.backend).chip())


def check_model(name: str) -> None:
    """Raise ModelFileError, which says what to do, unless `model` can have that value."""
    if name != AUTO and not find_pulled(name):
        if name in catalogue() and name not in known_models() or name.startswith(HUGGING_FACE):
            raise _not_there(name)
        load_profile(name)


def backend_of(settings: EngineSettings) -> str:
    """
    Find the backend that files and model mean, where `settings.backend` is auto.

    Files say it by how they end, else the model that was pulled, else the profile of the model.
    """
    if settings.backend != AUTO:
        return settings.backend
    files = (settings.encoder_path, settings.language_model_path)
    named = [
        backend.name for backend in all_backends()
        if any(suffix and file.lower().endswith(suffix)
               for file, suffix in zip(files, backend.suffixes, strict=True))
    ]
    if settings.model == AUTO:
        return named[0] if named else next(b.name for b in all_backends() if b.finds_profiles)
    if not any(files) and (pulled := find_pulled(settings.model)):
        return pulled.backend
    check_model(settings.model)
    backend = load_profile(settings.model).backend
    return named[0] if named and backend not in named else backend


def with_files(settings: EngineSettings, progress: Progress) -> EngineSettings:
    """
    Name the files of a model that was pulled, and check them, unless the settings name others.

    Raises ModelFileError, which says how to fetch it, where it is not there.
    """
    backend, model = find(settings.backend), settings.model
    if settings.encoder_path or settings.language_model_path or not any(backend.suffixes):
        return settings
    if pulled := find_pulled(model, backend.name):
        pulled.check(progress)
        return replace(
            settings,
            model=pulled.model,
            encoder_path=str(pulled.folder / pulled.encoder.path),
            language_model_path=str(pulled.folder / pulled.language_model.path),
        )
    if model in catalogue() or model.startswith(HUGGING_FACE):
        raise _not_there(model, backend.name)
    return settings


def _not_there(name: str, backend: str = '') -> ModelFileError:
    return ModelFileError(
        f'The model {name} is not on this machine'
        + (f' for the backend {backend}' if backend else ''),
        f'Fetch it: `{pull_command(name, backend)}`, or name its files: encoder_path and '
        'language_model_path',
    )
