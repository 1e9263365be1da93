# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Stages of a conversion: programs that can run in another Python, because their libraries clash.

A program is a module of this package. Its standard output has lines about its progress and, last,
a JSON object, its result. Its standard error is shown only if it fails. Its exit code is that of
an error in errors.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
import json
import os
from pathlib import Path
import re
import signal
import subprocess
import tempfile
import threading
import time
from typing import IO

from vlm_npu_ros.convert.errors import (
    CheckFailedError,
    ConversionError,
    ToolkitMissingError,
    UsageError,
)

Progress = Callable[[str], None]

INSTALL = {
    'export': 'pip install vlm_npu_ros[convert-export] (torch, transformers 5.8)',
    'rknn': 'pip install vlm_npu_ros[convert] (rknn-toolkit2 2.5.0, numpy < 2, onnx 1.18, '
    'setuptools < 81; Python 3.12 at most)',
}

_HEARTBEAT = 30.0  # seconds without a line until one says that the stage is still at work
_SHOWN = 8  # lines of a failure
_COLOUR = re.compile(r'\x1b\[[0-9;]*m')
# Of no use to a reader: progress bars, the banner, and an error that Rockchip calls harmless
# (rknn-toolkit2 #405): the simulator's results are right where it appears.
_NOISE = re.compile(
    r'\d+%\||^I |=== WARN|rknn-toolkit2 version:|Unkown op target: 0|pkg_resources is deprecated'
    r'|self\.rknn_base = |^W .*rknn_compute_order'
)


def run_stage(
    module: str, arguments: Sequence[str], python: str, progress: Progress
) -> dict[str, object]:
    """
    Run a program of this package in another Python; return its result.

    It runs in a temporary folder, because its libraries leave files behind: pass absolute paths.
    Raises ConversionError or the subclass of its exit code, with the last lines it wrote.
    """
    started, log = time.monotonic(), list[str]()
    # Relative to here, not to the folder that the stage runs in.
    program = os.path.abspath(python) if os.sep in python else python
    command = [program, '-m', f'vlm_npu_ros.convert.{module}', *arguments]
    with tempfile.TemporaryDirectory(prefix=f'vlm_npu_{module}_') as folder:
        with _running(command, Path(folder)) as process:
            assert process.stdout and process.stderr
            errors = threading.Thread(target=_collect, args=(process.stderr, log))
            errors.start()
            with _reporting(module, process.pid, started, progress) as report:
                result = _read(process.stdout, report)
            errors.join()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise _error(module, python, process.returncode, log)
    if result is None:
        raise ConversionError(f'The stage {module} ended without a result:{_last(log)}')
    seconds, memory = time.monotonic() - started, usage.ru_maxrss * 1024
    progress(f'{_prefix(module, seconds, memory)} done')
    return {**result, 'seconds': round(seconds, 1), 'peak_bytes': memory}


@contextmanager
def _running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a program in a folder, where it finds this package and nothing else of this Python."""
    (folder / 'path').mkdir()
    (folder / 'work').mkdir()
    # Not the folder around the package: another Python must not see what is installed beside it.
    (folder / 'path' / 'vlm_npu_ros').symlink_to(Path(__file__).resolve().parents[1])
    paths = [str(folder / 'path'), os.environ.get('PYTHONPATH', '')]
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join(filter(None, paths)),
        'PYTHONUNBUFFERED': '1',
        'TMPDIR': str(folder / 'work'),
    }
    try:
        process = subprocess.Popen(
            command, cwd=folder / 'work', env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors='replace',
        )
    except OSError as error:
        raise ToolkitMissingError(f'{command[0]} cannot be run as a Python: {error}') from error
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


@contextmanager
def _reporting(module: str, pid: int, started: float, progress: Progress) -> Iterator[Progress]:
    """Yield what to call with a line; in a long silence a line is reported by itself."""
    said, ended = threading.Event(), threading.Event()

    def report(line: str) -> None:
        said.set()
        progress(f'{_prefix(module, time.monotonic() - started, _peak(pid))} {line}')

    def beat() -> None:
        while not ended.wait(_HEARTBEAT):
            if not said.is_set():
                report('...')
            said.clear()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield report
    finally:
        ended.set()
        thread.join()


def _read(stream: IO[str], report: Progress) -> dict[str, object] | None:
    """Report each line, but return the last one that is a JSON object."""
    result = None
    for line in stream:
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if isinstance(value, dict):
            result = value
        elif line.strip():
            report(line.strip())
    return result


def _collect(stream: IO[str], log: list[str]) -> None:
    for line in stream:
        plain = _COLOUR.sub('', line).strip()
        if plain and not _NOISE.search(plain):
            log.append(plain)


def _peak(pid: int) -> int | None:
    """Return the peak memory of a process in bytes; None where it is not known."""
    try:
        status = Path(f'/proc/{pid}/status').read_text()
    except OSError:
        return None
    found = re.search(r'VmHWM:\s*(\d+) kB', status)
    return int(found[1]) * 1024 if found else None


def _prefix(module: str, seconds: float, memory: int | None) -> str:
    amount = '' if memory is None else f' {memory / 1e9:4.1f} GB'
    return f'[{module} {seconds:4.0f} s{amount}]'


def _error(module: str, python: str, status: int, log: list[str]) -> ConversionError:
    if status == ToolkitMissingError.exit_code:
        remedy = f'Install what it needs: {INSTALL[module]}' if module in INSTALL else ''
        what = f'The stage {module} cannot run in {python}{_last(log)}'
        return ToolkitMissingError(what, remedy)
    if status == CheckFailedError.exit_code:
        return CheckFailedError(f'The check failed:{_last(log)}')
    if status == UsageError.exit_code:
        return UsageError(f'The stage {module} cannot do this:{_last(log)}')
    if status < 0:
        name = signal.Signals(-status).name
        remedy = 'Is there enough memory?' if -status == signal.SIGKILL else ''
        return ConversionError(f'The stage {module} died of {name}{_last(log)}', remedy)
    return ConversionError(f'The stage {module} failed with exit code {status}:{_last(log)}')


def _last(log: list[str]) -> str:
    """Return the last lines that a program wrote; only its errors where it reports any."""
    said = [m[1] for m in map(re.compile('(?:error:|E) (?!.*Traceback)(.*)').match, log) if m]
    return ''.join(f'\n  {line}' for line in (said or log)[-_SHOWN:])
