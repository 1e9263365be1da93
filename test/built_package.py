# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""ROS packages that PyPI does not have: where they are missing, tests build them, once."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib.util
import os
from pathlib import Path
import shutil
import subprocess
import sys

_CACHE = Path(__file__).parents[1] / os.environ.get('VLM_NPU_ROS_WORK', '.ros')


def provide(package: str, sources: Path) -> dict[str, str]:
    """
    Make a package of interfaces importable: build it of these sources if it is not.

    Returns the environment in which it is importable for other processes, too.
    """
    if importlib.util.find_spec(package):
        return dict(os.environ)
    prefix = _built(package, sources)
    modules = next(prefix.rglob(f'*-packages/{package}/__init__.py')).parents[1]
    # It is too late for LD_LIBRARY_PATH: what is loaded already is found by its name.
    for library in sorted(prefix.glob('lib/*.so')):
        ctypes.CDLL(str(library))
    sys.path.insert(0, str(modules))
    paths = {'PYTHONPATH': modules, 'LD_LIBRARY_PATH': prefix / 'lib'}
    return {
        **os.environ,
        **{name: f'{path}:{os.environ[name]}' for name, path in paths.items()},
    }


def _built(package: str, sources: Path) -> Path:
    texts = [path.read_text() for path in sorted(sources.rglob('*.*'))]
    ros = os.environ['AMENT_PREFIX_PATH']
    facts = '\0'.join([sys.prefix, sys.version, ros, *texts])
    cache = _CACHE / package
    prefix = cache / hashlib.sha256(facts.encode()).hexdigest()[:16]
    done = prefix / 'done'
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(prefix, ignore_errors=True)
            _build(sources, prefix, {'CMAKE_PREFIX_PATH': ros, **os.environ})
            done.touch()
    return prefix


def _build(sources: Path, prefix: Path, environment: dict[str, str]) -> None:
    """Build and install; raise RuntimeError with the output where that fails."""
    build = prefix / 'build'
    configure = ['cmake', '-S', sources, '-B', build]
    configure += [f'-DCMAKE_INSTALL_PREFIX={prefix}', f'-DCMAKE_INSTALL_RPATH={prefix}/lib']
    for command in configure, ['cmake', '--build', build, '--parallel', '--target', 'install']:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(f'{command} failed:\n{done.stdout}{done.stderr}')
