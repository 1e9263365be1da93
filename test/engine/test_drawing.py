# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What is drawn into pictures: all of it within them, and readable."""

from __future__ import annotations

import numpy as np
import pytest
from vlm_npu_ros.engine import opencv
from vlm_npu_ros.engine.drawing import annotated, Mark, measured, wrapped
from vlm_npu_ros.engine.opencv import drawable

YELLOW = (255, 213, 0)
GREY = np.full((480, 640, 3), 90, np.uint8)


def is_yellow(picture: np.ndarray) -> np.ndarray:
    return (picture == YELLOW).all(axis=2)


def labels(marks: list[Mark]) -> float:
    """Return how many whole labels can be seen, if all have the same size."""
    def area(marks: list[Mark]) -> int:
        bare = [Mark('', mark.box) for mark in marks]
        drawn, without = (annotated(GREY, some, 'where?') for some in (marks, bare))
        return int((drawn != without).any(axis=2).sum())

    return area(marks) / area([Mark(marks[0].label, (300, 200, 0, 0))])


def test_a_box_is_where_it_is_and_the_picture_stays_what_it_was() -> None:
    GREY.flags.writeable = False  # as those of messages are
    drawn = annotated(GREY, [Mark('', (100, 80, 60, 40))], 'what?')
    rows, columns = np.nonzero(is_yellow(drawn))
    edges = rows.min(), rows.max(), columns.min(), columns.max()
    assert np.abs(np.subtract(edges, (80, 119, 100, 159))).max() <= 2  # the line is 3 wide
    assert (GREY == 90).all() and (drawn[90:110, 110:150] == 90).all()
    point = annotated(GREY, [Mark('', (100, 80, 0, 0))], 'what?')
    rows, columns = np.nonzero(is_yellow(point))
    assert (rows.mean(), columns.mean()) == (80, 100)
    part = annotated(GREY, [], 'what?', (100, 80, 60, 40))
    assert not is_yellow(part).any()
    assert (part[80, 100:160] == 255).all()


def test_anything_fits_into_pictures_of_any_size() -> None:
    rng = np.random.default_rng(3)
    texts = (
        '', 'cup', 'a long label ' * 30, 'x' * 5000, '红色盒子' * 50, 'Tür\n\0\ud800', '%s {0}',
    )
    for height, width in (
        (1, 1), (1, 900), (900, 1), (8, 8), (48, 64), (480, 640), (1080, 1920), (2160, 3840),
    ):
        rgb = np.full((height, width, 3), 90, np.uint8)
        boxes = [(0, 0, width, height), (width - 1, height - 1, 1, 1), (width, height, 0, 0)]
        boxes += [tuple(rng.integers(0, max(height, width), 4)) for _ in range(20)]
        boxes = [tuple(map(int, box)) for box in boxes]
        marks = [Mark(texts[i % len(texts)], box) for i, box in enumerate(boxes)]
        for text in texts if height < 1000 else texts[:1]:
            drawn = annotated(rgb, marks, text)
            assert drawn.shape == rgb.shape and (drawn != rgb).any()


def test_labels_cover_neither_each_other_nor_the_text() -> None:
    at_edges = [(0, 0, 90, 90), (600, 0, 40, 90), (0, 400, 90, 80), (600, 400, 40, 80)]
    tight = [(300 + i, 200, 60, 60) for i in range(4)]  # above, within, within, below
    for boxes, seen in ((at_edges, 4), (tight, 4), (tight * 10, 4), ([(10, 470, 30, 9)], 1)):
        marks = [Mark('red cup, 2.00 m', box) for box in boxes]
        assert labels(marks) == pytest.approx(seen, abs=0.45)  # boxes show, too


def test_long_texts_end_in_dots() -> None:
    assert wrapped('', 0.5, 100) == ['']
    for text in ('one two three four five six seven eight nine ten', 'x' * 60):
        whole = wrapped(text, 0.5, 100)
        assert ''.join(whole).replace(' ', '') == text.replace(' ', '')
        two = wrapped(text, 0.5, 100, 2)
        assert len(two) == 2 and two[0] == whole[0] and two[1].endswith('...')
        assert max(measured(line, 0.5) for line in (*whole, *two)) <= 100


def test_what_the_font_lacks_is_written_as_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_new, rows in (
        (False, {
            'a red box': 'a red box', 'Tür, où': 'Tur, ou', '“x” – y…': "'x' - y...",
            '½ of ２': '1?2 of 2', '5 °C': '5 ?C', '红色盒子 box': '? box', '\ud800x': 'x',
            'a\n\tb\0': 'a b', '': '',
        }),
        (True, {'Tür 红色': 'Tür 红色', 'a\n\tb\0': 'a b', '\ud800x': 'x'}),
    ):
        monkeypatch.setattr(opencv, '_DRAWS_UNICODE', is_new)
        for text, expected in rows.items():
            assert drawable(text) == expected
