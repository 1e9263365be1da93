# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Finds backends: those of this package, and those of other packages by an entry point."""

from __future__ import annotations

from collections.abc import Callable
import functools
from importlib import import_module
from importlib.metadata import entry_points, EntryPoint
import sys

from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.errors import BackendUnavailableError

GROUP = 'vlm_npu_ros.backends'  # of entry points
BUILT_IN = ('onnx', 'rknpu', 'llamacpp', 'openai', 'scripted')
_registered: dict[str, Backend] = {}


def names() -> list[str]:
    """Return the names of all backends, those of this package first, without importing them."""
    return list(dict.fromkeys([*BUILT_IN, *_registered, *(e.name for e in _entry_points())]))


def find(name: str) -> Backend:
    """Return a backend; raise BackendUnavailableError if it is unknown or broken."""
    if name in BUILT_IN:
        backend: Backend = import_module(f'vlm_npu_ros.engine.backends.{name}').BACKEND
        return backend
    if name in _registered:
        return _registered[name]
    for entry in _entry_points():
        if entry.name == name:
            return _loaded(entry)
    raise BackendUnavailableError(
        f'There is no backend {name!r}', f'Choose one of {", ".join(names())}'
    )


def all_backends(
    on_error: Callable[[BackendUnavailableError], None] = lambda error: None
) -> list[Backend]:
    """Return all backends; `on_error` gets the errors of those that are broken."""
    backends = []
    for name in names():
        try:
            backends.append(find(name))
        except BackendUnavailableError as error:
            on_error(error)
    return backends


def register(backend: Backend) -> None:
    """
    Add a backend in this process, without an entry point; raise ValueError if its name is taken.

    The engine's own process would not find it, so it must not be isolated.
    """
    if backend.name in names():
        raise ValueError(f'There is a backend {backend.name!r} already')
    _registered[backend.name] = backend


def unregister(name: str) -> None:
    """Remove a backend that `register` added."""
    del _registered[name]


def _entry_points() -> list[EntryPoint]:
    return _entry_points_of(tuple(sys.path))


@functools.lru_cache(maxsize=1)
def _entry_points_of(path: tuple[str, ...]) -> list[EntryPoint]:
    """Search all packages in sys.path, which takes tens of milliseconds."""
    return [e for e in entry_points(group=GROUP) if e.name not in BUILT_IN]


def _loaded(entry: EntryPoint) -> Backend:
    """Load the backend of another package; its exceptions become BackendUnavailableError."""
    try:
        backend = entry.load()
        if not isinstance(backend, Backend):
            raise TypeError(f'it is not a Backend: {backend!r}')
        if backend.name != entry.name or not entry.name.isidentifier():
            raise ValueError(f'its name is {backend.name!r}, and must be that of the entry point')
    except Exception as error:
        owner = f' of the package {entry.dist.name}' if entry.dist else ''
        raise BackendUnavailableError(
            f'The backend {entry.name!r}{owner} ({entry.value}) cannot be used: '
            f'{type(error).__name__}: {error}',
            'Repair that package, or uninstall it',
        ) from error
    return backend
