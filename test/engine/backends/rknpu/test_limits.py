from __future__ import annotations

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


def looped_at(tokens: list[int]) -> int | None:
    guard = RepetitionGuard()
    return next((i for i, token in enumerate(tokens) if guard.push(token)), None)


@pytest.mark.parametrize('block, stopped', [([7], 31), ([1, 2], 31), (list(range(40)), 159)])
def test_loop_is_noticed(block: list[int], stopped: int) -> None:
    assert looped_at(block * 100) == stopped


def test_loop_is_noticed_behind_other_text() -> None:
    assert looped_at([*range(100, 150), *[1, 2, 3] * 50]) == 50 + 32 - 1 + 0


@pytest.mark.parametrize('tokens', [
    list(range(500)),
    [1, 2, 3] * 7,  # 'very very very'
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, *range(20, 40)] * 3,
    [token for i in range(60) for token in (1, 2, i)],  # a list
])
def test_text_that_only_repeats_itself_a_little_is_no_loop(tokens: list[int]) -> None:
    assert looped_at(tokens) is None
