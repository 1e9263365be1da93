# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A package with a backend of its own, as pip would install it."""

from __future__ import annotations

from pathlib import Path
import sys

_METADATA = 'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n'
_ENTRY_POINTS = '[vlm_npu_ros.backends]\n{name} = {module}:BACKEND\n'
_ECHO = """
from collections.abc import Iterator
from dataclasses import dataclass
import os

import numpy as np
from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.backends.base import VisionEncoder
from vlm_npu_ros.engine.backends.scripted import ScriptedLanguageModel
from vlm_npu_ros.engine.options import option


@dataclass(frozen=True)
class EchoSettings:
    times: int = option(1, 'How often the answer is said.', 1, 9)
    voice: str = option('plain', 'How it is said.', choices=('plain', 'loud'))
    words: tuple[str, ...] = option(('echo',), 'What is said.')


class Encoder(VisionEncoder):
    def encode(self, rgb: np.ndarray) -> np.ndarray:
        return np.zeros((1, 1, 1), np.float32)


def load(settings, progress):
    words = ' '.join(settings.options.times * settings.options.words)
    said = words.upper() if settings.options.voice == 'loud' else words
    return Encoder(), ScriptedLanguageModel([f'{said} by {os.getpid()}'])


BACKEND = Backend('echo', 'repeats itself', load, EchoSettings, isolated=True)
"""


def install(folder: Path, name: str = 'echo', code: str = _ECHO) -> None:
    """Make a package in a folder of sys.path that offers BACKEND of its code by an entry point."""
    module = f'{name}_backend'
    sys.modules.pop(module, None)  # of an earlier test
    (folder / f'{module}.py').write_text(code)
    metadata = folder / f'{module}-1.0.dist-info'
    metadata.mkdir()
    (metadata / 'METADATA').write_text(_METADATA.format(name=module))
    (metadata / 'entry_points.txt').write_text(_ENTRY_POINTS.format(name=name, module=module))
