"""Chat completions of a server that speaks the OpenAI protocol."""

from __future__ import annotations

from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.progress import Progress
from vlm_npu_ros.engine.settings import EngineSettings


def _load(settings: EngineSettings, progress: Progress) -> LocalEngine:
    from vlm_npu_ros.engine.backends.openai.encoder import JpegEncoder
    from vlm_npu_ros.engine.backends.openai.opening import open_model

    options: OpenAISettings = settings.options
    language_model = open_model(options, settings.context, progress)
    return LocalEngine(JpegEncoder(options.image_size, options.jpeg_quality), language_model)


BACKEND = Backend('openai', 'a server', _load, OpenAISettings, remote=True)
