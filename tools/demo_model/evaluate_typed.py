# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Measure how the demo model decides: yes, no, one of several, or unclear.

    make eval-typed                  (or: python tools/demo_model/evaluate_typed.py --help)

Scenes and phrasings are held out from training. A question about something that is not there
must be unclear, unless it asks whether it is there. Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
import sys
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402
from vlm_npu_ros.demo.questions import PLACE, random_question, SceneQuestion  # noqa: E402
from vlm_npu_ros.demo.scenes import COLOURS, random_scene, render, Scene, SHAPES  # noqa: E402
from vlm_npu_ros.engine.loading import load_engine  # noqa: E402
from vlm_npu_ros.engine.settings import EngineSettings  # noqa: E402
from vlm_npu_ros.engine.types import GenerationRequest, UNCLEAR, Verdict, YES_NO  # noqa: E402

WAYS = ('probability', 'asked_back')
BINS = 10
ERROR_BAR = 0.03  # of the expected calibration error
BARS = {'yes or no': 0.97, 'choice': 0.95, 'unclear': 0.90}
YES_NO_KINDS = (
    'exists', 'anything', 'path_clear', 'path_blocked', 'is_colour', 'is_side', 'is_near'
)
CHOICE_KINDS = ('colour', 'where', 'count', 'nearest', 'leftmost', 'rightmost')


class Typed(NamedTuple):
    """A question, its choices and the true one, or unclear."""

    question: SceneQuestion
    choices: tuple[str, ...]
    truth: str


def main() -> int:
    """Ask, compare, print the table."""
    parser = argparse.ArgumentParser(description='Measure how the demo model decides.')
    add = parser.add_argument
    add('--scenes', type=int, default=500, help='scenes, each with a question of each kind')
    add('--seed', type=int, default=2_000_003, help='of scenes and questions')
    add('--min-confidence', type=float, default=0.5, help='a choice less likely is unclear')
    add('--off', choices=WAYS, nargs='*', default=(), help='ways that must not decide')
    add('--show', type=int, default=0, metavar='N', help='print N wrong verdicts')
    args = parser.parse_args()
    engine = load_engine(EngineSettings())
    if 'probability' in args.off:
        model = engine._language_model
        model.score, model.tells_probabilities = lambda *_: None, False
    sure: list[tuple[float, bool]] = []  # probability of a choice, and whether it was right
    asked: Counter[tuple[str, str]] = Counter()
    right: Counter[tuple[str, str]] = Counter()
    for index in track(range(args.scenes), 'Asking', console=Console(stderr=True)):
        rng = np.random.default_rng((args.seed, index))
        scene = random_scene(rng)
        image = engine.encode(render(scene, 640, 480))
        for typed in _questions(scene, rng):
            verdict, said = None, ''
            for chunk in engine.generate(GenerationRequest(
                typed.question.text, (image,), 32,
                choices=typed.choices, min_probability=args.min_confidence,
                ask_back='asked_back' not in args.off,
            )):
                verdict, said = chunk.verdict, said + chunk.text
            assert verdict
            found = UNCLEAR if verdict.index is None else typed.choices[verdict.index]
            key = _group(typed), typed.question.kind
            asked[key] += 1
            right[key] += found == typed.truth
            if verdict.index is not None and verdict.probability is not None:
                sure.append((verdict.probability, found == typed.truth))
            if found != typed.truth and args.show > 0:
                args.show -= 1
                _show(typed, said, found, verdict)
    return _report(asked, right) | _calibration(sure)


def _questions(scene: Scene, rng: np.random.Generator) -> Iterator[Typed]:
    """Yield a question of each kind that makes sense for the scene."""
    for kind in (*YES_NO_KINDS, *CHOICE_KINDS):
        with suppress(ValueError):  # no clear answer for this scene
            question = random_question(scene, rng, kind, held_out=True)
            typed = _yes_no(question) if kind in YES_NO_KINDS else _choice(scene, question, rng)
            if typed:
                yield typed


def _yes_no(question: SceneQuestion) -> Typed | None:
    for choice in YES_NO:
        if question.answer.lower().startswith(choice + ','):
            return Typed(question, YES_NO, choice)
    return Typed(question, YES_NO, UNCLEAR) if question.missing else None


def _choice(scene: Scene, question: SceneQuestion, rng: np.random.Generator) -> Typed | None:
    """Add choices to the question; None if the answer names several things."""
    about, kind = question.about, question.kind
    if kind == 'count':
        numbers = tuple(str(n) for n in range(1, 5))
        return Typed(question, numbers, str(len(about))) if about else None
    if len(about) > 1 or not (about or question.missing):
        return None
    choices = {
        'colour': tuple(COLOURS),
        'where': tuple(PLACE.values()),
    }.get(kind) or _names(scene, rng)
    if not about:
        return Typed(question, choices, UNCLEAR)
    thing = about[0]
    truth = {'colour': thing.colour, 'where': PLACE[thing.side]}.get(kind, thing.name)
    return Typed(question, choices, truth)


def _names(scene: Scene, rng: np.random.Generator) -> tuple[str, ...]:
    """Name what is there and two things that are not, in random order."""
    names = {thing.name for thing in scene.objects}
    while len(names) < len(scene.objects) + 2:
        shape, colour = rng.choice(SHAPES), rng.choice(list(COLOURS))
        names.add(f'person in {colour}' if shape == 'person' else f'{colour} {shape}')
    return tuple(str(name) for name in rng.permutation(sorted(names)))


def _group(typed: Typed) -> str:
    if typed.truth == UNCLEAR:
        return 'unclear'
    return 'yes or no' if typed.choices == YES_NO else 'choice'


def _show(typed: Typed, said: str, found: str, verdict: Verdict) -> None:
    print(f'{typed.question.kind}: {typed.question.text} {typed.choices}')
    print(f'  said {said!r} -> {found} ({verdict.probability}), true {typed.truth}')


def _calibration(sure: list[tuple[float, bool]]) -> int:
    """Print how far probabilities and shares of right choices are apart; 1 = too far."""
    if not sure:
        return 0
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for probability, is_right in sure:
        bins[min(int(probability * BINS), BINS - 1)].append((probability, is_right))
    error = sum(abs(sum(p for p, _ in each) - sum(r for _, r in each)) for each in bins)
    error /= len(sure)
    certain = [is_right for probability, is_right in sure if probability >= 0.9]
    print(f'Expected calibration error {error:.3f} (bar {ERROR_BAR}) of {len(sure)} choices.')
    if certain:
        share = sum(certain) / len(certain)
        print(f'Confidence of 0.9 or more: {len(certain)} choices, {share:.1%} right.')
    return int(error > ERROR_BAR)


def _report(asked: Counter[tuple[str, str]], right: Counter[tuple[str, str]]) -> int:
    print('| truth | kind | questions | right |\n| --- | --- | --- | --- |')
    missed = 0
    for group, bar in BARS.items():
        kinds = sorted(kind for g, kind in asked if g == group)
        for kind in kinds:
            key = group, kind
            print(f'| {group} | {kind} | {asked[key]} | {right[key] / asked[key]:.1%} |')
        total = sum(asked[group, kind] for kind in kinds)
        if not total:  # of few scenes
            continue
        share = sum(right[group, kind] for kind in kinds) / total
        print(f'| **{group}** | all, bar {bar:.0%} | {total} | **{share:.1%}** |')
        missed += share < bar
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(main())
