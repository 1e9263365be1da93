# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gguf_files import ENCODER, gguf, LANGUAGE_MODEL
from hub_server import Hub, serving
import pytest
from vlm_npu_ros.engine.backends.backend import Backend, Models
from vlm_npu_ros.engine.progress import Progress
from vlm_npu_ros.engine.registry import find, register, unregister
from vlm_npu_ros.engine.settings import EngineSettings

TINY = 'test/tiny-GGUF'
SMOLVLM = 'ggml-org/SmolVLM2-256M-Video-Instruct-GGUF'
PAIR = {
    'README.md': b'# tiny',
    'mmproj-tiny-Q8_0.gguf': gguf(ENCODER),
    'tiny-Q4_K_M.gguf': gguf(LANGUAGE_MODEL, numbers=1 << 18),
    'tiny-Q8_0.gguf': gguf(LANGUAGE_MODEL, numbers=1 << 12),
}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of pulled models, and let huggingface_hub keep nothing elsewhere."""
    monkeypatch.setenv('VLM_NPU_MODELS', str(tmp_path / 'models'))
    monkeypatch.setenv('HF_HOME', str(tmp_path / 'hf'))
    return tmp_path / 'models'


@pytest.fixture
def hub(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve a repository with a pair of files, and let all programs use that server."""
    pytest.importorskip('huggingface_hub')
    files = {
        'mmproj-SmolVLM2-256M-Video-Instruct-Q8_0.gguf': PAIR['mmproj-tiny-Q8_0.gguf'],
        'SmolVLM2-256M-Video-Instruct-Q8_0.gguf': PAIR['tiny-Q8_0.gguf'],
    }
    with serving(Hub({TINY: dict(PAIR), SMOLVLM: files})) as hub:
        monkeypatch.setenv('HF_ENDPOINT', hub.address)
        yield hub


@pytest.fixture
def reader() -> Iterator[list[EngineSettings]]:
    """Register a backend `reader` of .gguf files; give what it was told to load."""
    loaded: list[EngineSettings] = []

    def load(settings: EngineSettings, progress: Progress) -> Models:
        loaded.append(settings)
        scripted = find('scripted')
        return scripted.load(replace(settings, options=scripted.settings()), progress)

    register(Backend('reader', 'tests', load, suffixes=('.gguf', '.gguf')))
    yield loaded
    unregister('reader')
