"""
The package bond, which PyPI does not have.

Where it is not installed, its messages are built of bond_interfaces/, once, into .ros/bond/.
"""

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

_SOURCES = Path(__file__).parent / 'bond_interfaces'
_CACHE = Path(__file__).parents[1] / '.ros' / 'bond'


def provide_bond() -> dict[str, str]:
    """Make bond importable; return the environment in which it is so for other processes too."""
    if importlib.util.find_spec('bond'):
        return dict(os.environ)
    prefix = _built()
    modules = next(prefix.rglob('bond/msg/__init__.py')).parents[2]
    # It is too late for LD_LIBRARY_PATH: what is loaded already is found by its name.
    for library in sorted(prefix.glob('lib/*.so')):
        ctypes.CDLL(str(library))
    sys.path.insert(0, str(modules))
    paths = {'PYTHONPATH': modules, 'LD_LIBRARY_PATH': prefix / 'lib'}
    return {
        **os.environ,
        **{name: f'{path}:{os.environ[name]}' for name, path in paths.items()},
    }


def _built() -> Path:
    """Return the prefix that holds the built package, for this Python and ROS."""
    sources = [path.read_text() for path in sorted(_SOURCES.rglob('*.*'))]
    ros = os.environ['AMENT_PREFIX_PATH']
    facts = '\0'.join([sys.prefix, sys.version, ros, *sources])
    prefix = _CACHE / hashlib.sha256(facts.encode()).hexdigest()[:16]
    done = prefix / 'done'
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(prefix, ignore_errors=True)
            _build(prefix, {'CMAKE_PREFIX_PATH': ros, **os.environ})
            done.touch()
    return prefix


def _build(prefix: Path, environment: dict[str, str]) -> None:
    """Build and install; raise RuntimeError with the output where that fails."""
    build = prefix / 'build'
    configure = ['cmake', '-S', _SOURCES, '-B', build]
    configure += [f'-DCMAKE_INSTALL_PREFIX={prefix}', f'-DCMAKE_INSTALL_RPATH={prefix}/lib']
    for command in configure, ['cmake', '--build', build, '--parallel', '--target', 'install']:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(f'{command} failed:\n{done.stdout}{done.stderr}')
