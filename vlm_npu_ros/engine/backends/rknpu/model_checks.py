# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Checks that model files, runtimes and a board go together, and what to do where they do not."""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import re

from vlm_npu_ros.engine.backends.backend import Check, Level
from vlm_npu_ros.engine.backends.rknpu.board import Board
from vlm_npu_ros.engine.backends.rknpu.notes import Notes
from vlm_npu_ros.engine.backends.rknpu.runtime import RuntimeLibrary
from vlm_npu_ros.engine.errors import BackendError, BackendUnavailableError, ModelFileError
from vlm_npu_ros.engine.model_files.agreement import check_agreement
from vlm_npu_ros.engine.model_files.profiles import find_model
from vlm_npu_ros.engine.model_files.rkllm import check_rkllm, toolkit_of
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import AUTO, load_profile, ModelProfile
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.trials import has_failed

_SMALLEST_MODEL = 1_000_000  # bytes; the smallest language models have hundreds of millions
# The one that most models were tried with, and the one that mends the faults of 1.3.0.
_CAREFUL, _NEWEST = '1.2.3', '1.3.1'
_RKLLM_SOURCE = 'github.com/airockchip/rknn-llm, rkllm-runtime/Linux'
_RKNN_SOURCE = 'github.com/airockchip/rknn-toolkit2, rknpu2/runtime/Linux'


def number(version: str) -> tuple[int, ...]:
    """Make a version comparable: (2, 3, 2) of '2.3.2 (429f97ae6b)'."""
    found = re.match(r'\d+(?:\.\d+)*', version)
    return tuple(map(int, found[0].split('.'))) if found else ()


def check_models(
    board: Board, settings: EngineSettings, runtime: RuntimeLibrary | None,
    librknnrt: str | None,
) -> Iterator[Check]:
    """
    Check the files that the settings name.

    runtime: librkllmrt.so; None = there is none that can be used.
    librknnrt: version of the library of the encoder; None or '' = unknown.
    """
    if not (settings.encoder_path and settings.language_model_path):
        yield Check(
            'model files', 'warn', 'not both are named',
            'Name a vision encoder (.rknn) and a language model (.rkllm)',
        )
        if settings.model != AUTO and runtime is not None:
            yield from _runtime_for(load_profile(settings.model), runtime, '')
        return
    encoder = board.path(settings.encoder_path)
    language_model = board.path(settings.language_model_path)
    checks = []
    for name, path, check in (('vision encoder', encoder, _encoder_file),
                              ('language model', language_model, _language_model_file)):
        try:
            _require_readable(path)
            checks.append(check(name, path, board))
        except BackendError as error:
            checks.append(failed(name, error))
    yield from checks
    if any(check.level == 'fail' for check in checks):
        return
    file = RknnFile.try_read(encoder)
    yield from _encoder_runtime(librknnrt, file)
    try:
        profile = find_model(settings.model, encoder, language_model, file)
    except BackendError as error:
        yield failed('model', error)
        return
    yield from _profile(profile, file, settings)
    if runtime is not None:
        yield from _runtime_for(profile, runtime, toolkit_of(language_model))
        if not board.is_foreign:
            yield _probabilities(Notes(language_model, runtime.version), settings)
    yield from _memory(board, profile, encoder, language_model)


def _encoder_file(name: str, path: Path, board: Board) -> Check:
    file = RknnFile.try_read(path)
    if file is None:
        return Check(
            name, 'warn', f'{path} is encrypted and tells nothing',
            'Whether it fits will be known when it is loaded',
        )
    found = f'{path}: {file.size} pixels, {file.tokens} tokens of {len(file.outputs)} x {file.dim}'
    if board.soc and file.platform and file.platform != board.soc:
        return Check(
            name, 'fail', f'{found}, made for {file.platform}',
            f'This board has an {board.soc}: convert the model for it, or take a file made for it',
            ModelFileError,
        )
    return Check(name, 'ok', found)


def _language_model_file(name: str, path: Path, board: Board) -> Check:
    size = check_rkllm(path)
    toolkit = toolkit_of(path)
    found = f'{path}: {_amount(size)}' + (f', rkllm-toolkit {toolkit}' if toolkit else '')
    if size < _SMALLEST_MODEL:
        return Check(
            name, 'warn', f'{found}, which is little for a language model',
            'Copy or download it again and compare the sizes',
        )
    return Check(name, 'ok', found)


def _require_readable(path: Path) -> None:
    if not os.path.isfile(path):
        reason, remedy = 'there is no such file', 'Copy the file there, or name another one'
    elif not os.access(path, os.R_OK):
        reason, remedy = 'this user may not', f'`sudo chmod a+r {path}`'
    else:
        return
    raise ModelFileError(f'{path} cannot be read: {reason}', remedy)


def _profile(
    profile: ModelProfile, file: RknnFile | None, settings: EngineSettings
) -> Iterator[Check]:
    if profile.backend != 'rknpu':
        yield Check(
            'model', 'fail', f'{profile.name} is made for the backend {profile.backend}',
            'Set the parameter model to auto, or to one that `vlm-npu models` lists for rknpu',
            ModelFileError,
        )
        return
    try:
        if file is not None:
            check_agreement(file, 'the file', profile, file.platform, 0)
    except BackendError as error:
        yield Check(
            'model', 'fail', str(error),
            'Take the encoder of this model, or set the parameter model to the one that the files '
            'are of (`vlm-npu models` lists them)', type(error),
        )
        return
    yield Check('model', 'ok', profile.title or profile.name)
    context = settings.context or profile.context
    found, wanted = f'{context} tokens', ''
    if context > profile.max_context:
        found += f', {profile.name} holds {profile.max_context}'
        wanted = f'{profile.max_context} or less'
    elif context < 32 or context % 32:
        wanted = 'a multiple of 32'
    if wanted:
        remedy = f'Set the parameter context to {wanted}'
        yield Check('context', 'fail', found, remedy, ModelFileError)
    else:
        yield Check('context', 'ok', found)


def _encoder_runtime(librknnrt: str | None, file: RknnFile | None) -> Iterator[Check]:
    """Compare librknnrt.so with the toolkit that made the encoder."""
    if file is None or not (librknnrt and number(file.toolkit)):
        return
    found = f'librknnrt.so {librknnrt}, encoder of rknn-toolkit2 {file.toolkit}'
    remedy = (
        f'Install librknnrt.so {file.toolkit} or later ({_RKNN_SOURCE}), or convert the encoder '
        f'with rknn-toolkit2 {librknnrt}'
    )
    runtime, toolkit = number(librknnrt), number(file.toolkit)
    if runtime[:1] < toolkit[:1]:
        yield Check(
            'runtime for the encoder', 'fail',
            f'{found}: it refuses such files ("Invalid RKNN model version")', remedy,
        )
    elif runtime < toolkit:
        yield Check(
            'runtime for the encoder', 'warn', f'{found}, which is newer: it may not load', remedy
        )
    else:
        yield Check('runtime for the encoder', 'ok', found)


def _runtime_for(
    profile: ModelProfile, runtime: RuntimeLibrary, toolkit: str
) -> Iterator[Check]:
    """Compare librkllmrt.so with what the language model needs; toolkit: '' = unknown."""
    made = f' (file of rkllm-toolkit {toolkit})' if toolkit else ''
    is_new = max(number(profile.min_runtime), number(toolkit)) > number(_CAREFUL)
    suited = _NEWEST if is_new else f'{_CAREFUL}, the careful choice, or {_NEWEST}'
    remedy = f'Install librkllmrt.so {suited} ({_RKLLM_SOURCE})'
    found = f'librkllmrt.so is {runtime.version}, {profile.name}{made}'
    has = number(runtime.version)
    level: Level
    level, verdict = 'ok', f'; suited: {suited}'
    if profile.min_runtime and runtime.is_older_than(profile.min_runtime):
        level, verdict = 'fail', f' needs {profile.min_runtime}'
    elif number(toolkit)[:len(has)] > has:
        level, verdict = 'fail', ' needs a runtime that is not older than its toolkit'
    elif runtime.version == '1.3.0':
        level, verdict = 'warn', ': 1.3.0 crashes after a model that did not load'
        if number(toolkit) < (1, 3):
            verdict += ', and misses the end of answers of files of rkllm-toolkit 1.2'
    yield Check(
        'runtime for the model', level, found + verdict, '' if level == 'ok' else remedy
    )
    for fault in profile.faults:
        if toolkit.startswith(fault.toolkit):
            yield Check('known fault', 'warn', f'{profile.name}{made} {fault.what}', fault.remedy)


def _probabilities(notes: Notes, settings: EngineSettings) -> Check:
    """Tell what was found out when the models were loaded last."""
    name = 'probabilities'
    if settings.options and settings.options.probabilities == 'off':
        return Check(name, 'ok', 'none (rknpu.probabilities is off)')
    tried = map(notes.died, ('logits', 'hidden', 'reuse'))
    died = [str(note) for note in tried if has_failed(note)]
    found = notes.found or 'not tried yet: they will be when the models are loaded'
    if died:
        remedy = f'To let it be tried again, `rm {" ".join(died)}`'
        return Check(name, 'warn', f'{found}; the runtime crashed or hung of it', remedy)
    return Check(name, 'ok', found)


def _memory(
    board: Board, profile: ModelProfile, encoder: Path, language_model: Path
) -> Iterator[Check]:
    free = board.available_memory
    if free is None:
        return
    files = encoder.stat().st_size + language_model.stat().st_size
    published = profile.published.ram_gb if profile.published else None
    need = max(files, int((published or 0) * 1e9))
    found = f'{_amount(free)} free, {profile.name} needs about {_amount(need)}'
    remedy = 'Take a smaller model (`vlm-npu models` lists what they need)'
    if need <= (board.total_memory or need):
        remedy += ', or close other programs'
    if free < files:
        yield Check('memory', 'fail', found, remedy, BackendUnavailableError)
    elif free < need:
        yield Check('memory', 'warn', found, remedy)
    else:
        yield Check('memory', 'ok', found)


def _amount(size: float) -> str:
    return f'{size / 1e9:.1f} GB' if size >= 1e8 else f'{size / 1e6:.1f} MB'


def failed(name: str, error: BackendError) -> Check:
    """Make a failed check of what loading would raise."""
    return Check(name, 'fail', error.what, error.remedy, type(error))
