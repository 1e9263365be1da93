# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""From a .gguf language model and its mmproj to models that llama.cpp's server runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import re
import secrets
import time
from typing import Any

from vlm_npu_ros.engine.backends.backend import Models, require
from vlm_npu_ros.engine.backends.llamacpp.checks import examine
from vlm_npu_ros.engine.backends.llamacpp.encoder import PictureEncoder
from vlm_npu_ros.engine.backends.llamacpp.settings import LlamaCppSettings
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.gguf import GgufFile
from vlm_npu_ros.engine.native_log import native_log
from vlm_npu_ros.engine.progress import Caution, Event, Loading, Progress
from vlm_npu_ros.engine.settings import EngineSettings

_CONTEXT = 4096  # tokens; those of many models would take gigabytes
_PATIENCE = 3600.0  # seconds; questions, and the process, have limits of their own
_ERRORS_ONLY = 1
_LOG_PATIENCE = 1.0  # seconds
_ERROR = re.compile(r'[\d.]+ E [\w ]+: (?:error: )?(.+)')  # a line of llama.cpp's log


def load(settings: EngineSettings, progress: Progress) -> Models:
    """Check the machine, then load both models; raise BackendError, which says what to do."""
    options: LlamaCppSettings = settings.options
    settings = replace(
        settings,
        encoder_path=options.encoder_path or settings.encoder_path,
        language_model_path=options.language_model_path or settings.language_model_path,
    )
    if not (settings.encoder_path and settings.language_model_path):
        raise ModelFileError(
            'The backend llamacpp needs the parameters language_model_path (.gguf) and '
            'encoder_path (its mmproj .gguf)'
        )
    require(examine(settings, None), progress)
    # These are missing on machines without this backend, and may not load on an old CPU.
    from vlm_npu_ros.engine.backends.llamacpp.language_model import LlamaCppLanguageModel
    from vlm_npu_ros.engine.backends.openai.server import Server

    path, key = Path(settings.language_model_path), secrets.token_urlsafe()
    progress(Loading('vision encoder', Path(settings.encoder_path)))
    progress(Loading('language model', path))
    llama = _started(settings, options, path.stem, key)
    spoken_to = OpenAISettings(
        f'{llama.listening_address}/v1', first_token_timeout=_PATIENCE, token_timeout=_PATIENCE,
        thinking=options.thinking, called='llama.cpp',
    )
    server = Server(spoken_to, key, lambda line: progress(Caution(line)))
    try:
        [model] = server.models()
        progress(Event(f'{model.name}: {model.context} tokens of context'))
        encoder = PictureEncoder(options.image_tokens)
        return encoder, LlamaCppLanguageModel(
            llama, server, spoken_to, model, settings.read_ahead)
    except BaseException:
        server.close()
        raise


def _started(settings: EngineSettings, options: LlamaCppSettings, name: str, key: str) -> Any:
    """Start the server, on the loopback alone; it ends when nothing refers to it."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.mmproj.path = settings.language_model_path, settings.encoder_path
    params.model_alias, params.api_keys = {name}, [key]
    params.hostnames, params.port, params.ui = ['127.0.0.1'], 0, False
    params.n_ctx = settings.context or _context(Path(settings.language_model_path))
    params.n_parallel = 1
    params.image_min_tokens, params.image_max_tokens = 1, options.image_tokens
    params.cache_ram_mib = options.cache_memory
    params.verbosity = _ERRORS_ONLY
    if settings.threads:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    with native_log() as lines:
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            failure, reason = error, _reason(lines)
    raise ModelFileError(
        f'llama.cpp cannot load {settings.language_model_path} with {settings.encoder_path}: '
        f'{reason or failure}',
        'Are both of the same model, and is llama.cpp new enough for it (package xllamacpp)?',
    ) from failure


def _context(path: Path) -> int:
    return min(GgufFile.read(path).context or _CONTEXT, _CONTEXT)


def _reason(lines: list[str]) -> str:
    """Find the first error that it prints, which a thread of its own does, and so perhaps late."""
    ended = time.monotonic() + _LOG_PATIENCE
    while True:
        reason = next((found[1] for line in lines if (found := _ERROR.match(line))), '')
        if reason or time.monotonic() > ended:
            return reason
        time.sleep(0.01)
