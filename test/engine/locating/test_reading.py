# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Answers of every format, whole and damaged: boxes, nothing, or an error that quotes them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from vlm_npu_ros.engine.errors import AnswerFormError
from vlm_npu_ros.engine.locating.grounding import Grounding
from vlm_npu_ros.engine.locating.reading import MOST_SPOTS, read
from vlm_npu_ros.engine.models import known_models, load_profile

A, B = (0.1, 0.2, 0.3, 0.6), (0.5, 0.25, 0.75, 0.5)  # boxes in fractions of the picture
SIZE = (500, 400)  # of the picture in pixels
WRONG = 'wrong'  # the answer is an error


def numbers(box: tuple[float, ...], grounding: Grounding) -> list[int]:
    """Write a box as a model with this grounding does."""
    scale = [grounding.scale] * 2 if grounding.scale else SIZE
    xy = [round(v * scale[i % 2]) for i, v in enumerate(box)]
    return [xy[i ^ 1] for i in range(len(xy))] if grounding.order == 'yx' else xy


def as_json(boxes: list[tuple[float, ...]], grounding: Grounding, **more: object) -> str:
    return json.dumps(
        [{grounding.key: numbers(box, grounding), 'label': 'cup', **more} for box in boxes])


def json_answers(g: Grounding) -> list[tuple[str, object]]:
    """List answers and the boxes that they tell."""
    both, one = as_json([A, B], g), as_json([A], g)
    far = json.dumps([{g.key: [v * 4 + 10 for v in numbers(B, g)]}])
    swapped = json.dumps([{g.key: numbers((A[2], A[3], A[0], A[1]), g)}])
    half = json.dumps([{g.key: numbers((A[2], A[1], A[0], A[3]), g)}])
    point = numbers(A[:2], g)
    percent = [f'{v:.0%}' for v in (A if g.order == 'xy' else [A[1], A[0], A[3], A[2]])]
    fractions = list(A if g.order == 'xy' else (A[1], A[0], A[3], A[2]))
    return [
        (both, [A, B]),
        (one, [A]),
        (one[1:-1], [A]),
        (f'```json\n{both}\n```', [A, B]),
        (f'Here they are:\n```\n{both}\n```\nTell me if you need more.', [A, B]),
        (f'There are 2 of them, in 2 places: {both}.', [A, B]),
        (both[:-len(one) // 2], [A]),
        (f'```json\n{both[:-3]}', [A, B]),
        (f'```json\n{one[:len(one) // 3]}', WRONG),
        (json.dumps({'objects': json.loads(both)}), [A, B]),
        (json.dumps({'bbox': numbers(A, g)}), [A]),
        (json.dumps({'cup': numbers(A, g)}), [A]),
        (json.dumps(numbers(A, g)), [A]),
        (json.dumps([{'point_2d': point}]), [(*A[:2], *A[:2])]),
        (json.dumps([{g.key: percent}]), [A]),
        (json.dumps([{g.key: fractions}]), [A]),
        (one.replace('"', "'"), [A]),
        (swapped, WRONG),
        (half, WRONG),
        (far, WRONG),
        (f'{far[:-1]}, {one[1:]}', [A]),
        ('[]', []),
        ('```json\n[]\n```', []),
        ('There is no cup in the picture.', []),
        ("I can't see one.", []),
        ('It is on the left.', WRONG),
        ('[' * 5000, WRONG),
        (json.dumps([{g.key: None, 'label': 'cup'}]), []),
    ]


def tag_answers(g: Grounding) -> list[tuple[str, object]]:
    """List answers and the boxes that they tell."""
    (a, b, c, d), (e, f, h, i) = numbers(A, g), numbers(B, g)
    return [
        (f'cup[[{a}, {b}, {c}, {d}]]', [A]),
        (f'<ref>cup</ref><box>[[{a}, {b}, {c}, {d}], [{e}, {f}, {h}, {i}]]</box>', [A, B]),
        (f'<|object_ref_start|>cup<|object_ref_end|><|box_start|>({a},{b}),({c},{d})<|box_end|>',
         [A]),
        (f'cup({a},{b}),({c},{d})\ncup({e},{f}),({h},{i})', [A, B]),
        (f'<box>{a} {b} {c} {d}</box>', [A]),
        (f'{a} {b} {c} {d}', [A]),
        (f'{a}, {b}, {c}, {d}.', [A]),
        (f'<{a}><{b}><{c}><{d}><{e}><{f}><{h}><{i}>', [A, B]),
        (f'<|ref|>cup<|/ref|><|det|>[[{a}, {b}, {c}, {d}]]<|/det|>', [A]),
        (f'```\ncup[[{a}, {b}, {c}, {d}]]\n```', [A]),
        (f'I count 2, and in 2024 it was [{a}, {b}, {c}, {d}], there.', [A]),
        (f'({a},{b})', [(*A[:2], *A[:2])]),
        (f'cup[[{a}, {b}, {c}, {d}], [{e}, {f}, {h}', [A]),
        (f'cup({a},{b}),({c},{d}', WRONG),
        (f'cup({a},{b}),(', WRONG),
        (f'[[{c}, {d}, {a}, {b}]]', WRONG),
        (f'[[{4 * c}, {b}, {9 * c}, {d}]]', WRONG),
        ('[10%, 20%, 30%, 60%]', [A]),
        ('[0.1, 0.2, 0.3, 0.6]', [A]),
        ('none', []),
        ('[]', []),
        ('It is not there.', []),
        ('The cup is on the left.', WRONG),
        ('1 2 3', WRONG),
    ]


def test_answers_of_every_format_give_boxes_or_an_error() -> None:
    for name in known_models():
        grounding = load_profile(name).grounding
        if grounding is None:
            continue
        answers = json_answers(grounding) if grounding.format == 'json' else tag_answers(grounding)
        for answer, expected in answers:
            told = f'{name}: {answer[:200]}'
            if expected is WRONG:
                with pytest.raises(AnswerFormError) as raised:
                    read(answer, grounding, 'cup', SIZE)
                assert repr(answer[:100])[1:-1] in raised.value.what, told
            else:
                spots, _ = read(answer, grounding, 'the cup?', SIZE)
                assert len(spots) == len(expected), told
                for spot, box in zip(spots, expected, strict=True):
                    np.testing.assert_allclose(spot.corners, box, atol=0.005, err_msg=told)
                    assert spot.label in ('cup', 'the cup'), told


def test_every_beginning_of_an_answer_gives_boxes_of_the_whole_one_or_an_error() -> None:
    for grounding, whole in (
        (Grounding('{object}'), as_json([A, B], Grounding('{object}'))),
        (Grounding('{object}', 'tags'), 'cup(100,200),(300,600) cup(500,250),(750,500)'),
        (Grounding('{object}', 'tags'), 'cup[[100, 200, 300, 600], [500, 250, 750, 500]]'),
        (Grounding('{object}', 'tags'), '<100><200><300><600><500><250><750><500>'),
        (Grounding('{object}', 'tags'), '<box>100 200 300 600</box><box>500 250 750 500</box>'),
    ):
        for end in range(len(whole)):
            try:
                spots, _ = read(whole[:end], grounding, 'cup', SIZE, cut=True)
            except AnswerFormError:
                continue
            assert {spot.corners for spot in spots} <= {A, B}, whole[:end]


def test_labels_and_scores_are_those_of_the_answer() -> None:
    answer = '[{"bbox_2d": [1, 2, 3, 4], "name": "mug", "confidence": 0.75}]'
    (spot,), note = read(answer, Grounding('{object}'), 'cup', SIZE)
    assert (spot.label, spot.score, note) == ('mug', 0.75, '')
    tags = '<ref>mug</ref><box>[[1, 2, 3, 4]]</box><ref>cup</ref><box>[[5, 6, 7, 8]]</box>'
    spots, _ = read(tags, Grounding('{object}', 'tags'), 'thing', SIZE)
    assert [spot.label for spot in spots] == ['mug', 'cup']


def test_a_little_beyond_the_picture_is_clipped_and_what_is_lost_is_told() -> None:
    grounding = Grounding('{object}')
    (spot,), _ = read('[[990, -10, 1015, 1020]]', grounding, 'cup', SIZE)
    assert spot.corners == (0.99, 0, 1, 1)
    spots, note = read('[[10, 10, 20, 20], [10, 10, 2000, 20]]', grounding, 'cup', SIZE)
    assert len(spots) == 1 and note.startswith('1 of 2 places could not be read: [10, 10, 2000')
    many = json.dumps([[i, 0, i + 1, 5] for i in range(900)])
    assert len(read(many, grounding, 'cup', SIZE).spots) == MOST_SPOTS


def test_a_grounding_that_cannot_be_used_is_refused() -> None:
    for values, wrong in (
        ({'prompt': 'find it'}, 'prompt must contain {object}'),
        ({'format': 'xml'}, 'format must be one of json, tags'),
        ({'order': 'zy'}, 'order must be one of xy, yx'),
        ({'scale': -1}, 'scale must be 0 or above'),
    ):
        with pytest.raises(ValueError, match=wrong):
            Grounding(**{'prompt': '{object}', **values})
