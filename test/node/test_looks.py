# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""When an answer is a change."""

from __future__ import annotations

import pytest
from std_msgs.msg import Header
from vlm_npu_ros.engine.types import Chunk, FinishReason, GenerationRequest, Spot, Verdict
from vlm_npu_ros.node.ask import Ask
from vlm_npu_ros.node.ask_options import AskOptions
from vlm_npu_ros.node.frames import Freshness
from vlm_npu_ros.node.looks import Hysteresis, outcome, said


@pytest.mark.parametrize(
    ('agreeing', 'said', 'changes'),
    [
        (0, 'yynnyy', 'y-n-y-'),
        (1, 'yynnyy', 'y-n-y-'),
        (2, 'yynnyy', '-y-n-y'),
        (2, 'ynynyn', '------'),
        (2, 'ynynnyny', '----n---'),
        (3, 'yyynnynnnyyy', '--y-----n--y'),
        (3, 'yyynnyyy', '--y-----'),
        (2, 'yy?nn', '-y--n'),
    ],
)
def test_so_many_in_a_row_are_a_change(agreeing: int, said: str, changes: str) -> None:
    hysteresis = Hysteresis(agreeing)
    found = ''.join(
        letter if hysteresis.add(letter, number) else '-' for number, letter in enumerate(said)
    )
    assert found == changes


def test_a_choice_is_since_the_first_look_that_said_so() -> None:
    hysteresis = Hysteresis(3)
    for number, letter in enumerate('nynyyynyyynn'):
        hysteresis.add(letter, number)
    assert (hysteresis.said, hysteresis.since) == ('y', 3)
    hysteresis.add('n', 12)
    assert (hysteresis.said, hysteresis.since) == ('n', 10)


@pytest.mark.parametrize(
    ('choices', 'text', 'verdict', 'expected'),
    [
        (('yes', 'no'), 'Yes, it is.', Verdict(0), 'yes'),
        (('Left', 'Right'), 'left? right?', Verdict(None, 0.3), 'unclear'),
        ((), '  A Red box.\n', None, 'a red box.'),
    ],
)
def test_what_is_compared(
    choices: tuple[str, ...], text: str, verdict: Verdict | None, expected: str
) -> None:
    options = AskOptions(
        GenerationRequest('what?', (), choices=choices), ('camera',), Freshness(0), 60.0
    )
    ask = Ask(options, lambda ask, piece: None, lambda ask: None, lambda ask: None)
    ask.add(Chunk(text, FinishReason.EOS, None, verdict))
    assert ask.header == Header()
    assert said(ask) == outcome(expected, options) == expected


def test_things_are_compared_by_their_names() -> None:
    options = AskOptions(
        GenerationRequest('cups and balls', ()), ('camera',), Freshness(0), 60.0, locates=True
    )
    assert outcome(None, options) is None
    for labels, expected, came_to in (
        (['Cup', 'ball', 'cup'], 'ball, cup, cup', 'yes'), ([], '', 'no'),
    ):
        ask = Ask(options, lambda ask, piece: None, lambda ask: None, lambda ask: None)
        spots = tuple(Spot(label, (i, 2.0, 3.0, 4.0)) for i, label in enumerate(labels))
        ask.add(Chunk('[...]', FinishReason.EOS, spots=spots))
        assert said(ask) == expected and outcome(said(ask), options) == came_to
