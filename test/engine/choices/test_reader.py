# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from vlm_npu_ros.engine.choices.reader import AnswerReader, Decision, parsed
import yaml

DATA = Path(__file__).parents[2] / 'data'
UNDECIDED, UNCLEAR = 'undecided', 'unclear'
Row = tuple[tuple[str, ...], str, str]  # choices, answer, what it decides for


def table() -> list[Row]:
    groups = yaml.safe_load((DATA / 'decisions.yaml').read_text(encoding='utf-8'))
    return [
        (tuple(group['choices']), text, expected)
        for group in groups for expected in group if expected != 'choices'
        for text in group[expected]
    ]


def hostile() -> list[dict[str, Any]]:
    rows = yaml.safe_load((DATA / 'decisions_hostile.yaml').read_text(encoding='utf-8'))
    return [{'choices': ['yes', 'no'], 'also': [], **row} for row in rows]


ROWS = table()


def read(choices: tuple[str, ...], *pieces: str, **how: Any) -> Decision | None:
    reader = AnswerReader(choices, **how)
    for piece in pieces:
        reader.add(piece)
    return reader.end()


def name(choices: tuple[str, ...], decision: Decision | None) -> str:
    if decision is None:
        return UNDECIDED
    return UNCLEAR if decision.index is None else choices[decision.index]


def test_table() -> None:
    wrong = [
        f'{text!r} of {choices}: {found}, not {expected}' for choices, text, expected in ROWS
        if (found := name(choices, read(choices, text))) != expected
    ]
    assert not wrong, '\n'.join(wrong)


def test_no_hostile_answer_is_misread() -> None:
    for row in hostile():
        choices = tuple(map(str, row['choices']))
        found = name(choices, read(choices, row['answer']))
        assert found in (UNDECIDED, UNCLEAR, str(row['want']), *map(str, row['also'])), row


def test_single_characters_decide_as_the_whole() -> None:
    for choices, text, _ in ROWS:
        for quick in (False, True):
            assert read(choices, *text, quick=quick) == read(choices, text, quick=quick), text


@given(row=st.sampled_from(ROWS), cuts=st.lists(st.integers(0, 100)))
def test_cuts_make_no_difference(row: Row, cuts: list[int]) -> None:
    choices, text = row[0], row[1]
    ends = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in zip(ends, ends[1:], strict=False)]
    assert read(choices, *pieces) == read(choices, text)


@given(row=st.sampled_from(ROWS), more=st.text(), quick=st.booleans())
def test_early_decision_stands_whatever_follows(row: Row, more: str, quick: bool) -> None:
    choices, text = row[0], row[1]
    early = AnswerReader(choices, quick=quick).add(text)
    assert early is None or read(choices, text, more, quick=quick) == early


ALPHABET = st.one_of(
    st.characters(),
    st.sampled_from(['yes', 'no', 'not ', 'red', ' or ', ', ', '. ', "'", '-', '<think>', '2']),
)


@settings(deadline=None)
@given(parts=st.lists(ALPHABET), choices=st.sampled_from([row[0] for row in ROWS] + [()]))
def test_any_text_can_be_read(parts: list[str], choices: tuple[str, ...]) -> None:
    text = ''.join(parts)
    for how in ({}, {'quick': True}, {'in_sentences': True}):
        decision = read(choices, text, **how)
        assert decision == read(choices, *text, **how)
        assert decision is None or 0 <= decision.start <= len(text)


@settings(deadline=None)
@given(st.lists(
    st.text('abc aß漢가か12-+.,/\u0301', min_size=1).filter(str.strip), min_size=1, max_size=8
))
def test_choice_decides_for_itself_or_nothing(names: list[str]) -> None:
    for index, choice in enumerate(names):
        decision = read(tuple(names), choice)
        assert decision is None or decision.index in (index, None) or (
            names[decision.index].strip().casefold() == choice.strip().casefold()
        )


@pytest.mark.parametrize(('text', 'quick', 'full'), [
    ('Yes.', 'Yes.', None),
    ('Yes, the door is open. It', 'Yes,', 'Yes, the door is open. '),
    ('Yes.\n\nThe door is open.\nIt', 'Yes.', 'Yes.\n\nThe door is open.\n'),
    ('No, of course! The door is closed. It', 'No,', 'No, of course! The door is closed. '),
    ('Yes the door is open.', None, None),
])
def test_decision_comes_early(text: str, quick: str | None, full: str | None) -> None:
    for expected, is_quick in ((quick, True), (full, False)):
        reader = AnswerReader(('yes', 'no'), quick=is_quick)
        needed = next((text[:end] for end in range(1, len(text) + 1) if reader.add(
            text[end - 1:end])), None)
        assert needed == expected


def test_start_is_where_the_deciding_words_begin() -> None:
    starts = {
        'Yes.': 0, '  **Yes**': 4, '{"answer": "no"}': 12, '<b>no</b>': 3, '是的': 0,
    }
    found = {text: read(('yes', 'no'), text) for text in starts}
    assert {text: decision and decision.start for text, decision in found.items()} == starts


def test_choice_in_a_sentence_needs_a_probability() -> None:
    choices = ('red', 'blue')
    found = read(choices, 'The door is blue.', in_sentences=True)
    assert found == Decision(1, 12, 'blue', by_words=False)
    for text in ('The door is not blue.', 'The red door is blue.', 'I think it is blue.'):
        assert read(choices, text, in_sentences=True) is None
    assert read((), 'There are no doors.', in_sentences=True) == Decision(0.0, 10, 'no', False)


NUMBERS = {
    '3': 3, '3.': 3, '**12**': 12, '-4': -4, '2.5': 2.5, '2,5': 2.5, '0,125': 0.125,
    '1.234.567': 1234567, '1,234.5': 1234.5, '1.234,56': 1234.56, 'None.': 0, 'Zero boxes.': 0,
    'Answer: 7': 7, '{"count": 4}': 4, '4 red boxes.': 4, 'Sieben.': 7, 'douze': 12, 'Keine.': 0,
    'ocho': 8, 'due': 2, 'três': 3, 'vijf': 5, 'sju': 7, 'pięć': 5, 'десять': 10, 'dokuz': 9,
    '三个箱子。': 3, '二つ': 2, '다섯 개': 5, 'أربعة': 4, 'तीन': 3, '٦': 6, 'twelve': 12,
    'about a dozen': None, 'a few': None, '3 or 4': None, '3-4': None, '1,500': None,
    '1.500': None, 'twenty-one': None, '3, maybe 4': None, '12:30': None, '3rd': None,
    'There are 3.': None, '2 of the 3': None, '½': None, 'At least 5.': None, '5 or so.': None,
    '5 thousand': None, '2 dozen': None, 'drei Paare': None, '20%': None, 'Count: 4': 4,
    '1. There is a man. 2. There is a dog.': None, '2) a lamp': None,
    '一些': None, 'One cannot tell.': None, '7? No, 8.': None, '': None,
}


def test_numbers() -> None:
    for text, number in NUMBERS.items():
        found = read((), text)
        assert (found and found.value) == number, text
        assert read((), *text) == found


def test_unit_of_a_number() -> None:
    units = {'12 V': 'V', '12V.': 'V', '40 %': '%', '21,5 °C': '°C', '3': 'm'}
    assert all(read((), text, unit=unit) for text, unit in units.items())
    assert read((), '12 V', unit='A') is None and read((), '3 boxes', unit='m') is None


@given(st.integers(-10**9, 10**9), st.sampled_from('.,'), st.integers(0, 99))
def test_written_numbers_are_read_back(whole: int, mark: str, cents: int) -> None:
    assert parsed(str(whole)) == whole
    assert parsed(f'{whole}{mark}{cents:02}') == float(f'{whole}.{cents:02}')


@pytest.mark.parametrize('part', [
    'word ', 'a', 'no obstacle ', 'not ', "'", '-', '1.', '\u0301\u0316', '한', '红', '<think>',
    ' ', '"', '(', 'yes. ', '1,', '12 ', '.\n',
])
def test_long_answers_take_linear_time(part: str) -> None:
    begin = time.process_time()
    for choices in (('left', 'right', '红' * 30), ()):
        read(choices, part * (50_000 // len(part)), in_sentences=True)
    assert time.process_time() - begin < 20.0


def test_many_long_choices() -> None:
    choices = tuple(f'{"long " * 18}name {index:02}' for index in range(64))
    found = read(choices, f'{choices[63].upper()}.')
    assert found and found.index == 63
