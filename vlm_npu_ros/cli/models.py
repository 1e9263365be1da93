"""vlm-npu models: which models are known by name, and what others measured of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
import json
import textwrap

from vlm_npu_ros.engine.models import known_models, load_profile, ModelProfile

_COLUMNS = ('name', 'backend', 'picture:tokens', 'RAM', 'encode', 'prefill', 'decode', 'runtime')
_FIGURES = ('ram_gb', 'encode_seconds', 'prefill_rate', 'decode_rate')
_TEXT_COLUMNS = 3  # these begin at the left, figures end at the right
_WIDTH = 98
_LEGEND = (
    'picture:tokens  sides of the square picture in pixels that are known, and what one becomes',
    'RAM             GB, both parts loaded',
    'encode          seconds a picture',
    'prefill, decode tokens of the prompt read, and of the answer written, each second',
    'runtime         oldest librkllmrt.so',
    '~               inferred: no source states it',
    'Figures are of an RK3588, measured by others. None of the models for rknpu has run with this',
    'package on a board.',
)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    models = commands.add_parser('models', help='list the models that are known by name')
    models.set_defaults(run=run)
    models.add_argument('--json', action='store_true', help='print all of the profiles as JSON')


def run(args: argparse.Namespace) -> int:
    """Print the models; return 0."""
    profiles = [load_profile(name) for name in known_models()]
    if args.json:
        print(json.dumps([asdict(profile) for profile in profiles], indent=2, default=str))
    else:
        _print_table([_COLUMNS, *map(_row, profiles)])
        print('', *_LEGEND, '', 'Sources:', *_sources(profiles), sep='\n')
    return 0


def _row(profile: ModelProfile) -> tuple[str, ...]:
    def marked(field: str, value: object) -> str:
        if not value:
            return '-'
        figure = f'{value:.3g}' if isinstance(value, float) and value < 100 else f'{value:.0f}'
        return '~' * (field in profile.inferred) + figure

    sizes = profile.image.tokens.items() if profile.image else ()
    return (
        profile.name,
        profile.backend,
        ' '.join(f'{size}:{tokens}' for size, tokens in sizes) or '-',
        *(marked(f'published.{n}', getattr(profile.published, n, None)) for n in _FIGURES),
        '~' * ('min_runtime' in profile.inferred) + (profile.min_runtime or '-'),
    )


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = [
            cell.ljust(width) if place < _TEXT_COLUMNS else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths))
        ]
        print('  '.join(cells))


def _sources(profiles: Sequence[ModelProfile]) -> list[str]:
    """Return each source behind the names of the models that it is of."""
    names: dict[str, list[str]] = {}
    for profile in profiles:
        if profile.published:
            names.setdefault(profile.published.source, []).append(profile.name)
    return [
        textwrap.fill(
            f'{", ".join(models)}: {source}', _WIDTH, initial_indent='  ',
            subsequent_indent='    ', break_on_hyphens=False,
        )
        for source, models in names.items()
    ]
