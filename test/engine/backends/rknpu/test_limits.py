# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
import pytest
from vlm_npu_ros.engine.backends.rknpu.limits import RepetitionGuard, StopStrings

STOPS = ('<|im_end|>', '<end_of_utterance>')


def cut(pieces: list[str], stops: tuple[str, ...] = STOPS) -> tuple[str, bool]:
    stop = StopStrings(stops)
    text = ''.join(map(stop.push, pieces)) + stop.finish()
    return text, stop.found


@pytest.mark.parametrize('pieces, text, found', [
    (['a red ball'], 'a red ball', False),
    (['a red', ' ball<|im_end|>'], 'a red ball', True),
    (['ball<', '|im', '_end|', '>and more', ' and more'], 'ball', True),
    (['2 <', '3 and <|im_', 'age'], '2 <3 and <|im_age', False),
    (['<<|im_end|>'], '<', True),
    (['x<|im_end|', '|'], 'x<|im_end||', False),
    (['a<end_of_utterance>b<|im_end|>'], 'a', True),
    (['left open <end_of'], 'left open <end_of', False),
])
def test_text_is_cut_at_a_stop_string(pieces: list[str], text: str, found: bool) -> None:
    assert cut(pieces) == (text, found)


@given(st.lists(st.text('ab<|>_im end', max_size=6)))
def test_cut_does_not_depend_on_where_the_pieces_end(pieces: list[str]) -> None:
    assert cut(pieces, ('<|im_end|>', 'ab', '<<')) == cut([''.join(pieces)],
                                                          ('<|im_end|>', 'ab', '<<'))


def test_certain_text_is_not_held_back() -> None:
    stop = StopStrings(STOPS)
    assert stop.push('a red ball <') == 'a red ball '
    assert stop.push('b') == '<b'


def looped_at(text: list[str]) -> int | None:
    """Push texts as tokens; return how many were taken when the guard called it a loop."""
    guard = RepetitionGuard()
    ids = {token: number for number, token in enumerate(text)}
    return next((n for n, t in enumerate(text, 1) if guard.push(ids[t], t)), None)


def words(text: str) -> list[str]:
    """Cut a text into tokens as tokenizers do: words with the space before them."""
    return re.findall(r' ?[^\W\d_]+|<[^>]*>|\s|.', text)


@pytest.mark.parametrize('sentence', [
    'The forklift stands beside the pallet. ',
    'I can see the door and the window and ',
    'Es steht ein Wagen vor dem Tor! ',
    'no ',
    '叉车停在货架旁边。',
])
def test_sentences_that_come_again_and_again_are_a_loop(sentence: str) -> None:
    text = words('First something else, once: ' + sentence * 60)
    taken = looped_at(text)
    assert taken is not None
    assert taken <= len(words('First something else, once: ' + sentence)) + 4 * max(
        len(words(sentence)), 8
    )


def rows(row: str, count: int) -> str:
    return f'| part | no |\n|---|---|\n{row * count}| sum | 7 |\n'


@pytest.mark.parametrize('text', [
    rows('| | |\n', 20),
    rows('| bolt M4 | 2 |\n', 15),
    '<table>' + '<tr><td></td><td></td><td></td></tr>' * 12 + '<tr><td>sum</td></tr></table>',
    '- a red chair\n' * 12,
    '1. \n2. \n' * 10,
    'a wooden chair, a wooden chair, ' * 10 + 'a table.',
    'Espresso 2.50\nEspresso 2.50\n' * 6,
    '椅子、' * 20,
    '[0, 0, 0], ' * 16,
    'Name: ' + '_' * 120,
    'Chapter 1 ' + '.' * 90 + ' 3',
    '{"label": "box", "bbox_2d": [1, 2, 3, 4]}, ' * 7,
    'The door is open. The door is open. The door is open. Come in.',
    ' '.join(f'Box {n} is blue.' for n in range(40)),
])
def test_tables_lists_and_short_repetitions_are_no_loop(text: str) -> None:
    assert looped_at(words(text)) is None


@pytest.mark.parametrize('row', ['| | |\n', '<td></td>', '- chair\n', '0, ', '_'])
def test_rows_without_end_are_a_loop(row: str) -> None:
    taken = looped_at(words(row * 400))
    assert taken is not None and 256 <= taken <= 24 * 100


def test_tokens_without_text_are_no_loop_soon() -> None:
    guard = RepetitionGuard()
    assert not any(guard.push(token) for token in [1, 2, 3] * 60)
    assert any(guard.push(token) for token in [1, 2, 3] * 60)
