# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Loads an engine from its settings."""

from __future__ import annotations

from dataclasses import replace

from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.progress import Progress
from vlm_npu_ros.engine.pulled import with_files
from vlm_npu_ros.engine.registry import find
from vlm_npu_ros.engine.settings import EngineSettings


def load_engine(settings: EngineSettings, progress: Progress = lambda event: None) -> LocalEngine:
    """
    Load the models; `progress` gets an event for each step.

    Raises BackendError, which says what to do.
    """
    backend = find(settings.backend)
    if settings.options is None:
        settings = replace(settings, options=backend.settings())
    return LocalEngine(*backend.load(with_files(settings, progress), progress))
