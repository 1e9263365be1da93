# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""How probable other answers were, by what the stream tells about its tokens."""

from __future__ import annotations

from collections.abc import Sequence

from vlm_npu_ros.engine.backends.openai.pieces import Token


def probabilities(
    tokens: Sequence[Token], said: str, endings: tuple[str, ...]
) -> tuple[float, ...] | None:
    """
    Compute how probable each ending was after the text `said`; None = the stream does not tell.

    For an ending that was not written, its first token counts, so its probability is an upper
    bound. Where two endings begin with the same token, it is None.
    """
    start = _start(tokens, said)
    if start is None:
        return None
    words = [ending.strip() for ending in endings]
    found = [0.0] * len(words)
    for text, probability in tokens[start].alternatives:
        beginning = text.strip()
        fitting = [i for i, word in enumerate(words) if beginning and word.startswith(beginning)]
        if len(fitting) > 1:
            return None
        for i in fitting:
            rest = words[i][len(beginning):]
            is_written = text == tokens[start].text
            found[i] += probability * (_rest(tokens[start + 1:], rest) if is_written else 1)
    return tuple(found) if any(found) else None


def _start(tokens: Sequence[Token], said: str) -> int | None:
    """Find the token that begins what follows `said`, apart from white space."""
    text = ''
    for i, token in enumerate(tokens):
        if text.strip() == said.strip() and token.text.strip():
            return i
        text += token.text
    return None


def _rest(tokens: Sequence[Token], rest: str) -> float:
    """Compute how probable the tokens were that wrote the rest of a word."""
    probability = 1.0
    for token in tokens:
        if not rest or not rest.startswith(token.text):
            break
        rest = rest[len(token.text):]
        probability *= dict(token.alternatives).get(token.text, 0.0)
    return 0.0 if rest else probability
