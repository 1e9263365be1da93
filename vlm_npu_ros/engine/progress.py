# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Events while models are loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Event:
    """Something that happened; `str` gives a line for a log."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Caution(Event):
    """A warning for the operator; the models are loaded nevertheless."""

    def __str__(self) -> str:
        return f'Warning: {self.text}'


@dataclass(frozen=True)
class Loading(Event):
    """
    A model file is about to be loaded.

    text: 'vision encoder' or 'language model'. runtime: the library that loads it; '' = unnamed.
    """

    path: Path
    runtime: str = ''

    def describe(self) -> str:
        """Name the model, its file and what loads it."""
        return f'{self.text} {self.path}' + (f' with {self.runtime}' if self.runtime else '')

    def __str__(self) -> str:
        return f'Loading {self.describe()}'


@dataclass(frozen=True)
class Trial(Event):
    """
    Something is about to be tried that may crash the process, or hang.

    If it does, the models can be loaded again: it is not tried again. text: what is tried.
    """

    def __str__(self) -> str:
        return f'Trying {self.text}'


Progress = Callable[[Event], None]
