# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu models: which models are here, which can be pulled, and what is known of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
import json
import textwrap

from vlm_npu_ros.engine.catalogue import catalogue, Variant
from vlm_npu_ros.engine.models import known_models, load_profile, ModelProfile
from vlm_npu_ros.engine.pulled import all_pulled, models_folder, Pulled

HEADER = (
    'model', 'backend', 'pixels:tokens', 'RAM GB', 'encode s', 'prefill', 'decode', 'load s',
    'runtime',
)
_FIGURES = ('ram_gb', 'encode_seconds', 'prefill_rate', 'decode_rate', 'load_seconds')
_LEGEND = """\
None of the rknpu models has been run with this package on a board yet. The figures were published
by others, for an RK3588 with w8a8 language models. ~ before a figure: inferred. -: not known.
pixels:tokens  side of the square that the encoder reads, and the tokens that it becomes
RAM GB         both models loaded
encode s       seconds for an image
prefill        tokens a second that the language model reads
decode         tokens a second that it writes
load s         seconds to load both models for the first time since the board started
runtime        oldest librkllmrt.so that runs the model
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    models = commands.add_parser(
        'models', help='list the models that are here, that can be pulled, and their profiles'
    )
    models.set_defaults(run=run)
    models.add_argument('--pulled', action='store_true', help='list those that are here, alone')
    models.add_argument(
        '--json', action='store_true', help='print whole profiles, or what was pulled, as JSON'
    )


def run(args: argparse.Namespace) -> int:
    """Print what is known."""
    here = all_pulled()
    if args.pulled and args.json:
        listed = [{**asdict(pulled), 'folder': pulled.folder} for pulled in here]
        print(json.dumps(listed, indent=2, default=str))
        return 0
    profiles = [load_profile(name) for name in known_models()]
    if args.json:
        print(json.dumps([asdict(profile) for profile in profiles], indent=2, default=str))
        return 0
    if not args.pulled:
        _print_table([HEADER, *(row(profile) for profile in profiles)])
        print(f'\n{_LEGEND}')
        _print_sources(profiles)
        _print_catalogue()
    _print_pulled(here)
    return 0


def _print_pulled(here: Sequence[Pulled]) -> None:
    print(f'On this machine, in {models_folder()}')
    if not here:
        print('  none; `vlm-npu pull NAME` fetches one')
    width = max((len(pulled.name) for pulled in here), default=0)
    for pulled in here:
        size = sum(file.size for file in pulled.files)
        print(f'  {pulled.name:<{width}} {pulled.variant:<12} {size / 1e9:6.2f} GB')


def _print_catalogue() -> None:
    print('\nTo be pulled: vlm-npu pull NAME')
    for name, entry in catalogue().items():
        variants = ', '.join(
            variant.name + (f' ({_size(variant)})' if _size(variant) else '')
            for variant in entry.variants
        )
        print(textwrap.fill(
            variants, 100, initial_indent=f'  {name:<15} ', subsequent_indent=' ' * 18,
            break_on_hyphens=False,
        ))
    print()


def _size(variant: Variant) -> str:
    sizes = [file.size for file in (variant.encoder, variant.language_model) if file]
    return f'{sum(sizes) / 1e9:.2f} GB' if len(sizes) == 2 and all(sizes) else ''


def row(profile: ModelProfile) -> tuple[str, ...]:
    """Show what is known of a model, as texts below HEADER."""
    sizes = profile.image.tokens if profile.image else {}
    return (
        profile.name,
        profile.backend,
        ' '.join(f'{size}:{tokens}' for size, tokens in sizes.items()) or '-',
        *(_figure(profile, name) for name in _FIGURES),
        _mark(profile, 'min_runtime') + (profile.min_runtime or '-'),
    )


def _figure(profile: ModelProfile, name: str) -> str:
    value = getattr(profile.published, name, None)
    if value is None:
        return '-'
    return _mark(profile, f'published.{name}') + f'{value:g}'


def _mark(profile: ModelProfile, field: str) -> str:
    return '~' if field in profile.inferred else ''


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        words = [f'{c:<{w}}' for c, w in zip(cells[:3], widths[:3], strict=True)]
        numbers = [f'{c:>{w}}' for c, w in zip(cells[3:], widths[3:], strict=True)]
        print(' '.join(words + numbers))


def _print_sources(profiles: Sequence[ModelProfile]) -> None:
    models: dict[str, list[str]] = {}
    for profile in profiles:
        if profile.published:
            models.setdefault(profile.published.source, []).append(profile.name)
    print('Sources')
    for source, names in models.items():
        print(textwrap.fill(
            f'{", ".join(names)}: {source}', 100, initial_indent='  ', subsequent_indent='    ',
            break_on_hyphens=False,
        ))
