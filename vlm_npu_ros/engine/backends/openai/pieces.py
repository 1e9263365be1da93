"""The events that a server streams, in the terms of this package."""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Any

from vlm_npu_ros.engine.backends.openai.messages import whole
from vlm_npu_ros.engine.backends.openai.settings import MOST_TOKENS
from vlm_npu_ros.engine.types import FinishReason

_REASONS = {'stop': FinishReason.EOS, 'length': FinishReason.LENGTH}


@dataclass(frozen=True)
class Token:
    """A token that was written, with the probabilities of it and of its alternatives."""

    text: str
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Usage:
    """What the server counted."""

    prompt_tokens: int  # read for this answer
    new_tokens: int


@dataclass(frozen=True)
class Piece:
    """
    One event of the stream.

    is_token: whether the model wrote something, text or thoughts.
    """

    text: str = ''
    is_token: bool = False
    finish_reason: FinishReason | None = None
    tokens: tuple[Token, ...] = ()
    usage: Usage | None = None


def read_piece(chunk: Any) -> Piece:
    """
    Read an event; raise ValueError if it is not a part of an answer.

    chunk: a ChatCompletionChunk, which the client makes of any JSON.
    """
    try:
        usage = _usage(getattr(chunk, 'usage', None))
        if not chunk.choices:
            if chunk.choices is None:
                raise TypeError('choices')
            return Piece(usage=usage)
        choice = chunk.choices[0]
        text = choice.delta.content or ''
        if not isinstance(text, str):
            raise TypeError('content')
        thought = getattr(choice.delta, 'reasoning_content', None)
        reason = choice.finish_reason
        end = _REASONS.get(reason, FinishReason.STOP) if reason else None
        tokens = _tokens(getattr(choice, 'logprobs', None))
        return Piece(whole(text), bool(text or thought), end, tokens, usage)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(f'an event is not a part of an answer: {error}') from None


def _usage(said: Any) -> Usage | None:
    """Read what the server counted; None if it did not, or if that is impossible."""
    if said is None:
        return None
    details = getattr(said, 'prompt_tokens_details', None)
    held = int(getattr(details, 'cached_tokens', None) or 0)
    read, new = max(int(said.prompt_tokens) - held, 0), int(said.completion_tokens)
    return Usage(read, new) if read <= MOST_TOKENS and 0 <= new <= MOST_TOKENS else None


def _probability(logprob: float) -> float:
    if math.isnan(logprob):
        raise ValueError('an event has a probability that is not a number')
    return math.exp(min(logprob, 0.0))


def _tokens(logprobs: Any) -> tuple[Token, ...]:
    return tuple(
        Token(
            str(token.token),
            tuple((str(top.token), _probability(top.logprob)) for top in token.top_logprobs or ()),
        )
        for token in getattr(logprobs, 'content', None) or ()
    )
