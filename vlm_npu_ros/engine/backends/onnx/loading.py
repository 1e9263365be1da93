# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""From the files of a profile to models on onnxruntime."""

from __future__ import annotations

from pathlib import Path

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
    profile.sha256.check(
        progress, encoder=encoder_path, language_model=language_path, tokenizer=tokenizer_path
    )
    progress(Loading('vision encoder', encoder_path))
    encoder = OnnxEncoder(encoder_path, settings.threads)
    progress(Loading('language model', language_path))
    language_model = OnnxLanguageModel(
        profile.name, language_path, tokenizer_path, settings.context or profile.context,
        settings.threads, profile.instructions, settings.read_ahead,
    )
    if encoder.dim != language_model.dim:
        raise ModelFileError(
            f'{encoder_path} makes embeddings of {encoder.dim} numbers a token, '
            f'{language_path} reads {language_model.dim}: these files do not belong together'
        )
    return encoder, language_model
