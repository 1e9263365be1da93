# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Answers are cut into the sentences that a voice would speak one after the other."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st
import pytest
from vlm_npu_ros.engine.sentences import LONGEST, SentenceSplitter

# The sentences of each text are what | divides.
TEXTS = [
    # Marks and closers
    'The path is clear.| A chair stands on the left.| It is red.',
    'Stop!| Is it clear?| Yes.',
    'What?!| Really?!!| Yes.',
    'It is blocked (see the box).| Go round.',
    'It is blocked. (A box.)| Go round.'.replace('. (', '.| ('),
    'He said "Stop."| Then he left.',
    'He said “Stop!” and left.| Nobody came.',
    "The sign says 'Exit.'| It is green.",
    '**Yes.**| The door is open.',
    'The label is `a.b.`| It is small.',
    'Really?) he asked.| No.',
    'I see a box.And a chair.',
    # Lines
    'I see:|\n- a box|\n- a chair|\nThat is all.',
    'One|\r\nTwo|\n\n\nThree',
    '1. A box|\n2. A chair|\n10. A dog',
    '1. A box. 2. A chair.'.replace('. 2', '.| 2'),
    '- **1. A box**|\n(2. A chair)',
    # Dots that end nothing
    'Some things, e.g. boxes, i.e. Obstacles, are here.| Others are not.',
    'Boxes, chairs, etc. are here.| Others are not.',
    'Boxes (chairs, bags, etc.) are here.',
    'Boxes, chairs, etc.| The path is blocked.',
    'Dr. Smith and Mrs. Jones talk to Mr. Brown.| They stand.',
    'J. R. Smith and A. Miller are here.| They talk.',
    'Room No. 5 is open.| It is empty.',
    'No.| The path is blocked.',
    'See Fig. 3 and p. 12.| It helps.',
    'It is approx. 2 m wide.| It is long.',
    'Boxes vs. Chairs.| A draw.',
    'It is 3.5 m away.| It moves at 0.4 m/s.',
    'It is 3 m.| The door is 10 s.| Go.',
    'There are 3.| The last one is red.',
    'It is version 1.2.3.| It runs.',
    'Look at https://a.example/b.html?x=1.2 now.| Then go.',
    'Open main.py.| It is short.',
    'It opens at 5 p.m. today.| It closes at 6 p.m.| Go then.',
    'The U.S. Army has a Ph.D. Student here.',
    'Well... that is odd.| Wait...| What is it?',
    'Hm… ja.| Gut…| Na dann.',
    # Other languages
    'Der Gang ist ca. 2 m breit, d.h. frei.| Nr. 5 ist z.B. offen.',
    'Das heißt z. B. Kisten, u. a. auch Stühle.| Mehr nicht.',
    'Er rief: „Halt!“| Dann ging er.',
    'Ist es frei?| Ja, Hr. Müller.| Gut.',
    'Bonjour\u202f!| Ça va ?| M. Dupont est là.',
    '«\u00a0Attention\u00a0!\u00a0»| Il part.',
    '¿Está libre?| ¡Sí!| El Sr. López espera.',
    'Путь свободен.| Т. е. можно ехать?| Да.',
    '路是通的。|左边有一把椅子。|走吧',
    '真的吗？！|是的！|好',
    '他说：“停下。”|然后走了。|好',
    '「危ない！」|と言った。|はい',
    '他说！|“停下。”|“走吧。”|好',
    '大约 3.5 米。|很好',
    'हाँ।| रास्ता साफ है।| ठीक',
    'هل الطريق سالك؟| نعم.| حسنا',
    'Yes 👍.| Go 🚀!| Now',
]


def split(*pieces: str) -> list[str]:
    """Return the sentences of a text that comes in these pieces, the rest last if there is any."""
    splitter = SentenceSplitter()
    sentences = [sentence for piece in pieces for sentence in splitter.push(piece)]
    return [*sentences, *filter(None, [splitter.finish()])]


def test_sentences() -> None:
    wrong = []
    for text in TEXTS:
        whole, expected = text.replace('|', ''), [part.strip() for part in text.split('|')]
        wrong += [f'{found}, not {expected}' for found in (split(whole), split(*whole))
                  if found != expected]
    assert not wrong, '\n'.join(wrong)


def test_a_sentence_comes_as_soon_as_it_is_certain() -> None:
    table = {
        'It is clear.': [],
        'It is clear. ': ['It is clear.'],
        'It is clear.\n': ['It is clear.'],
        'It is clear': [],
        'No. ': [],
        'No. T': ['No.'],
        'Wait... ': [],
        '路是通的。': [],
        '路是通的。左': ['路是通的。'],
    }
    assert {text: SentenceSplitter().push(text) for text in table} == table


def test_finish_gives_the_rest_and_begins_anew() -> None:
    splitter = SentenceSplitter()
    assert splitter.push('It is clear. Go') == ['It is clear.']
    assert splitter.finish() == 'Go'
    assert splitter.finish() == ''
    assert splitter.push('on. ') == ['on.']


def test_long_sentences_come_in_parts_that_end_with_a_clause() -> None:
    clause = 'behind the box stands another chair that nobody has ever used, '
    parts = split(clause * 20)
    assert all(part.endswith('used,') for part in parts)
    assert all(LONGEST / 2 < len(part) <= LONGEST for part in parts[:-1])


@pytest.mark.parametrize('text, cut', [
    ('word ' * 200, LONGEST - 1),  # after a word
    ('x' * 1000, LONGEST),  # inside: there is no better place
    ('很' * 1000, LONGEST),
    ('很' * 200 + '，' + '很' * 800, 201),
])
def test_where_a_long_sentence_is_cut(text: str, cut: int) -> None:
    assert split(text)[0] == text[:cut]


def test_white_space_makes_no_sentence() -> None:
    assert split(' \n\t\u00a0\n  ') == []
    assert split('Yes.   \t  No') == ['Yes.', 'No']


PIECES = st.lists(
    st.sampled_from([
        *'aZ5 .!?…。！，,;"”’)*“」ß\n\r\t\u00a0', '. ', '... ', 'etc.', ' No. ', ' e.g. ', 'Dr. ',
        ' 3 m. ', '12. ', 'x' * 150, ' word' * 40, '很' * 90, 'e\u0301', '\U0001f680',
    ]) | st.text(max_size=5),
    max_size=40,
)


@given(PIECES, st.data())
def test_how_it_is_cut_makes_no_difference(pieces: list[str], data: st.DataObject) -> None:
    text = ''.join(pieces)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=10)))
    edges = [0, *cuts, len(text)]
    other = [text[start:end] for start, end in zip(edges, edges[1:], strict=False)]
    assert split(text) == split(*pieces) == split(*other)


@given(PIECES)
def test_nothing_is_lost(pieces: list[str]) -> None:
    sentences = split(*pieces)
    assert ''.join(''.join(sentences).split()) == ''.join(''.join(pieces).split())
    assert all(0 < len(sentence) <= LONGEST for sentence in sentences)
    assert all(sentence == sentence.strip() for sentence in sentences)


@pytest.mark.parametrize('unit', ['.', '。', '”', ' ', 'x', 'etc. ', 'No. ', '1. ', '」。'])
def test_time_grows_with_the_length_only(unit: str) -> None:
    text = unit * (300_000 // len(unit))
    started = time.thread_time()
    split(text)
    assert time.thread_time() - started < 15  # quadratic: many minutes
