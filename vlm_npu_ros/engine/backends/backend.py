"""How a backend describes itself to the rest of the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlm_npu_ros.engine.backends.base import LanguageModel, VisionEncoder
from vlm_npu_ros.engine.errors import BackendError, UnsupportedRuntimeError
from vlm_npu_ros.engine.progress import Progress
from vlm_npu_ros.engine.settings import EngineSettings

Models = tuple[VisionEncoder, LanguageModel]


@dataclass(frozen=True)
class NoSettings:
    """For backends that have no settings of their own."""


@dataclass(frozen=True)
class Check:
    """
    One thing that was looked at before the models are loaded.

    found: what is there. remedy: what to do, '' if all is well.
    error: what loading raises for a failure.
    """

    name: str
    level: Literal['ok', 'warn', 'fail']
    found: str
    remedy: str = ''
    error: type[BackendError] = UnsupportedRuntimeError


@dataclass(frozen=True)
class Backend:
    """
    A way to run the two models: all that the rest of the package knows of it.

        BACKEND = Backend('echo', 'repeats the question', load, EchoSettings)

    The module that holds one must not need what runs the models: that is imported by `load`.
    A package of your own makes its backend known by an entry point of the backend's name:

        [options.entry_points]
        vlm_npu_ros.backends =
          echo = my_package.echo:BACKEND

    name: selects it in the parameter `backend`, and is the prefix of its own parameters.
    summary: what runs the models, in a word or two.
    load: makes the models or raises BackendError; the settings' `options` are of type `settings`.
    settings: a dataclass of options (options.py); each one is a parameter of the node.
    isolated: whether its models run in a process of their own unless the operator says otherwise.
    remote: whether a server runs the models: without files, and without a process of their own.
    suffixes: how the names of its vision encoders and of its language models end; '' = anyhow.
    profile_fields: what a model profile for it must state.
    finds_profiles: whether it knows which profile its files are of, so that `model` can be auto.
    runtimes: the releases of its runtime that a profile may ask for, the oldest first.
    examine: looks for what the settings lack on this machine, or on one whose tree is given.
    figures: tells how the hardware is doing at the moment, for diagnostics.
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
