# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""From the name of a model to files that can be loaded: checks, transfer, checks again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
import fcntl
from fnmatch import fnmatchcase
import os
from pathlib import Path, PurePosixPath
import re
import shutil

from vlm_npu_ros.engine.backends.backend import Check
from vlm_npu_ros.engine.catalogue import catalogue, File, Variant
from vlm_npu_ros.engine.digests import sha256_of
from vlm_npu_ros.engine.errors import BackendUnavailableError, BusyError, ModelFileError
from vlm_npu_ros.engine.model_files.agreement import check_agreement
from vlm_npu_ros.engine.model_files.gguf import GgufFile
from vlm_npu_ros.engine.model_files.inspect import inspect_file, Inspected
from vlm_npu_ros.engine.model_files.profiles import find_model, is_named, npu_profiles
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import AUTO, load_profile
from vlm_npu_ros.engine.pulled import (
    find_pulled,
    folder_of,
    HUGGING_FACE,
    models_folder,
    Pulled,
    PulledFile,
)
from vlm_npu_ros.engine.registry import find
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.pull.choosing import files_of, variant_for, variant_of
from vlm_npu_ros.pull.hub import RemoteFile, Repository

_REPOSITORY = re.compile(r'hf:(\w[\w.-]*/\w[\w.-]*)(?::(\w[\w.-]*))?', re.ASCII)
_UNFINISHED = '.unfinished'  # folder of transfers that were interrupted, below that of all models
_OWN_PROFILE = 'profile.yaml'
_SPARE = 64 << 20  # bytes that stay free on the disk

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Wish:
    """
    What to pull.

    name: of the catalogue, or hf:OWNER/REPO, or hf:OWNER/REPO:Q8_0.
    chip, backend: '' = of this machine. encoder, language_model: paths in the repository, where
    these are not found. profile: name or .yaml of the model profile, likewise.
    force: pull it, too, where this machine cannot run it.
    """

    name: str
    chip: str = ''
    backend: str = ''
    encoder: str = ''
    language_model: str = ''
    profile: str = ''
    force: bool = False


def pull(
    wish: Wish, tell: Tell, transfer: Callable[[Repository, RemoteFile, Path], object]
) -> Pulled:
    """
    Fetch a model; what an interrupted pull has left is used.

    tell: gets lines for people. transfer: fetches a file, and shows its progress.
    Raises VlmError, which says what to do; nothing is there then that could be loaded.
    """
    if here := _there(wish):
        here.check(lambda event: None)
        _check_wish(wish, here)
        tell(f'{wish.name} is there already: {here.folder}')
        return here
    repository, variant, weights = _variant(wish)
    if wish.profile and (known := load_profile(wish.profile)).backend != variant.backend:
        raise ModelFileError(f'The profile {known.name} is for {known.backend}, the files are for '
                             f'{variant.backend}')
    if wish.encoder:
        variant = replace(variant, encoder=File(wish.encoder))
    if wish.language_model:
        variant = replace(variant, language_model=File(wish.language_model))
    encoder, language_model, parts = files_of(repository, variant, weights)
    files = [encoder, language_model, *parts]
    unfinished = models_folder() / _UNFINISHED / folder_of(wish.name, variant.name).parent.name
    unfinished /= variant.name
    for file in files:
        _inside(unfinished, file.path)
    licence = variant.licence or repository.licence or 'not stated'
    tell(f'{wish.name} for {variant.name} from {repository.name}, licence: {licence}')
    with _alone(unfinished):
        _check_disk(unfinished, files)
        _check_machine(wish, variant, files, tell)
        for file in files:
            _fetch(repository, file, unfinished, transfer)
        found = _inspected(wish, repository, variant, unfinished, files)
        found.write(unfinished)
        shutil.rmtree(unfinished / _UNFINISHED, ignore_errors=True)
        found.folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(found.folder, ignore_errors=True)  # whose pulled.yaml was damaged
        os.replace(unfinished, found.folder)
    tell(f'Pulled into {found.folder}')
    return found


def _there(wish: Wish) -> Pulled | None:
    """Return what was pulled before, without the network."""
    if wish.name not in catalogue():
        return find_pulled(wish.name, wish.backend, wish.chip)
    variant = variant_for(wish.name, catalogue()[wish.name], wish.chip, wish.backend)
    return find_pulled(wish.name, variant.backend, variant.chip)


def _check_wish(wish: Wish, here: Pulled) -> None:
    """Raise ModelFileError if other files, or another profile, are wanted than are there."""
    wanted = (wish.encoder or '*', wish.language_model or '*')
    same = all(map(fnmatchcase, (here.encoder.path, here.language_model.path), wanted))
    if same and wish.profile:
        same = here.profile not in ('', AUTO) and (
            load_profile(here.model) == load_profile(wish.profile))
    if not same:
        raise ModelFileError(
            f'{wish.name} is there already, with other files or another profile: {here.folder}',
            'Remove that folder first, if you no longer want what is in it',
        )


def _variant(wish: Wish) -> tuple[Repository, Variant, str]:
    if not wish.name.startswith(HUGGING_FACE):
        if wish.name not in catalogue():
            raise ModelFileError(
                f'{wish.name} is not in the catalogue',
                '`vlm-npu models` lists what is; a repository is pulled as hf:OWNER/REPO',
            )
        variant = variant_for(wish.name, catalogue()[wish.name], wish.chip, wish.backend)
        return Repository(variant.repository), variant, ''
    match = _REPOSITORY.fullmatch(wish.name)
    if not match:
        raise ModelFileError(
            f'{wish.name} is not the name of a repository',
            'Write hf:OWNER/REPO, or hf:OWNER/REPO:Q8_0 for one of several weights',
        )
    repository = Repository(match[1])
    return repository, variant_of(repository, wish.chip, wish.backend), match[2] or ''


def _inside(folder: Path, path: str) -> Path:
    """Return where a file goes; raise ModelFileError if its path leads out of the folder."""
    parts = PurePosixPath(path).parts
    plain = all(re.fullmatch(r'[^\x00-\x1f\\:]+', part) for part in parts)
    if not parts or not plain or path.startswith('/') or any(p.startswith('.') for p in parts):
        raise ModelFileError(
            f'The repository has a file {path!r}, whose path leads out of its folder or is hidden',
            'Do not use this repository',
        )
    return folder.joinpath(*parts)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a transfer; raise BusyError if another program has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(f'{folder}.lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError('Another program is pulling this model', 'Wait for it') from None
        yield


def _part(folder: Path, file: RemoteFile) -> Path:
    """Return where the pieces of a file are gathered; its name changes with the content."""
    key = re.sub(r'\W', '', file.key) or 'file'
    return folder / _UNFINISHED / f'{PurePosixPath(file.path).name[:100]}.{key[:64]}'


def _check_disk(folder: Path, files: list[RemoteFile]) -> None:
    have = sum(
        path.stat().st_size for file in files
        for path in (_part(folder, file), _inside(folder, file.path)) if path.is_file()
    )
    missing = sum(file.size for file in files) - have
    free = shutil.disk_usage(folder).free
    if missing + _SPARE > free:
        raise ModelFileError(
            f'{folder} has room for {amount(free)}, and {amount(missing)} are to come',
            'Make room, or set VLM_NPU_MODELS to a folder on another disk',
        )


def _check_machine(wish: Wish, variant: Variant, files: list[RemoteFile], tell: Tell) -> None:
    """Raise ModelFileError if this machine cannot run the model, unless it is for another one."""
    backend = find(variant.backend)
    if wish.chip and wish.chip != backend.chip():
        return
    checks = [_memory(variant, files)]
    if backend.examine:
        settings = EngineSettings(
            backend.name, variant.profile or AUTO, options=backend.settings())
        checks += backend.examine(settings, None)
    failed = [check for check in checks if check.level == 'fail']
    for check in failed:
        tell(str(check))
    # What is only not installed yet can still be.
    hopeless = [check for check in failed if check.error is not BackendUnavailableError]
    if hopeless and not wish.force:
        raise ModelFileError(
            f'This machine cannot run {wish.name}: {hopeless[0].name}: {hopeless[0].found}',
            'Repair that first, or pull it nevertheless: --force; for another machine: --for CHIP',
        )


def _memory(variant: Variant, files: list[RemoteFile]) -> Check:
    total = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    need = max(sum(file.size for file in files), int((variant.memory_gb or 0) * 1e9))
    found = f'{amount(total)} in all, it needs {amount(need)} or more'
    if need > total:
        return Check('memory', 'fail', found, 'Take a smaller model')
    return Check('memory', 'ok', found)


def _fetch(
    repository: Repository, file: RemoteFile, folder: Path,
    transfer: Callable[[Repository, RemoteFile, Path], object],
) -> None:
    path, part = _inside(folder, file.path), _part(folder, file)
    if path.is_file():  # of an interrupted pull
        if not file.sha256 or sha256_of(path) == file.sha256:
            return
        path.unlink()
    part.parent.mkdir(parents=True, exist_ok=True)
    transfer(repository, file, part)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(part, path)


def _inspected(
    wish: Wish, repository: Repository, variant: Variant, folder: Path, files: list[RemoteFile]
) -> Pulled:
    """Look into the files; remove one that is not what its name says, with ModelFileError."""
    for number, file in enumerate(files):
        path = _inside(folder, file.path)
        try:
            _check_part(inspect_file(path), is_encoder=number == 0)
        except ModelFileError:
            path.unlink()
            raise
    encoder, language_model, *parts = (
        PulledFile(file.path, file.size, sha256_of(_inside(folder, file.path))) for file in files
    )
    paths = folder / encoder.path, folder / language_model.path
    chip, profile = variant.chip, ''
    if find(variant.backend).finds_profiles:
        rknn = RknnFile.try_read(paths[0])
        if rknn and rknn.platform and chip and rknn.platform != chip:
            raise ModelFileError(f'{encoder.path} is for {rknn.platform}, not for {chip}')
        chip = rknn.platform if rknn and rknn.platform else chip
        profile = wish.profile or variant.profile or _profile(repository.name, paths, rknn)
        if rknn:
            known = find_model(profile, *paths, rknn)
            check_agreement(rknn, 'the file', known, rknn.platform, 0)
        if profile.endswith('.yaml'):
            shutil.copy(profile, folder / _OWN_PROFILE)
            profile = _OWN_PROFILE
    return Pulled(
        wish.name, variant.backend, chip, profile, repository.name, repository.revision,
        variant.licence or repository.licence, encoder, language_model, tuple(parts),
    )


def _check_part(found: Inspected, is_encoder: bool) -> None:
    suffix = found.path.suffix.lower().lstrip('.')
    if found.kind != suffix:
        raise ModelFileError(f'{found.path} is a .{found.kind} file by its content')
    if found.kind == 'gguf' and GgufFile.read(found.path).sees != is_encoder:
        has = 'sees no pictures' if is_encoder else 'is a vision encoder'
        raise ModelFileError(f'{found.path} {has}')


def _profile(repository: str, paths: tuple[Path, Path], rknn: RknnFile | None) -> str:
    """Find the profile by the files, or by the name of the repository."""
    known = npu_profiles()
    try:
        found = find_model(AUTO, *paths, rknn).name
    except ModelFileError as error:
        named = [profile.name for profile in known if is_named(profile, repository)]
        if len(named) != 1:
            raise ModelFileError(error.what, 'Name its profile: --profile NAME') from error
        return named[0]
    return found if found in {profile.name for profile in known} else AUTO  # the file has its own


def amount(size: int) -> str:
    """Show bytes for people."""
    return f'{size / 1e9:.2f} GB' if size >= 1e9 else f'{size / 1e6:.1f} MB'
