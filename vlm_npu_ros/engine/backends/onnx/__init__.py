"""The embedded default: vision encoder and language model as ONNX graphs on the CPU."""

from __future__ import annotations

from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.progress import Progress
from vlm_npu_ros.engine.settings import EngineSettings


def _load(settings: EngineSettings, progress: Progress) -> LocalEngine:
    from vlm_npu_ros.engine.backends.onnx.loading import load

    return load(settings, progress)


BACKEND = Backend(
    'onnx', 'CPU', _load,
    suffixes=('.onnx', '.onnx'),
    profile_fields=('folder', 'encoder', 'language_model', 'tokenizer'),
)
