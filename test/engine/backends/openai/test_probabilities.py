# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Probabilities of answers from those of their tokens."""

from __future__ import annotations

import pytest
from vlm_npu_ros.engine.backends.openai.pieces import Token
from vlm_npu_ros.engine.backends.openai.probabilities import probabilities


def token(text: str, **others: float) -> Token:
    return Token(text, ((text, 0.5), *others.items()))


@pytest.mark.parametrize(
    ('tokens', 'said', 'endings', 'expected'),
    [
        ([token('yes', no=0.4)], '', ('yes', 'no'), (0.5, 0.4)),
        ([token(' yes', no=0.4)], '', ('yes', 'no'), (0.5, 0.4)),
        ([token('It'), token(' is'), token(' red', blue=0.1)], 'It is', (' red', ' blue'),
         (0.5, 0.1)),
        # One that was written in pieces, and one that would be.
        ([token('un', y=0.3), token('clear')], '', ('unclear', 'yes'), (0.25, 0.3)),
        ([token('un'), token('sure')], '', ('unclear', 'yes'), None),
        # Nothing is told, or not at that place.
        ([], '', ('yes', 'no'), None),
        ([Token('yes', ())], '', ('yes', 'no'), None),
        ([token('"yes')], '"', ('yes', 'no'), None),
        # The first token does not tell them apart.
        ([token('left')], '', ('left', 'left lane'), None),
        ([token('no')], '', ('no', 'none'), None),
    ],
)
def test_probabilities(
    tokens: list[Token], said: str, endings: tuple[str, ...], expected: tuple[float, ...] | None
) -> None:
    assert probabilities(tokens, said, endings) == (
        None if expected is None else pytest.approx(expected)
    )
