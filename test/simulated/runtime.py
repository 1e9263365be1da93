# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The simulated librkllmrt.so, for any of the known versions of the real one, and librknnrt.so."""

from __future__ import annotations

from hashlib import sha256
import os
from pathlib import Path
import shutil
import subprocess

SOURCES = Path(__file__).parent / 'librkllmrt'

# See librkllmrt/rkllm.h for what sets the classes apart.
ABI_CLASS = {
    '1.1.0': 'A',
    '1.1.1': 'A',
    '1.1.2': 'A',
    '1.1.3': 'A',
    '1.1.4': 'A',
    '1.2.0': 'B',
    '1.2.1b1': 'C',
    '1.2.1': 'D',
    '1.2.2': 'D',
    '1.2.3': 'D',
    '1.3.0': 'E',
    '1.3.1': 'F',
}
VERSIONS = tuple(ABI_CLASS)

# Never -ffast-math: it would change how the whole process rounds.
_OPTIONS = ('-std=gnu11', '-O3', '-Wall', '-Wextra')


def build(version: str, folder: Path, compiler: str = 'cc') -> Path:
    """
    Compile the library and return its path, <folder>/<version>/librkllmrt.so.

    One that tools/with_ros has a place for is compiled once and copied. Raises RuntimeError with
    the compiler's output if it fails.
    """
    library = folder / version / 'librkllmrt.so'
    library.parent.mkdir(parents=True, exist_ok=True)
    sources = sorted(p for p in SOURCES.glob('*.[ch]') if p.name != 'driver.c')
    command = [
        compiler, *_OPTIONS, '-fPIC', '-shared', '-fvisibility=hidden', *_definitions(version),
        *(str(p) for p in sources if p.suffix == '.c'), '-lm', '-lpthread', '-o',
    ]
    work = os.environ.get('VLM_NPU_ROS_WORK')
    if not work or compiler != 'cc':
        _compile([*command, str(library)])
        return library
    facts = '\0'.join([*command, *(p.read_text() for p in sources)])
    kept = Path(work, 'simulated', sha256(facts.encode()).hexdigest()[:16])
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        _compile([*command, f'{kept}.{os.getpid()}'])
        Path(f'{kept}.{os.getpid()}').rename(kept)  # another process may have been as fast
    shutil.copy(kept, library)
    return library


def build_driver(version: str, library: Path, compiler: str = 'cc') -> Path:
    """Compile driver.c against the library and return the program's path, beside it."""
    program = library.with_name('driver')
    _compile([
        compiler, *_OPTIONS, *_definitions(version), str(SOURCES / 'driver.c'), str(library),
        f'-Wl,-rpath,{library.parent}', '-o', str(program),
    ])
    return program


def build_librknnrt(path: Path) -> Path:
    """Compile the simulated librknnrt.so, librknnrt.c, to a path; return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = str(SOURCES.parent / 'librknnrt.c')
    _compile(['cc', *_OPTIONS, '-fPIC', '-shared', source, '-o', str(path)])
    return path


def _definitions(version: str) -> tuple[str, str]:
    return f"-DRKLLM_ABI='{ABI_CLASS[version]}'", f'-DRKLLM_VERSION="{version}"'


def _compile(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'{" ".join(command)} failed:\n{done.stdout}{done.stderr}')
