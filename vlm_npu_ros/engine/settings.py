# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What to load: the settings that all backends share, and those of one backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vlm_npu_ros.engine.types import ReadAhead, Sampling


@dataclass(frozen=True)
class EngineSettings:
    """
    What to load; picklable, because the models may run in a process of their own.

    encoder_path, language_model_path: replace the files that the profile names (the tokenizer
        is beside the language model); backends without shipped files need both.
    context: tokens; 0 = that of the profile.
    sampling: for runtimes that cannot change it with each question.
    threads: CPU threads; 0 = one for each core.
    read_ahead: what was read is kept from one question to the next, and `Engine.prepare` works.
    proved: what an earlier process has found out about that; None = it is to be found out.
    typed: a choice or a number may be asked for, so the way to probabilities is found out.
    own_process: the process is there for the models alone, and is started again if it dies.
    options: the backend's own settings, an instance of its `Backend.settings`; None = defaults.
    """

    backend: str = 'onnx'
    model: str = 'demo'
    encoder_path: str = ''
    language_model_path: str = ''
    context: int = 0
    sampling: Sampling = Sampling()
    threads: int = 0
    read_ahead: bool = False
    proved: ReadAhead | None = None
    typed: bool = True
    own_process: bool = False
    options: Any = None
