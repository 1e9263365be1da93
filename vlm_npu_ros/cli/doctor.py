# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu doctor: what is wrong with a board, and what to do."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
import json
import os
from pathlib import Path
import platform
import sys
import textwrap

from vlm_npu_ros.cli.arguments import add_backend_options, backend_settings
from vlm_npu_ros.engine.backends.backend import Check
from vlm_npu_ros.engine.models import AUTO
from vlm_npu_ros.engine.pulled import find_pulled, with_files
from vlm_npu_ros.engine.registry import all_backends
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.share import version

_COLOURS = {'ok': 32, 'warn': 33, 'fail': 31}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    doctor = commands.add_parser(
        'doctor',
        help='find out why a board does not run a model',
        description='Look at chip, driver, runtimes, Python, model files, memory, clocks and '
        'permissions, and say what to do. Exit code 1 if anything fails.',
    )
    examined = {backend.name: backend for backend in all_backends() if backend.examine}
    first, *_ = examined
    doctor.set_defaults(run=run, examined=examined)
    doctor.add_argument(
        '--backend', default=first, choices=examined, help=f'what shall run it (default: {first})'
    )
    doctor.add_argument('--sysroot', type=_folder, help='look at the tree of another machine')
    doctor.add_argument(
        '--model', default=AUTO, help='a pulled model, name or .yaml of a profile (default: auto)'
    )
    doctor.add_argument('--encoder', default='', help='vision encoder, .rknn')
    doctor.add_argument('--language-model', default='', help='language model, .rkllm')
    doctor.add_argument('--context', type=int, default=0, help='tokens (default: of the profile)')
    add_backend_options(doctor, examined.values())
    doctor.add_argument('--json', action='store_true', help='print JSON')


def _folder(text: str) -> Path:
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f'{text} is not a folder')
    return Path(text)


def run(args: argparse.Namespace) -> int:
    """Print the checks; return 1 if any failed."""
    backend = args.examined[args.backend]
    settings = EngineSettings(
        backend=backend.name,
        model=args.model,
        encoder_path=args.encoder,
        language_model_path=args.language_model,
        context=args.context,
        options=backend_settings(args, backend),
    )
    if not args.sysroot and find_pulled(args.model, backend.name):
        settings = with_files(settings, lambda event: None)
    checks = backend.examine(settings, args.sysroot)
    if args.json:
        names = ('name', 'level', 'found', 'remedy')
        listed = [{k: v for k, v in asdict(check).items() if k in names} for check in checks]
        print(json.dumps(listed, indent=2))
    else:
        _print_table(checks)
        print('', *_report(checks), sep='\n')
    return int(any(check.level == 'fail' for check in checks))


def _print_table(checks: list[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        level = f'{check.level:4}'
        if sys.stdout.isatty():
            level = f'\033[{_COLOURS[check.level]}m{level}\033[0m'
        print(f'{level}  {check.name:{width}}  {check.found}')
        if check.level != 'ok':
            indent = ' ' * (8 + width)
            print(textwrap.fill(
                check.remedy, 98, initial_indent=indent + '-> ', subsequent_indent=indent + '   ',
                break_long_words=False, break_on_hyphens=False,
            ))


def _report(checks: list[Check]) -> Iterator[str]:
    """Yield what a bug report needs, as Markdown; the home folder shows who uses the machine."""
    home = os.path.expanduser('~')
    machine = f'{platform.system()} {platform.release()} {platform.machine()}'
    python = platform.python_version()
    yield 'For a bug report:'
    yield '```'
    yield f'vlm_npu_ros {version() or "of a workspace"}, Python {python}, {machine}'
    for check in checks:
        yield f'{check.level:4} {check.name}: {check.found}'.replace(f'{home}/', '~/')
    yield '```'
