# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Reports: what is in the files."""

from __future__ import annotations

from html.parser import HTMLParser
import json
from pathlib import Path
import re

import cv2
import numpy as np
import pytest
from vlm_npu_ros.nav.patrol.files import save
from vlm_npu_ros.nav.patrol.page import page
from vlm_npu_ros.nav.patrol.report import Answered, Report, Visit

EVIL = '<script>alert("&")</script>'
JPEG = cv2.imencode('.jpg', np.full((48, 64, 3), (30, 200, 10), np.uint8))[1].tobytes()


def answered(**fields: object) -> Answered:
    values = {
        'question': 'is the gate shut?', 'kind': 'yes_no', 'expect': 'yes', 'ok': True,
        'answer': 'Yes, it is.', 'choice': 'yes', 'confidence': 0.9,
        'decided_by': 'probability', 'stamp': 12.5,
        'frame_id': 'camera', 'age': 0.25, 'asked': 1000.0, 'picture': 'pictures/001.jpg',
        **fields,
    }
    return Answered(**values)  # type: ignore[arg-type]


def report(*answers: Answered) -> Report:
    return Report(
        'night watch', started=1000.0, outcome='completed', ended=1060.0,
        waypoints=[
            Visit('dock', 'map', 1.0, -2.0, 0.5, True, 1030.0, '', list(answers)),
            Visit('roof', 'map', 3.0, 4.0, 0.0, error='the navigator says FAILED'),
        ],
        pictures={'pictures/001.jpg': JPEG},
    )


@pytest.mark.parametrize('fields, verdict', [
    ({}, 'expected'),
    ({'choice': 'no'}, 'unexpected'),
    ({'choice': 'unclear'}, 'unclear'),
    ({'choice': 'unclear', 'expect': ''}, 'unclear'),
    ({'choice': 'no', 'expect': ''}, 'answered'),
    ({'choice': '', 'expect': '', 'kind': 'text'}, 'answered'),
    ({'ok': False}, 'failed'),
])
def test_verdicts(fields: dict[str, object], verdict: str) -> None:
    assert answered(**fields).verdict == verdict


def test_summary_alarms_and_completeness() -> None:
    found = report(
        answered(), answered(choice='no'), answered(choice='unclear'),
        answered(choice='unclear', expect=''), answered(ok=False),
    )
    assert found.summary == (
        '1 of 2 waypoints reached, 4 of 5 questions answered, 1 not as expected, 2 unclear.'
    )
    assert [alarm.choice for alarm in found.alarms] == ['no', 'unclear']
    assert not found.complete
    found.waypoints.pop()
    assert not found.complete
    found.waypoints[0].answers.pop()
    assert found.complete


def test_json_holds_all(tmp_path: Path) -> None:
    save(report(answered(), answered(ok=False, error_code=9501, error=EVIL)), tmp_path / 'a' / 'b')
    folder = tmp_path / 'a' / 'b'
    told = json.loads((folder / 'report.json').read_text())
    dock, roof = told.pop('waypoints')
    assert told == {
        'mission': 'night watch', 'outcome': 'completed', 'started': 1000.0, 'ended': 1060.0,
    }
    first, second = dock.pop('answers')
    assert dock == {
        'name': 'dock', 'frame_id': 'map', 'x': 1.0, 'y': -2.0, 'yaw': 0.5, 'reached': True,
        'arrived': 1030.0, 'error': '',
    }
    assert first == {
        'question': 'is the gate shut?', 'type': 'yes_no', 'verdict': 'expected', 'choices': [],
        'expect': 'yes', 'answer': 'Yes, it is.', 'choice': 'yes', 'number': 0.0,
        'places': [],
        'confidence': 0.9, 'decided_by': 'probability', 'error_code': 0, 'error': '',
        'asked': 1000.0, 'stamp': 12.5, 'frame_id': 'camera', 'age': 0.25,
        'picture': 'pictures/001.jpg', 'note': '',
    }
    assert (second['verdict'], second['error_code'], second['error']) == ('failed', 9501, EVIL)
    assert (roof['reached'], roof['arrived'], roof['answers']) == (False, None, [])
    assert (folder / first['picture']).read_bytes() == JPEG


class Tags(HTMLParser):
    """Keeps the tags, the links and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ''
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or '' for name, value in attrs if name in ('src', 'href')]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_page_is_one_file_with_all_in_it() -> None:
    text = page(report(answered(), answered(choice='no', answer='No.'), answered(ok=False)))
    tags = Tags(text)
    assert [link.partition(',')[0] for link in tags.links] == ['data:image/jpeg;base64']
    assert 'script' not in tags.tags and 'link' not in tags.tags
    assert not re.search(r'https?://|url\(', text)
    for words in (
        'night watch', '1. dock', '2. roof', 'not reached', 'the navigator says FAILED',
        'as expected', 'not as expected', 'failed', 'confidence 0.90',
        'decided by its probability', 'frame 250 ms old',
        '“Yes, it is.”', 'x 1.00 m, y -2.00 m, 29° in map',
    ):
        assert words in tags.words
    assert '“No.”' not in tags.words  # says no more than the choice
    assert 'prefers-color-scheme: dark' in text and 'name="viewport"' in text


def test_nothing_that_was_said_becomes_markup() -> None:
    found = report(answered(
        question=EVIL, answer=EVIL, choice=EVIL + '.', choices=(EVIL,), expect=EVIL, ok=False,
        error=EVIL, note=EVIL,
    ))
    found.mission = EVIL
    visit = found.waypoints[0]
    visit.name = visit.frame_id = visit.error = EVIL
    text = page(found)
    assert 'script' not in Tags(text).tags
    assert Tags(text).words.count(EVIL) >= 9
    assert '<script' not in text


@pytest.mark.parametrize('places', [
    [], [(1.0, 1.0)], [(1.0, 1.0)] * 3, [(0.0, 0.0), (0.0, 5.0)], [(-9.0, 2.0), (1e6, 2.0)],
])
def test_route_of_any_shape(places: list[tuple[float, float]]) -> None:
    visits = [Visit('a', 'map', x, y, 0.0, True) for x, y in places]
    text = page(Report('night watch', waypoints=visits))
    centres = [tuple(map(float, found)) for found in re.findall(r'cx="(.*?)" cy="(.*?)"', text)]
    assert len(centres) == (len(places) if len(places) > 1 else 0)
    assert all(0 < x < 640 and 0 < y < 240 for x, y in centres)


def test_half_a_character_loses_nothing(tmp_path: Path) -> None:
    found = report(answered(question='what is \ud800?'))
    found.mission = 'Tag\udcfcbersicht'  # a file's name in Latin-1
    save(found, tmp_path)
    told = json.loads((tmp_path / 'report.json').read_text())
    assert told['mission'] == 'Tag?bersicht'
    assert told['waypoints'][0]['answers'][0]['question'] == 'what is ??'
    assert 'Tag?bersicht' in (tmp_path / 'report.html').read_text()


def test_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError):
        save(report(), tmp_path / 'file')
