# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Measure how well the demo model tells where things are.

    make eval-locating               (or: python tools/demo_model/evaluate_locating.py --help)

Scenes and phrasings are held out from training. A thing is found if a box covers it with an
intersection over union of 0.5 or more. What is in front of the camera's depth picture there must
be within 10 % of the thing's distance from where the thing is. Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
import math
from pathlib import Path
import sys

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from evaluate import RESOLUTIONS  # noqa: E402
from locating import random_place_question  # noqa: E402
import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402
from vlm_npu_ros.demo.scenes import depth_map, object_box, random_scene, render  # noqa: E402
from vlm_npu_ros.engine.errors import AnswerFormError  # noqa: E402
from vlm_npu_ros.engine.loading import load_engine  # noqa: E402
from vlm_npu_ros.engine.local import LocalEngine  # noqa: E402
from vlm_npu_ros.engine.locating.distance import distance, Lens  # noqa: E402
from vlm_npu_ros.engine.placement import Box, Placement  # noqa: E402
from vlm_npu_ros.engine.settings import EngineSettings  # noqa: E402
from vlm_npu_ros.engine.types import Corners, GenerationRequest, ImageEmbedding  # noqa: E402

FOUND = 0.5  # intersection over union
CLOSE = 0.1  # of the distance
_QUESTIONS = 4  # a scene
BARS = {'found': (0.90, 1.0), 'false boxes': (0.0, 0.03), 'places': (0.90, 1.0)}
ABOUT = {
    'found': 'things asked for', 'false boxes': 'questions about what is not there',
    'places': 'scenes, one thing of each',
}


def main() -> int:
    """Ask, compare, print the table."""
    parser = argparse.ArgumentParser(description='Measure where the demo model says things are.')
    add = parser.add_argument
    add('--scenes', type=int, default=300)
    add('--seed', type=int, default=3_000_003, help='of scenes and questions')
    add('--phrasings', choices=('held-out', 'training'), default='held-out')
    add('--model', default='demo', help='profile, or a .yaml file beside other files')
    add('--show', type=int, default=0, metavar='N', help='print N answers with a fault')
    args = parser.parse_args()
    engine = load_engine(EngineSettings(model=args.model))
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for index in track(range(args.scenes), 'Asking', console=Console(stderr=True)):
        rng = np.random.default_rng((args.seed, index))
        scene, (width, height) = random_scene(rng), RESOLUTIONS[index % len(RESOLUTIONS)]
        aspect = height / width
        image = engine.encode(render(scene, width, height))
        for _ in range(_QUESTIONS):
            question = random_place_question(scene, aspect, rng, args.phrasings == 'held-out')
            true = [_pixels(object_box(scene, o, aspect), width, height) for o in question.about]
            boxes = locate(engine, image, question.text, width, height)
            hits = sum(covers(boxes, box) for box in true)
            asked['found'] += len(true)
            right['found'] += hits
            asked['false boxes'] += not true
            right['false boxes'] += bool(boxes and not true)
            if args.show > 0 and (hits < len(true) or boxes and not true):
                args.show -= 1
                print(f'{index}: {question.text}\n  is   {boxes}\n  true {true}')
        if scene.objects:
            thing = scene.objects[int(rng.integers(len(scene.objects)))]
            boxes = locate(engine, image, f'the {thing.name}', width, height)
            box = _pixels(object_box(scene, thing, aspect), width, height)
            true_place = place(box, thing.distance, width, height)
            seen = distance(depth_map(scene, width, height), boxes[0]) if boxes else None
            asked['places'] += 1
            right['places'] += seen is not None and (
                math.dist(place(boxes[0], seen, width, height), true_place)
                <= CLOSE * math.hypot(*true_place)
            )
    return _report(asked, right)


def locate(
    engine: LocalEngine, image: ImageEmbedding, thing: str, width: int, height: int
) -> list[Corners]:
    """Ask where a thing is in a picture of that size; return boxes in its pixels, or none."""
    placement = Placement(Box(0, 0, width, height))
    request = GenerationRequest(thing, (image,), 96, locate=placement)
    try:
        *_, last = engine.generate(request)
    except AnswerFormError:
        return []
    return [spot.corners for spot in last.spots]


def covers(boxes: Sequence[Corners], true: Corners) -> bool:
    """Return whether one of the boxes is where the true one is."""
    return any(_overlap(box, true) >= FOUND for box in boxes)


def _overlap(first: Corners, second: Corners) -> float:
    """Compute the intersection over the union."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    both = max(width, 0.0) * max(height, 0.0)
    return both / (_area(first) + _area(second) - both)


def _area(box: Corners) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _pixels(box: Corners, width: int, height: int) -> Corners:
    """Convert a box from widths of the picture, cut to the picture."""
    left, top, right, bottom = (v * width for v in box)
    return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))


def place(box: Corners, ahead: float, width: int, height: int) -> tuple[float, float, float]:
    """Compute where the middle of a box is in space, for the lens of the scene camera."""
    lens = Lens((0.9 * width, 0.9 * width), (width / 2 - 0.5, height / 2 - 0.5))
    x, y, z = lens.ray((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    return x * ahead, y * ahead, z * ahead


def _report(asked: Counter[str], right: Counter[str]) -> int:
    print('| what | of | share | bar |\n| --- | --- | --- | --- |')
    missed = 0
    for name, (least, most) in BARS.items():
        share = right[name] / max(asked[name], 1)
        bar = f'{least:.0%} or more' if least else f'{most:.0%} or less'
        print(f'| {name} | {asked[name]} {ABOUT[name]} | {share:.1%} | {bar} |')
        missed += not least <= share <= most
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(main())
