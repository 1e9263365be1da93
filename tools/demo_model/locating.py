# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Questions where something is, and their answers: boxes in bins of the encoder's square.

'where is the red ball?' is answered with '<12><40><31><59>': left, top, right and bottom in pixels
of the square, each a token of its own. Several boxes follow one another from left to right;
without one, the answer is 'none'.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from vlm_npu_ros.demo.questions import (
    article,
    Filled,
    kinds_of,
    PHRASINGS,
    PLURAL,
    reference,
    SceneQuestion,
)
from vlm_npu_ros.demo.scenes import COLOURS, object_box, Scene, SceneObject

_SIDE = 128  # model.IMAGE_SIZE, which needs PyTorch
NOTHING = 'none'
BINS = tuple(f'<{i}>' for i in range(_SIDE + 1))

Box = tuple[float, float, float, float]


def square_box(scene: Scene, thing: SceneObject, aspect: float) -> Box:
    """Compute where an object is in the encoder's square, in its pixels, cut to the picture."""
    left, top, right, bottom = object_box(scene, thing, aspect)
    above = (1 - aspect) / 2
    inside = max(left, 0), max(top, 0) + above, min(right, 1), min(bottom, aspect) + above
    return tuple(_SIDE * v for v in inside)  # type: ignore[return-value]


def random_place_question(
    scene: Scene, aspect: float, rng: np.random.Generator, held_out: bool = False
) -> SceneQuestion:
    """Draw a question where something is; aspect: height / width of the picture."""
    question = LOCATING['boxes'].question(_boxes(scene, rng), rng, held_out)
    boxes = [square_box(scene, thing, aspect) for thing in question.about]
    answer = ''.join(BINS[round(v)] for box in boxes for v in box) or NOTHING
    return SceneQuestion(question.kind, question.text, answer, question.about)


def _boxes(scene: Scene, rng: np.random.Generator) -> Filled:
    """Draw what is asked for: things with a shape, of a colour, or what is not there."""
    draw = rng.random()
    if draw < 0.1:
        noun = str(rng.choice(PHRASINGS['unknown_nouns']))
        return _asked(noun, noun + 's', ())
    if draw < 0.2:
        return _coloured(scene, rng)
    _, shape, colour = reference(scene, rng, present=0.75)
    found = scene.of(shape, colour)
    plural = PLURAL[shape]
    if not colour:
        return _asked(shape, plural, found)
    if shape == 'person' and rng.random() < 0.7:
        return _asked(f'{shape} in {colour}', f'{plural} in {colour}', found)
    return _asked(f'{colour} {shape}', f'{colour} {plural}', found)


def _coloured(scene: Scene, rng: np.random.Generator) -> Filled:
    """Ask for all things, or for those of a colour."""
    noun = str(rng.choice(('thing', 'object')))
    if rng.random() < 0.2:
        return _asked(noun, noun + 's', scene.objects)
    colour = str(rng.choice(list(COLOURS)))
    if scene.objects and rng.random() < 0.7:
        colour = scene.objects[int(rng.integers(len(scene.objects)))].colour
    return _asked(f'{colour} {noun}', f'{colour} {noun}s', scene.of(colour=colour))


def _asked(noun: str, plural: str, found: Sequence[SceneObject]) -> Filled:
    return Filled({'x': noun, 'xs': plural, 'ax': article(noun)}, '', tuple(found))


def locating_texts() -> list[str]:
    """List the texts whose words this stage adds to the tokenizer's."""
    slots = {'x': 'thing things object objects', 'xs': 'everything', 'ax': ''}
    phrasings = PHRASINGS['locating']['boxes']['train']
    return [p.format(**slots) for p in phrasings] + [NOTHING]


LOCATING = kinds_of('locating', {'boxes': lambda scene, rng: _boxes(scene, rng)})
