"""Loading of the models, with what it took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
import re
import time

from vlm_npu_ros.cli.page_cache import is_warm
from vlm_npu_ros.cli.screen import Screen
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.loading import EngineSettings, load_engine

_STEP = re.compile(r'Loading (vision encoder|language model) (.+)')


@dataclass
class ModelFile:
    """
    One of the two files.

    warm: whether it was in memory before it was loaded; None = not known.
    """

    title: str
    path: Path
    warm: bool | None
    started: float
    seconds: float = 0.0

    def describe(self) -> str:
        """Return the time it took."""
        warmth = {True: ', warm', False: ', cold', None: ''}[self.warm]
        return f'{self.title} {self.seconds:.2f} s{warmth}'


@dataclass(frozen=True)
class Loaded:
    """An engine that is ready, and the files that are in it."""

    engine: Engine
    backend: str
    files: tuple[ModelFile, ...]

    def describe(self) -> str:
        """Return a line about it."""
        parts = [f'{self.engine.model_name} loaded', *(file.describe() for file in self.files)]
        return ': '.join((parts[0], '; '.join(parts[1:])))

    def info(self, new_tokens: int) -> Iterator[str]:
        """Yield lines about model, files and context."""
        yield f'model           {self.engine.model_name} (backend {self.backend})'
        for file in self.files:
            yield f'{file.title:15} {file.path}, {file.path.stat().st_size / 1e6:.1f} MB'
        yield f'context         {self.engine.context} tokens, {new_tokens} of them for an answer'


def load(settings: EngineSettings, screen: Screen) -> Loaded:
    """Load the models; print what the board's checks warn of."""
    files: list[ModelFile] = []

    def end_of_step() -> None:
        if files and not files[-1].seconds:
            files[-1].seconds = time.perf_counter() - files[-1].started

    def progress(line: str) -> None:
        end_of_step()
        step = _STEP.fullmatch(line)
        if step:
            path = Path(step[2])
            files.append(ModelFile(step[1], path, is_warm(path), time.perf_counter()))
        elif line.startswith('Warning'):
            screen.note(line)

    with screen.busy('Loading the models'):
        engine = load_engine(settings, progress)
        end_of_step()
    return Loaded(engine, settings.backend, tuple(files))
