# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""From the files of a profile to models on onnxruntime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vlm_npu_ros.engine.backends.backend import Models
from vlm_npu_ros.engine.backends.onnx.encoder import OnnxEncoder
from vlm_npu_ros.engine.backends.onnx.language_model import OnnxLanguageModel
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.models import load_profile
from vlm_npu_ros.engine.progress import Loading, Progress
from vlm_npu_ros.engine.settings import EngineSettings


def load(settings: EngineSettings, progress: Progress) -> Models:
    """Load both models; raise ModelFileError if a file is unusable or they do not fit."""
    profile = load_profile(settings.model)
    if profile.backend != 'onnx':
        raise ModelFileError(
            f'The model {profile.name} is made for the backend {profile.backend}, not for onnx'
        )
    assert profile.folder  # load_profile has seen to it
    encoder_path = Path(settings.encoder_path or profile.folder / profile.encoder)
    language_path = Path(settings.language_model_path or profile.folder / profile.language_model)
    tokenizer_path = language_path.parent / profile.tokenizer
    files = {
        'encoder': encoder_path, 'language_model': language_path, 'tokenizer': tokenizer_path,
    }
    locator_path = language_path.parent / profile.locator
    # A language model of one's own may have no locator beside it.
    is_alone = not profile.locator or (
        settings.language_model_path and not os.path.exists(locator_path))  # never an error
    if not is_alone:
        files['locator'] = locator_path
        files['locator_tokenizer'] = language_path.parent / profile.locator_tokenizer
    profile.sha256.check(progress, **files)
    progress(Loading('vision encoder', encoder_path))
    encoder = OnnxEncoder(encoder_path, settings.threads)
    context = settings.context or profile.context

    def language_model(part: str, path: Path, tokenizer: Path, **more: Any) -> OnnxLanguageModel:
        progress(Loading(part, path))
        model = OnnxLanguageModel(
            profile.name, path, tokenizer, context, settings.threads, **more)
        if encoder.dim != model.dim:
            raise ModelFileError(
                f'{encoder_path} makes embeddings of {encoder.dim} numbers a token, '
                f'{path} reads {model.dim}: these files do not belong together'
            )
        return model

    locator, grounding = None, profile.grounding
    if not is_alone:
        locator = language_model('locator', files['locator'], files['locator_tokenizer'])
    elif profile.locator:
        grounding = None
    return encoder, language_model(
        'language model', language_path, tokenizer_path, instructions=profile.instructions,
        reads_ahead=settings.read_ahead, grounding=grounding, locator=locator,
    )
