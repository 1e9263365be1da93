"""From settings to an engine that is ready to answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
import resource

from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.backends.scripted import (
    ScriptedEncoder,
    ScriptedLanguageModel,
    ScriptedTimings,
)
from vlm_npu_ros.engine.errors import BackendError, BackendUnavailableError, ModelFileError
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.models import find_model, load_profile
from vlm_npu_ros.engine.types import Sampling

# What Rockchip's server demo asks for; a model opens many files.
_OPEN_FILES = 102400

Progress = Callable[[str], None]


@dataclass(frozen=True)
class EngineSettings:
    """
    What to load.

    encoder_path, language_model_path: instead of the files that the profile names (the tokenizer
        is beside the language model); the backend rknpu needs both.
    context: tokens; 0 = what the profile says.
    sampling: for runtimes that can not change it with each question.
    threads: CPU threads of the onnx backend; 0 = one for each core.
    answers: of the scripted backend, given one after the other.
    """

    backend: str = 'onnx'
    model: str = 'demo'
    encoder_path: str = ''
    language_model_path: str = ''
    context: int = 0
    sampling: Sampling = Sampling()
    rknpu: RknpuSettings = RknpuSettings()
    openai: OpenAISettings = OpenAISettings()
    threads: int = 0
    answers: tuple[str, ...] = ()
    timings: ScriptedTimings = ScriptedTimings()


def load_engine(settings: EngineSettings, progress: Progress = lambda line: None) -> LocalEngine:
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


def _load_onnx(settings: EngineSettings, progress: Progress) -> LocalEngine:
    from vlm_npu_ros.engine.backends.onnx.encoder import OnnxEncoder
    from vlm_npu_ros.engine.backends.onnx.language_model import OnnxLanguageModel

    profile = load_profile(settings.model)
    if profile.backend != 'onnx':
        raise ModelFileError(
            f'The model {profile.name} is made for the backend {profile.backend}, not for onnx'
        )
    assert profile.folder  # load_profile has seen to it
    encoder_path = Path(settings.encoder_path or profile.folder / profile.encoder)
    language_path = Path(settings.language_model_path or profile.folder / profile.language_model)
    profile.sha256.check(
        progress,
        encoder=encoder_path,
        language_model=language_path,
        tokenizer=language_path.parent / profile.tokenizer,
    )
    progress(f'Loading vision encoder {encoder_path}')
    encoder = OnnxEncoder(encoder_path, settings.threads)
    progress(f'Loading language model {language_path}')
    language_model = OnnxLanguageModel(
        profile.name,
        language_path,
        language_path.parent / profile.tokenizer,
        settings.context or profile.context,
        settings.threads,
        profile.instructions,
    )
    if encoder.dim != language_model.dim:
        raise ModelFileError(
            f'{encoder_path} makes embeddings of {encoder.dim} numbers a token, '
            f'{language_path} reads {language_model.dim}: these files do not belong together'
        )
    return LocalEngine(encoder, language_model)


def _load_rknpu(settings: EngineSettings, progress: Progress) -> LocalEngine:
    from vlm_npu_ros.engine.backends.rknpu.board import Board
    from vlm_npu_ros.engine.backends.rknpu.encoder import RknnEncoder
    from vlm_npu_ros.engine.backends.rknpu.language_model import RkllmLanguageModel
    from vlm_npu_ros.engine.backends.rknpu.library import RkllmLibrary
    from vlm_npu_ros.engine.backends.rknpu.rknn_file import RknnFile
    from vlm_npu_ros.engine.doctor import examine, identified, require

    if not (settings.encoder_path and settings.language_model_path):
        raise ModelFileError(
            'The backend rknpu needs the parameters encoder_path (.rknn) and '
            'language_model_path (.rkllm)'
        )
    board = Board()
    checks = examine(board, settings)
    for check in checks:
        if check.level == 'warn':
            progress(f'Warning, {check.name}: {check.found}. {check.remedy}')
    require(checks)
    encoder_path, language_path = Path(settings.encoder_path), Path(settings.language_model_path)
    profile = find_model(
        settings.model, encoder_path, language_path, RknnFile.try_read(encoder_path)
    )
    profile.sha256.check(progress, encoder=encoder_path, language_model=language_path)
    runtime = identified(board, settings)
    progress(f'Runtime {runtime.path}: version {runtime.version}, {runtime.evidence}')
    _raise_file_limit()
    progress(f'Loading vision encoder {encoder_path}')
    options = board.complete(settings.rknpu)
    encoder = RknnEncoder(
        encoder_path,
        profile,
        platform=board.soc or '',
        core_mask=None if options.core_mask < 0 else options.core_mask,
    )
    progress(f'Loading language model {language_path}')
    try:
        language_model = RkllmLanguageModel(
            RkllmLibrary(runtime),
            language_path,
            profile,
            context=settings.context or profile.context,
            image_size=encoder.size,
            sampling=settings.sampling,
            settings=options,
        )
    except BackendError:
        encoder.close()
        raise
    if language_model.driver:
        progress(f'NPU driver {language_model.driver}, as the runtime says')
    return LocalEngine(encoder, language_model)


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _load_openai(settings: EngineSettings, progress: Progress) -> LocalEngine:
    from vlm_npu_ros.engine.backends.openai.encoder import JpegEncoder
    from vlm_npu_ros.engine.backends.openai.opening import open_model

    options = settings.openai
    language_model = open_model(options, settings.context, progress)
    return LocalEngine(JpegEncoder(options.image_size, options.jpeg_quality), language_model)


def _load_scripted(settings: EngineSettings, progress: Progress) -> LocalEngine:
    progress(f'{len(settings.answers)} scripted answers')
    return LocalEngine(
        ScriptedEncoder(settings.timings),
        ScriptedLanguageModel(settings.answers, settings.timings),
    )


_LOADERS: dict[str, Callable[[EngineSettings, Progress], LocalEngine]] = {
    'onnx': _load_onnx,
    'rknpu': _load_rknpu,
    'openai': _load_openai,
    'scripted': _load_scripted,
}
