"""Loading of the models, with what it took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
import time

from vlm_npu_ros.cli.page_cache import is_warm
from vlm_npu_ros.cli.screen import Screen
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.progress import Caution, Event, Loading
from vlm_npu_ros.engine.settings import EngineSettings


@dataclass
class ModelFile:
    """
    One of the two files.

    warm: whether it was in memory before it was loaded; None = unknown.
    """

    title: str
    path: Path
    warm: bool | None
    started: float
    seconds: float = 0.0

    def describe(self) -> str:
        """Tell how long it took to load."""
        warmth = {True: ', warm', False: ', cold', None: ''}[self.warm]
        return f'{self.title} {self.seconds:.2f} s{warmth}'


@dataclass(frozen=True)
class Loaded:
    """An engine that is ready, and the files that are in it."""

    engine: Engine
    backend: str
    files: tuple[ModelFile, ...]

    def describe(self) -> str:
        """Tell in one line what was loaded and how long it took."""
        parts = [f'{self.engine.model_name} loaded', *(file.describe() for file in self.files)]
        return ': '.join((parts[0], '; '.join(parts[1:])))

    def info(self, new_tokens: int) -> Iterator[str]:
        """Yield lines about model, files and context."""
        yield f'model           {self.engine.model_name} (backend {self.backend})'
        for file in self.files:
            yield f'{file.title:15} {file.path}, {file.path.stat().st_size / 1e6:.1f} MB'
        yield f'context         {self.engine.context} tokens, {new_tokens} of them for an answer'


def load(settings: EngineSettings, screen: Screen) -> Loaded:
    """Load the models; print what the operator should look at."""
    files: list[ModelFile] = []

    def end_of_step() -> None:
        if files and not files[-1].seconds:
            files[-1].seconds = time.perf_counter() - files[-1].started

    def progress(event: Event) -> None:
        end_of_step()
        if isinstance(event, Loading):
            warm = is_warm(event.path)
            files.append(ModelFile(event.text, event.path, warm, time.perf_counter()))
        elif isinstance(event, Caution):
            screen.note(str(event))

    with screen.busy('Loading the models'):
        engine = load_engine(settings, progress)
        end_of_step()
    return Loaded(engine, settings.backend, tuple(files))
