"""vlm-npu parameters: what can be set about each backend, as a parameter file of the node."""

from __future__ import annotations

import argparse
import sys
import textwrap

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
    backends = all_backends(lambda error: print(f'vlm-npu: {error}', file=sys.stderr))
    print(_HEAD)
    print('\n\n'.join([
        block('fallback', 'only with several backends', FallbackSettings),
        *(
            block(backend.name, f'only for backend: {backend.name}', backend.settings)
            for backend in backends if options_of(backend.settings)
        ),
    ]))
    return 0


def block(name: str, when: str, settings: type) -> str:
    """Return the parameters of a settings dataclass as YAML with comments."""
    lines = [_commented(f'    {name}:', when)]
    for setting, option in options_of(settings).items():
        lines.append(_commented(f'      {_assigned(setting, option)}', _explained(option)))
    return '\n'.join(lines)


def _assigned(name: str, option: Option) -> str:
    if isinstance(option.default, tuple):
        texts = {name: list(option.default)}
        return yaml.safe_dump(texts, default_flow_style=None, width=1000).strip()
    return yaml.safe_dump({name: option.default}, width=1000).strip()


def _explained(option: Option) -> str:
    if option.low is None or option.high is None:
        return option.about
    limits = f'[{option.low:g} to {option.high:g} {option.unit}'.rstrip() + ']'
    return f'{option.about} {limits.replace(" ", _NO_BREAK)}'


def _commented(text: str, comment: str) -> str:
    """Put a comment beside a text, wrapped, or below it where the text is long."""
    wrapped = textwrap.wrap(comment, _WIDTH - _COLUMN - len('# '), break_on_hyphens=False)
    first, *others = (f'# {line.replace(_NO_BREAK, " ")}' for line in wrapped)
    if len(text) < _COLUMN or len(text) + len(first) + 2 <= _WIDTH:
        text = f'{f"{text}  ":{_COLUMN}}{first}'
    else:
        others.insert(0, first)
    return '\n'.join([text, *(' ' * _COLUMN + line for line in others)])
