# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Measure the demo model on scenes and phrasings that it was not trained on.

    make eval-demo-model             (or: python tools/demo_model/evaluate.py --help)

Greedy decoding of the exported files. An answer is right if it equals the only right answer,
character by character. In a dialogue the model reads its own earlier answers, right or wrong.
Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
import json
from pathlib import Path
import sys

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from chat import Chat, ChatModel  # noqa: E402
from dialogues import FOLLOW_UP_KINDS, random_dialogue  # noqa: E402
from frames import encode  # noqa: E402
import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402
from rich.table import Table  # noqa: E402
from sequences import (  # noqa: E402
    ONE_FRAME,
    random_sequence,
    random_sequence_question,
    SEQUENCE_KINDS,
)
from vlm_npu_ros.demo.questions import KINDS, random_question, SceneQuestion  # noqa: E402
from vlm_npu_ros.demo.scenes import random_scene, Scene  # noqa: E402

RESOLUTIONS = ((640, 480), (1280, 720), (320, 240))
GROUPS = {
    'describe': 'description',
    'on_side': 'listing',
    'other': 'not made for',
    'one_picture': 'not made for',
    **dict.fromkeys(SEQUENCE_KINDS, 'sequences'),
    'newest_frame': 'newest of several',
    'between': 'between follow-ups',
    **dict.fromkeys(FOLLOW_UP_KINDS, 'follow-ups'),
}
BARS = {'one attribute': 0.97, 'description': 0.92, 'follow-ups': 0.90, 'sequences': 0.85}

_Dialogues = list[list[SceneQuestion]]


def main() -> int:
    """Ask, compare, print the table."""
    parser = argparse.ArgumentParser(description='Measure the demo model.')
    add = parser.add_argument
    add('--scenes', type=int, default=400, help='scenes, sequences and dialogues, each so many')
    add('--seed', type=int, default=1_000_003, help='of scenes and questions')
    add('--phrasings', choices=('held-out', 'training'), default='held-out')
    add('--only', choices=PARTS, help='measure only a part')
    add('--folder', type=Path, default=REPOSITORY / 'resource' / 'demo_model')
    add('--json', action='store_true', help='print figures as JSON')
    add('--show', type=int, default=0, metavar='N', help='print N wrong answers')
    args = parser.parse_args()
    right, asked, examples = _measure(args)
    figures = {kind: right[kind] / asked[kind] for kind in asked}
    groups = _group(right, asked)
    if args.json:
        report = {'asked': asked, 'kinds': figures, 'examples': examples, 'groups': groups}
        print(json.dumps(report, indent=2))
    else:
        _print_table(figures, asked, groups, examples)
    missed = [g for g, bar in BARS.items() if g in groups and groups[g] < bar]
    for group in missed:
        print(
            f'{group}: {groups[group]:.1%} is below the bar of {BARS[group]:.0%}', file=sys.stderr
        )
    return 1 if missed else 0


def _measure(args: argparse.Namespace) -> tuple[Counter[str], Counter[str], dict[str, str]]:
    """Ask everything; return right answers, questions and an example by kind."""
    model = ChatModel(args.folder)
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    examples: dict[str, str] = {}
    parts = [args.only] if args.only else list(PARTS)
    jobs = [(part, index) for part in parts for index in range(args.scenes)]
    for part, index in track(jobs, 'Asking', console=Console(stderr=True)):
        seed, draw = PARTS[part]
        rng = np.random.default_rng((args.seed, *seed, index))
        frames, dialogues = draw(rng, args.phrasings == 'held-out')
        size = RESOLUTIONS[index % len(RESOLUTIONS)]
        start = model.chat(encode(frames, args.folder / 'vision_encoder.onnx', *size))
        for kind, question, answer in _answers(start, dialogues):
            asked[kind] += 1
            right[kind] += answer == question.answer
            examples.setdefault(kind, question.text)
            if answer != question.answer and args.show > 0:
                args.show -= 1
                print(f'{part} {index} {kind}: {question.text}')
                print(f'  is   {answer}\n  true {question.answer}')
    return right, asked, examples


def _answers(start: Chat, dialogues: _Dialogues) -> Iterator[tuple[str, SceneQuestion, str]]:
    """Yield kind, question and answer; the openings of long dialogues are a kind of their own."""
    for dialogue in dialogues:
        chat = start.copy()
        for question in dialogue:
            kind = question.kind
            if question.answer == ONE_FRAME:
                kind = 'one_picture'
            elif len(dialogue) > 1 and kind not in FOLLOW_UP_KINDS:
                kind = 'between'
            yield kind, question, chat.ask(question.text)


def _single(rng: np.random.Generator, held_out: bool) -> tuple[tuple[Scene, ...], _Dialogues]:
    """Draw a scene and a question of each kind that makes sense for it."""
    scene = random_scene(rng)
    asked = _each(KINDS, lambda kind: random_question(scene, rng, kind, held_out))
    return (scene,), asked


def _sequence(rng: np.random.Generator, held_out: bool) -> tuple[tuple[Scene, ...], _Dialogues]:
    """Draw frames and a question of each kind, and some about the newest frame alone."""
    frames = random_sequence(rng)
    asked = _each(
        SEQUENCE_KINDS, lambda kind: random_sequence_question(frames, rng, kind, held_out)
    )
    newest = [random_question(frames[-1], rng, held_out=held_out) for _ in range(3)]
    return frames, [*asked, *([replace(q, kind='newest_frame')] for q in newest)]


def _dialogue(rng: np.random.Generator, held_out: bool) -> tuple[tuple[Scene, ...], _Dialogues]:
    """Draw frames, a single one twice as often as several, and a dialogue of 2 to 10 turns."""
    frames = random_sequence(rng) if rng.random() < 1 / 3 else (random_scene(rng),)
    return frames, [random_dialogue(frames, rng, int(rng.integers(2, 11)), held_out)]


def _each(kinds: Iterable[str], ask: Callable[[str], SceneQuestion]) -> _Dialogues:
    asked = []
    for kind in kinds:
        with suppress(ValueError):  # no clear answer for this scene
            asked.append([ask(kind)])
    return asked


# An addition to the seed of options and index, and what is asked. The single questions have none,
# so that their figures can be compared with those of earlier versions.
PARTS = {'single': ((), _single), 'sequences': ((1,), _sequence), 'dialogues': ((2,), _dialogue)}


def _group(right: Counter[str], asked: Counter[str]) -> dict[str, float]:
    members: dict[str, list[str]] = defaultdict(list)
    for kind in asked:
        members[GROUPS.get(kind, 'one attribute')].append(kind)
    return {
        group: sum(right[k] for k in kinds) / sum(asked[k] for k in kinds)
        for group, kinds in members.items()
    }


def _print_table(
    figures: dict[str, float],
    asked: Counter[str],
    groups: dict[str, float],
    examples: dict[str, str],
) -> None:
    table = Table('kind', 'questions', 'right', 'example')
    for kind, figure in figures.items():
        table.add_row(kind, str(asked[kind]), f'{figure:.1%}', examples[kind])
    table.add_section()
    for group, figure in groups.items():
        bar = f'bar {BARS[group]:.0%}' if group in BARS else ''
        table.add_row(group, '', f'{figure:.1%}', bar)
    Console().print(table)


if __name__ == '__main__':
    sys.exit(main())
