"""How probable other answers were, from what the stream told about its tokens."""

from __future__ import annotations

from collections.abc import Sequence

from vlm_npu_ros.engine.backends.openai.pieces import Token


def probabilities(
    tokens: Sequence[Token], said: str, endings: tuple[str, ...]
) -> tuple[float, ...] | None:
    """
    Return how probable each ending was after `said`; None = the stream does not tell.

    An ending that was not written counts by its first token, so its probability is an upper bound.
    It is None where two endings begin with the same token.
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
    """Return the token that begins what follows `said`, white space not counted."""
    text = ''
    for i, token in enumerate(tokens):
        if text.rstrip() == said and token.text.strip():
            return i
        text += token.text
    return None


def _rest(tokens: Sequence[Token], rest: str) -> float:
    """Return how probable the tokens were that wrote the rest of a word."""
    probability = 1.0
    for token in tokens:
        if not rest or not rest.startswith(token.text):
            break
        rest = rest[len(token.text):]
        probability *= dict(token.alternatives).get(token.text, 0.0)
    return 0.0 if rest else probability
