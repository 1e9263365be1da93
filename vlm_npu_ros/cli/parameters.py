# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu parameters: what can be set about each backend, as a parameter file of the node."""

from __future__ import annotations

import argparse
import sys
import textwrap
from typing import Any

from vlm_npu_ros.engine.fallback import FallbackSettings
from vlm_npu_ros.engine.options import Option, options_of
from vlm_npu_ros.engine.registry import all_backends
import yaml

_HEAD = '/**:\n  ros__parameters:'
_COLUMN = 35  # of comments
_WIDTH = 99
_NO_BREAK = '\xa0'


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parameters = commands.add_parser(
        'parameters',
        help='print the parameters of the backends, for a parameter file of the node',
        description='Print the parameters of all backends, those of other packages included, '
        'with their defaults: blocks of a parameter file of the node, as in config/vlm.yaml.',
    )
    parameters.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the blocks; tell about backends that are broken."""
    blocks = [block('fallback', 'only with several backends', FallbackSettings)]
    for backend in all_backends(lambda error: print(f'vlm-npu: {error}', file=sys.stderr)):
        if options_of(backend.settings):
            blocks.append(
                block(backend.name, f'only for backend: {backend.name}', backend.settings)
            )
    print(_HEAD)
    print('\n\n'.join(blocks))
    return 0


def block(name: str, when: str, settings: type) -> str:
    """Show a settings dataclass as a block of YAML, each line with a comment."""
    lines = [_commented(f'    {name}:', when)]
    for setting, option in options_of(settings).items():
        lines.append(_commented(f'      {_assigned(setting, option.default)}', _help(option)))
    return '\n'.join(lines)


def _assigned(name: str, value: Any) -> str:
    if isinstance(value, tuple):  # on one line
        return yaml.safe_dump({name: list(value)}, default_flow_style=None, width=1000).strip()
    return yaml.safe_dump({name: value}, width=1000).strip()


def _help(option: Option) -> str:
    if option.low is None or option.high is None:
        return option.about
    limits = f'[{option.low:g} to {option.high:g} {option.unit}'.rstrip() + ']'
    return f'{option.about} {limits.replace(" ", _NO_BREAK)}'


def _commented(text: str, comment: str) -> str:
    lines = textwrap.wrap(
        comment, _WIDTH, initial_indent=f'{text}  '.ljust(_COLUMN) + '# ',
        subsequent_indent=' ' * _COLUMN + '# ', break_on_hyphens=False,
    )
    return '\n'.join(lines).replace(_NO_BREAK, ' ')
