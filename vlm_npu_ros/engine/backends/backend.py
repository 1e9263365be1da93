"""How a backend describes itself to the rest of the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm_npu_ros.engine.checks import Check
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.progress import Progress
from vlm_npu_ros.engine.settings import EngineSettings


@dataclass(frozen=True)
class NoSettings:
    """For backends that have no settings of their own."""


@dataclass(frozen=True)
class Backend:
    """
    A way to run the two models: all that the rest of the package knows of it.

    Importing the module that holds one must be cheap: `load` imports what runs the models.

        BACKEND = Backend('echo', 'repeats the question', load, EchoSettings)

    A package of your own makes it known by an entry point with the backend's name:

        [options.entry_points]
        vlm_npu_ros.backends =
          echo = my_package.echo:BACKEND

    name: selects it in the parameter `backend`, and is the prefix of its own parameters.
    summary: what runs the models, in a word or two.
    load: makes the engine, or raises BackendError; the settings' `options` are of type `settings`.
    settings: a dataclass of options (options.py); each one is a parameter of the node.
    isolated: whether its models run in a process of their own unless the operator says otherwise.
    remote: whether a server runs the models; there are no files then, and no process of its own.
    suffixes: how the names of its vision encoders and of its language models end; '' = anyhow.
    profile_fields: what a model profile for it must state.
    finds_profiles: whether it finds the profile that its files are of, for the model `auto`.
    runtimes: returns the releases of its runtime that a profile may ask for, the oldest first.
    examine: looks at this machine, or at the tree of another one, and tells what the settings
        lack there; None = there is nothing to look at.
    figures: returns how the hardware is doing at this moment, for diagnostics.
    """

    name: str
    summary: str
    load: Callable[[EngineSettings, Progress], LocalEngine]
    settings: type = NoSettings
    isolated: bool = False
    remote: bool = False
    suffixes: tuple[str, str] = ('', '')
    profile_fields: tuple[str, ...] = ()
    finds_profiles: bool = False
    runtimes: Callable[[], Sequence[str]] = tuple
    examine: Callable[[EngineSettings, Path | None], list[Check]] | None = None
    figures: Callable[[], Mapping[str, str]] = dict
