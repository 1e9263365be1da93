"""From settings to an engine that is ready to answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vlm_npu_ros.engine.backends.scripted import (
    ScriptedEncoder,
    ScriptedLanguageModel,
    ScriptedTimings,
)
from vlm_npu_ros.engine.engine import Engine
from vlm_npu_ros.engine.errors import BackendUnavailableError, ModelFileError
from vlm_npu_ros.engine.models import load_profile

Progress = Callable[[str], None]


@dataclass(frozen=True)
class EngineSettings:
    """
    What to load.

    encoder_path, language_model_path: instead of the files that the profile names; the tokenizer
        is beside the language model.
    threads: CPU threads of the onnx backend; 0 = one for each core.
    answers: of the scripted backend, given one after the other.
    """

    backend: str = 'onnx'
    model: str = 'demo'
    encoder_path: str = ''
    language_model_path: str = ''
    threads: int = 0
    answers: tuple[str, ...] = ()
    timings: ScriptedTimings = ScriptedTimings()


def load_engine(settings: EngineSettings, progress: Progress = lambda line: None) -> Engine:
    """
    Return the engine; `progress` gets a line about each step.

    Raises BackendError with what to do about it.
    """
    load = _LOADERS.get(settings.backend)
    if load is None:
        raise BackendUnavailableError(
            f'There is no backend {settings.backend!r}: choose one of {", ".join(_LOADERS)}'
        )
    return load(settings, progress)


def _load_onnx(settings: EngineSettings, progress: Progress) -> Engine:
    from vlm_npu_ros.engine.backends.onnx.encoder import OnnxEncoder
    from vlm_npu_ros.engine.backends.onnx.language_model import OnnxLanguageModel

    profile = load_profile(settings.model)
    if profile.backend != 'onnx':
        raise ModelFileError(
            f'The model {profile.name} is made for the backend {profile.backend}, not for onnx'
        )
    encoder_path = Path(settings.encoder_path or profile.folder / profile.encoder)
    language_path = Path(settings.language_model_path or profile.folder / profile.language_model)
    progress(f'Loading vision encoder {encoder_path}')
    encoder = OnnxEncoder(encoder_path, settings.threads)
    progress(f'Loading language model {language_path}')
    language_model = OnnxLanguageModel(
        profile.name,
        language_path,
        language_path.parent / profile.tokenizer,
        profile.context,
        settings.threads,
    )
    if encoder.dim != language_model.dim:
        raise ModelFileError(
            f'{encoder_path} makes embeddings of {encoder.dim} numbers a token, '
            f'{language_path} reads {language_model.dim}: these files do not belong together'
        )
    return Engine(encoder, language_model)


def _load_scripted(settings: EngineSettings, progress: Progress) -> Engine:
    progress(f'{len(settings.answers)} scripted answers')
    return Engine(
        ScriptedEncoder(settings.timings),
        ScriptedLanguageModel(settings.answers, settings.timings),
    )


_LOADERS: dict[str, Callable[[EngineSettings, Progress], Engine]] = {
    'onnx': _load_onnx,
    'scripted': _load_scripted,
}
