# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Load the models, and say how long that took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
import time

from vlm_npu_ros.cli.screen import ChatScreen
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.isolated import IsolatedEngine
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.process import StageLimits
from vlm_npu_ros.engine.progress import Caution, Event, Loading, Progress
from vlm_npu_ros.engine.registry import find
from vlm_npu_ros.engine.settings import EngineSettings


@dataclass
class ModelFile:
    """One of the two files, and how long it took to load."""

    title: str
    path: Path
    started: float
    seconds: float = 0.0

    def describe(self) -> str:
        """Say how long it took to load, as in 'vision encoder 0.31 s'."""
        return f'{self.title} {self.seconds:.2f} s'


@dataclass(frozen=True)
class Loaded:
    """An engine that is ready, and the files that are in it."""

    engine: Engine
    backend: str
    files: tuple[ModelFile, ...]

    def describe(self) -> str:
        """Say in one line what was loaded and how long it took."""
        files = '; '.join(file.describe() for file in self.files)
        return ': '.join(filter(None, (f'{self.engine.model_name} loaded', files)))

    def info(self, new_tokens: int) -> Iterator[str]:
        """Yield lines about model, files and context."""
        yield f'model           {self.engine.model_name} (backend {self.backend})'
        for file in self.files:
            yield f'{file.title:15} {file.path}, {file.path.stat().st_size / 1e6:.1f} MB'
        yield f'context         {self.engine.context} tokens, {new_tokens} of them for an answer'


def load(settings: EngineSettings, screen: ChatScreen, isolation: str = 'auto') -> Loaded:
    """
    Load the models; print what the operator should look at.

    isolation: process, none, or auto = a process of their own for models that may crash it.
    """
    isolated = isolation == 'process' or isolation == 'auto' and find(settings.backend).isolated
    files: list[ModelFile] = []

    def end_of_step() -> None:
        if files and not files[-1].seconds:
            files[-1].seconds = time.perf_counter() - files[-1].started

    def progress(event: Event) -> None:
        end_of_step()
        if isinstance(event, Loading):
            files.append(ModelFile(event.text, event.path, time.perf_counter()))
        elif isinstance(event, Caution):
            screen.note(str(event))

    with screen.busy('Loading the models'):
        engine = _engine(settings, isolated, progress, screen.note)
        end_of_step()
    return Loaded(engine, settings.backend, tuple(files))


def _engine(
    settings: EngineSettings, isolated: bool, progress: Progress, log: Callable[[str], None]
) -> Engine:
    if not isolated:
        return load_engine(settings, progress)
    engine = IsolatedEngine(settings, limits=StageLimits(), progress=progress, log=log)
    engine.load()
    return engine
