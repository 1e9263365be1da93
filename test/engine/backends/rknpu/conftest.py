# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Simulated runtimes of every version, and the demo model as one of their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import simulated
from simulated import runtime, weights
from vlm_npu_ros.engine.backends.rknpu.language_model import RkllmLanguageModel
from vlm_npu_ros.engine.backends.rknpu.library import RkllmLibrary
from vlm_npu_ros.engine.backends.rknpu.runtime import identify, RuntimeLibrary
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.models import load_profile, ModelProfile
from vlm_npu_ros.engine.types import Sampling

Identified = Callable[[str], RuntimeLibrary]
Load = Callable[..., RkllmLanguageModel]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let what is found out about a runtime be kept in a folder of the test's own; give it."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'vlm-npu'


@pytest.fixture(scope='session')
def profile() -> ModelProfile:
    return load_profile(str(Path(simulated.__path__[0]) / 'demo_rknpu.yaml'))


@pytest.fixture(scope='session')
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights.write_model(tmp_path_factory.mktemp('model') / 'demo_rk3588.rkllm')


@pytest.fixture(scope='session')
def identified(tmp_path_factory: pytest.TempPathFactory) -> Identified:
    """Return a function that builds a version, once, and identifies it."""
    folder, built = tmp_path_factory.mktemp('runtimes'), {}

    def build(version: str) -> RuntimeLibrary:
        if version not in built:
            built[version] = runtime.build(version, folder)
        return identify(built[version])

    return build


@pytest.fixture
def load(identified: Identified, model_file: Path, profile: ModelProfile) -> Iterator[Load]:
    """Return a function that loads the demo model with a version of the runtime."""
    loaded = []

    def load(
        version: str = '1.2.3',
        path: Path = model_file,
        profile: ModelProfile = profile,
        context: int = 512,
        sampling: Sampling = Sampling(),  # noqa: B008
    ) -> RkllmLanguageModel:
        model = RkllmLanguageModel(
            RkllmLibrary(identified(version)),
            path,
            profile,
            context=context,
            image_size=128,
            sampling=sampling,
            settings=RknpuSettings(base_domain_id=1, cpu_mask=0xF0),
        )
        loaded.append(model)
        return model

    yield load
    for model in loaded:
        model.close()
