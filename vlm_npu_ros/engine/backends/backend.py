# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""How a backend describes itself to the rest of the package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlm_npu_ros.engine.backends.base import LanguageModel, VisionEncoder
from vlm_npu_ros.engine.errors import BackendError, UnsupportedRuntimeError
from vlm_npu_ros.engine.progress import Caution, Progress
from vlm_npu_ros.engine.settings import EngineSettings

Models = tuple[VisionEncoder, LanguageModel]
Level = Literal['ok', 'warn', 'fail']


@dataclass(frozen=True)
class NoSettings:
    """For backends that have no settings of their own."""


@dataclass(frozen=True)
class Check:
    """
    Result of a check of the machine before models are loaded.

    found: what was found. remedy: what to do; '' = nothing.
    error: the error that loading raises for a failure.
    """

    name: str
    level: Level
    found: str
    remedy: str = ''
    error: type[BackendError] = UnsupportedRuntimeError

    def __str__(self) -> str:
        return f'{self.name}: {self.found}. {self.remedy}'


def require(checks: Iterable[Check], progress: Progress) -> None:
    """
    Tell of warnings; raise the error of the first check that failed.

    It has the sentences of all that did.
    """
    checks = list(checks)
    for check in checks:
        if check.level == 'warn':
            progress(Caution(str(check)))
    failures = [check for check in checks if check.level == 'fail']
    if failures:
        raise failures[0].error('; '.join(map(str, failures)))


@dataclass(frozen=True)
class Backend:
    """
    A way to run the two models, as the rest of the package sees it.

        BACKEND = Backend('echo', 'repeats the question', load, EchoSettings)

    Importing its module must not need what runs the models: `load` imports that.
    A package of your own provides one by an entry point with its name (see docs/backends.md):

        [options.entry_points]
        vlm_npu_ros.backends =
          echo = my_package.echo:BACKEND

    name: value of the parameter `backend`, and prefix of the backend's own parameters.
    summary: what runs the models, in a word or two.
    load: makes the models or raises BackendError; `options` of the settings has type `settings`.
    settings: a dataclass of options (options.py); each one is a parameter of the node.
    isolated: run the models in a process of their own by default.
    remote: a server runs the models: no files, and no process of their own.
    suffixes: file name suffixes of its vision encoders and language models; '' = any.
    profile_fields: fields that a model profile for it must have.
    finds_profiles: it can find the profile from the files, so that `model` can be auto.
    runtimes: gives the releases of its runtime that a profile may require, oldest first.
    examine: checks this machine, or the tree of another one, for what the settings need.
    figures: gives current figures of the hardware, for diagnostics.
    chip: gives the chip of this machine that it runs models on, '' = none; of files that were
        converted for one chip, it runs those of this one.
    """

    name: str
    summary: str
    load: Callable[[EngineSettings, Progress], Models]
    settings: type = NoSettings
    isolated: bool = False
    remote: bool = False
    suffixes: tuple[str, str] = ('', '')
    profile_fields: tuple[str, ...] = ()
    finds_profiles: bool = False
    runtimes: tuple[str, ...] = ()
    examine: Callable[[EngineSettings, Path | None], list[Check]] | None = None
    figures: Callable[[], Mapping[str, str]] = dict
    chip: Callable[[], str] = str
