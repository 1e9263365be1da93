"""
Measure the demo model on scenes and phrasings that it was not trained on.

    make eval-demo-model             (or: python tools/demo_model/evaluate.py --help)

Runs the files in resource/demo_model/ through the engine, as the node does, greedy. An answer is
right if it equals the only right answer, character by character. Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
import json
from pathlib import Path
import sys

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402
from rich.table import Table  # noqa: E402
from vlm_npu_ros.demo.questions import KINDS, random_question  # noqa: E402
from vlm_npu_ros.demo.scenes import random_scene, render  # noqa: E402
from vlm_npu_ros.engine.loading import EngineSettings, load_engine  # noqa: E402
from vlm_npu_ros.engine.types import GenerationRequest  # noqa: E402

RESOLUTIONS = ((640, 480), (1280, 720), (320, 240))
GROUPS = {'describe': 'description', 'on_side': 'listing', 'other': 'not made for'}
BARS = {'one attribute': 0.97, 'description': 0.92}


def main() -> int:
    """Ask, compare, print the table."""
    parser = argparse.ArgumentParser(description='Measure the demo model.')
    parser.add_argument('--scenes', type=int, default=400, help='scenes, one question a kind each')
    parser.add_argument('--seed', type=int, default=1_000_003, help='of scenes and questions')
    parser.add_argument('--phrasings', choices=('held-out', 'training'), default='held-out')
    parser.add_argument('--json', action='store_true', help='print figures as JSON')
    parser.add_argument('--show', type=int, default=0, metavar='N', help='print N wrong answers')
    args = parser.parse_args()
    right, asked = _measure(args)
    figures = {kind: right[kind] / asked[kind] for kind in KINDS}
    groups = _group(right, asked)
    if args.json:
        print(json.dumps({'kinds': figures, 'groups': groups}, indent=2))
    else:
        _print_table(figures, asked, groups)
    missed = [group for group, bar in BARS.items() if groups[group] < bar]
    for group in missed:
        print(
            f'{group}: {groups[group]:.1%} is below the bar of {BARS[group]:.0%}', file=sys.stderr
        )
    return 1 if missed else 0


def _measure(args: argparse.Namespace) -> tuple[Counter[str], Counter[str]]:
    engine = load_engine(EngineSettings())
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for index in track(range(args.scenes), 'Asking', console=Console(stderr=True)):
        rng = np.random.default_rng((args.seed, index))
        scene = random_scene(rng)
        embedding = engine.encode(render(scene, *RESOLUTIONS[index % len(RESOLUTIONS)]))
        for kind in KINDS:
            try:
                question = random_question(scene, rng, kind, args.phrasings == 'held-out')
            except ValueError:
                continue  # no clear answer for this scene
            answer = engine.answer(GenerationRequest(question.text, (embedding,)))
            asked[kind] += 1
            right[kind] += answer == question.answer
            if answer != question.answer and args.show > 0:
                args.show -= 1
                print(
                    f'{index} {kind}: {question.text}\n  is   {answer}\n  true {question.answer}'
                )
    engine.close()
    return right, asked


def _group(right: Counter[str], asked: Counter[str]) -> dict[str, float]:
    members: dict[str, list[str]] = defaultdict(list)
    for kind in KINDS:
        members[GROUPS.get(kind, 'one attribute')].append(kind)
    return {
        group: sum(right[k] for k in kinds) / sum(asked[k] for k in kinds)
        for group, kinds in members.items()
    }


def _print_table(figures: dict[str, float], asked: Counter[str], groups: dict[str, float]) -> None:
    table = Table('kind', 'questions', 'right', 'example')
    for kind, figure in figures.items():
        example = KINDS[kind].held_out[0].format(x='...', xs='...', y='...')
        table.add_row(kind, str(asked[kind]), f'{figure:.1%}', example)
    table.add_section()
    for group, figure in groups.items():
        bar = f'bar {BARS[group]:.0%}' if group in BARS else ''
        table.add_row(group, '', f'{figure:.1%}', bar)
    Console().print(table)


if __name__ == '__main__':
    sys.exit(main())
