from __future__ import annotations

from pathlib import Path
import time

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from vlm_npu_ros.engine.choices.reader import AnswerReader, Decision
import yaml

UNCLEAR = 'unclear'
Row = tuple[tuple[str, ...], str, str]  # choices, answer, what it decides for


def table() -> list[Row]:
    path = Path(__file__).parents[2] / 'data' / 'decisions.yaml'
    groups = yaml.safe_load(path.read_text(encoding='utf-8'))
    return [
        (tuple(group['choices']), text, expected)
        for group in groups for expected in group if expected != 'choices'
        for text in group[expected]
    ]


ROWS = table()


def read(choices: tuple[str, ...], *pieces: str) -> Decision:
    reader = AnswerReader(choices)
    for piece in pieces:
        reader.add(piece)
    return reader.end()


def name(choices: tuple[str, ...], decision: Decision) -> str:
    return UNCLEAR if decision.index is None else choices[decision.index]


def test_table() -> None:
    wrong = [
        f'{text!r} of {choices}: {found}, not {expected}' for choices, text, expected in ROWS
        if (found := name(choices, read(choices, text.replace('¦', '')))) != expected
    ]
    assert not wrong, '\n'.join(wrong)


def test_decision_comes_early() -> None:
    late = [
        f'{text!r} of {choices}: {decision}, not {expected}' for choices, text, expected in ROWS
        if '¦' in text and (
            (decision := AnswerReader(choices).add(text.partition('¦')[0])) is None
            or name(choices, decision) != expected
        )
    ]
    assert not late, '\n'.join(late)


def test_single_characters_decide_as_the_whole() -> None:
    texts = [(choices, text.replace('¦', '')) for choices, text, _ in ROWS]
    differing = [row for row in texts if read(row[0], *row[1]) != read(*row)]
    assert not differing, '\n'.join(map(str, differing))


@given(row=st.sampled_from(ROWS), cuts=st.lists(st.integers(0, 100)))
def test_cuts_make_no_difference(row: Row, cuts: list[int]) -> None:
    choices, text = row[0], row[1].replace('¦', '')
    ends = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in zip(ends, ends[1:], strict=False)]
    assert read(choices, *pieces) == read(choices, text)


@given(row=st.sampled_from(ROWS), more=st.text())
def test_early_decision_stands_whatever_follows(row: Row, more: str) -> None:
    choices, text = row[0], row[1].replace('¦', '')
    early = AnswerReader(choices).add(text)
    assert early is None or read(choices, text + more) == early


ALPHABET = st.one_of(
    st.characters(),
    st.sampled_from(['yes', 'no', 'not ', 'red', ' or ', ', ', '. ', "'", '-', '<think>', '2']),
)


@settings(deadline=None)
@given(parts=st.lists(ALPHABET), choices=st.sampled_from([row[0] for row in ROWS]))
def test_any_text_can_be_read(parts: list[str], choices: tuple[str, ...]) -> None:
    text = ''.join(parts)
    decision = read(choices, text)
    assert decision == read(choices, *text)
    assert 0 <= decision.start <= len(text)


@settings(deadline=None)
@given(st.lists(st.text('abc aß漢가か12-+.,/\u0301', min_size=1), min_size=1, max_size=8))
def test_choice_decides_for_itself_or_nothing(names: list[str]) -> None:
    choices = tuple(names)
    for index, choice in enumerate(choices):
        assert read(choices, choice).index in (index, None)


def test_start_is_where_the_deciding_words_begin() -> None:
    starts = {
        'Yes.': 0,
        '  **Yes**': 4,
        '{"answer": "no"}': 12,
        '<think>no</think>yes': 17,
        '<b>no</b>': 3,
        'It is unclear.': 6,
        'nothing here': 12,
        '是的': 0,
    }
    assert {text: read(('yes', 'no'), text).start for text in starts} == starts


def test_decision_stays() -> None:
    reader = AnswerReader(('yes', 'no'))
    assert reader.add('Yes') is None
    assert reader.add('. ') == Decision(0, 0)
    assert reader.add('No.') == reader.end() == reader.end() == Decision(0, 0)


@pytest.mark.parametrize('part, size', [
    ('word ', 300_000), ('a', 300_000), ('no obstacle ', 200_000), ('not ', 200_000),
    ("'", 200_000), ('-', 200_000), ('1.', 200_000), ('\u0301\u0316', 200_000), ('한', 100_000),
    ('红', 100_000), ('<think>', 200_000), (' ', 200_000),
])
def test_long_answers_take_linear_time(part: str, size: int) -> None:
    begin = time.process_time()
    read(('left', 'right', '红' * 30), part * (size // len(part)))
    assert time.process_time() - begin < 30.0


def test_many_long_choices() -> None:
    choices = tuple(f'{"long " * 18}name {index:02}' for index in range(64))
    assert read(choices, f'It is the {choices[63].upper()}.').index == 63
