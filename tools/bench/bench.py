# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Measure what the node costs, each figure beside a reference in the same run.

    make bench                       (or: tools/with_ros python3 tools/bench/bench.py --help)

Ours and the reference are measured in turns; the table shows medians, and the spread of the
comparison. Exit status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import importlib
from pathlib import Path
import sys
import time
from typing import Any

from pairs import Effort, Pair
from rich.console import Console
from rich.table import Table
from running import ChildDiedError, NodeError, prepare, save, text

BENCHMARKS = {
    'first_token': 'Time to the first token',
    'read_ahead': 'The same about a frame that was read ahead',
    'streaming': 'Streaming',
    'round_trip': 'A question to an engine that answers at once',
    'camera_load': 'What a camera costs',
    'preprocessing': 'From a 1080p frame to the input of a model',
    'video': 'A question about eight frames',
    'typed': 'Answers to branch on',
    'growth': 'What grows with what',
    'memory': 'Memory',
    'embedded': 'The embedded model',
}


def measure(names: list[str], effort: Effort, screen: Console) -> Iterator[tuple[str, list[Pair]]]:
    """Yield the figures of each benchmark."""
    for name in names:
        started = time.monotonic()
        with screen.status(f'{BENCHMARKS[name]} ...') as status:
            pairs = []
            for pair in importlib.import_module(name).measure(effort):
                pairs.append(pair)
                status.update(f'{BENCHMARKS[name]}: {pair.name}')
        screen.print(_table(f'{BENCHMARKS[name]}, {time.monotonic() - started:.0f} s', pairs))
        yield name, pairs


def _table(title: str, pairs: list[Pair]) -> Table:
    rows = [pair.row() for pair in pairs]
    table = Table(title=title, title_justify='left')
    for column in rows[0]:
        table.add_column(column, justify='right' if column in _NUMBERS else 'left')
    for row in rows:
        style = {'MISSED': 'red', 'ok': 'green'}.get(row['verdict'], '')
        table.add_row(*row.values(), style=style)
    return table


_NUMBERS = {'n', 'ours', 'reference', 'compared', 'spread', 'bar'}


def main() -> int:
    """Measure, and print the tables."""
    options = _parse()
    prepare()
    screen = Console(stderr=options.markdown, width=None if sys.stdout.isatty() else 150)
    results: dict[str, list[Pair]] = {}
    failure = ''
    try:
        names = options.only or list(BENCHMARKS)
        results.update(measure(names, Effort(options.short), screen))
    except (NodeError, ChildDiedError) as error:
        failure = str(error)
    if options.markdown:
        for name, pairs in results.items():
            print(f'\n### {BENCHMARKS[name]}\n\n{text([p.row() for p in pairs], True)}')
    save(options.json, _values(results))
    if options.plot:
        from plot import picture

        options.plot.write_bytes(picture({BENCHMARKS[n]: p for n, p in results.items()}))
    missed = [pair for pairs in results.values() for pair in pairs if not pair.passed]
    judged = sum(pair.bar is not None for pairs in results.values() for pair in pairs)
    screen.print(f'{judged - len(missed)} of {judged} bars are kept')
    for pair in missed:
        screen.print(f'MISSED: {pair.name}, against {pair.against}', style='red')
    if failure:
        print(failure, file=sys.stderr)
    return int(bool(missed or failure))


def _values(results: dict[str, list[Pair]]) -> dict[str, Any]:
    return {name: [pair.values() for pair in pairs] for name, pairs in results.items()}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='bench.py', description='Measure what the node costs, beside references.'
    )
    parser.add_argument(
        '--only', action='append', choices=BENCHMARKS, metavar='NAME',
        help=f'measure this alone; may be given again; one of {", ".join(BENCHMARKS)}',
    )
    parser.add_argument('--short', action='store_true', help='show that it works, in a hurry')
    parser.add_argument('--markdown', action='store_true', help='print tables in Markdown')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the figures there')
    parser.add_argument('--plot', type=Path, metavar='FILE', help='draw the ratios as a PNG')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
