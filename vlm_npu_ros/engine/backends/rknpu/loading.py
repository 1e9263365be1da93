# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""From a .rknn and a .rkllm file to models on the NPU."""

from __future__ import annotations

from pathlib import Path
import resource

from vlm_npu_ros.engine.backends.backend import Models, require
from vlm_npu_ros.engine.backends.rknpu.board import Board
from vlm_npu_ros.engine.backends.rknpu.doctor import (
    encoder_library,
    examine,
    identified,
)
from vlm_npu_ros.engine.backends.rknpu.encoder import RknnEncoder
from vlm_npu_ros.engine.backends.rknpu.language_model import RkllmLanguageModel
from vlm_npu_ros.engine.backends.rknpu.library import RkllmLibrary
from vlm_npu_ros.engine.backends.rknpu.proof import picture
from vlm_npu_ros.engine.backends.rknpu.reuse import pictures
from vlm_npu_ros.engine.errors import BackendError, ModelFileError
from vlm_npu_ros.engine.model_files.lm_head import LmHead
from vlm_npu_ros.engine.model_files.profiles import find_model
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.progress import Event, Loading, Progress, Trial
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import ImageEmbedding

# As in Rockchip's server demo; a model opens many files.
_OPEN_FILES = 102400


def load(settings: EngineSettings, progress: Progress) -> Models:
    """Check the board, then load both models; raise BackendError, which says what to do."""
    if not (settings.encoder_path and settings.language_model_path):
        raise ModelFileError(
            'The backend rknpu needs the parameters encoder_path (.rknn) and '
            'language_model_path (.rkllm)'
        )
    board = Board()
    require(examine(board, settings), progress)
    encoder_path, language_path = Path(settings.encoder_path), Path(settings.language_model_path)
    profile = find_model(
        settings.model, encoder_path, language_path, RknnFile.try_read(encoder_path)
    )
    profile.sha256.check(progress, encoder=encoder_path, language_model=language_path)
    runtime = identified(board, settings.options)
    progress(Event(f'Runtime {runtime.path}: version {runtime.version}, {runtime.evidence}'))
    _raise_file_limit()
    options = board.complete(settings.options)
    progress(Loading('vision encoder', encoder_path, str(encoder_library(board, options))))
    encoder = RknnEncoder(
        encoder_path, profile, platform=board.soc or '',
        core_mask=None if options.core_mask < 0 else options.core_mask, lock=options.lock,
        runtime=options.encoder_runtime,
    )
    if encoder.versions:
        progress(Event(encoder.versions))
    progress(Loading('language model', language_path, f'librkllmrt.so {runtime.version}'))
    try:
        language_model = RkllmLanguageModel(
            RkllmLibrary(runtime), language_path, profile,
            context=settings.context or profile.context, image_size=encoder.size,
            sampling=settings.sampling, settings=options,
        )
    except BackendError:
        encoder.close()
        raise
    if language_model.driver:
        progress(Event(f'NPU driver {language_model.driver}, as the runtime says'))
    if settings.proved:
        language_model.believe(settings.proved)
    elif settings.read_ahead:
        first, second = (ImageEmbedding(encoder.encode(each), 0.0) for each in pictures())
        language_model.prove_reuse(first, second, progress)
        able = language_model.read_ahead
        progress(Event(f'Reading ahead: {"proved" if able.possible else f"off, {able.why}"}'))
    _prove(encoder, language_model, settings, progress)
    return encoder, language_model


def _prove(
    encoder: RknnEncoder, model: RkllmLanguageModel, settings: EngineSettings, progress: Progress
) -> None:
    """Find out in which way probabilities can be had; whatever fails, the model answers."""
    if settings.options.probabilities == 'off':
        model.scorer.why = 'rknpu.probabilities is off'
    elif not settings.typed:
        model.scorer.why = 'nobody asks for a choice here'
    elif not settings.own_process:
        model.scorer.why = 'the models have no process of their own, which may crash (isolation)'
    else:
        progress(Trial('a test picture, for probabilities'))
        try:
            head = LmHead.load(Path(settings.language_model_path))
            model.prove(ImageEmbedding(encoder.encode(picture()), 0.0), head, progress)
        except BackendError as error:
            model.scorer.why = str(error)
        model.scorer.keep()
    progress(Event(f'Probabilities: {model.probabilities}'))


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
