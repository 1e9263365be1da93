# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The events that a server streams, in the terms of this package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
import math
import re
from typing import Any

from vlm_npu_ros.engine.backends.openai.settings import MOST_TOKENS
from vlm_npu_ros.engine.control_tags import whole
from vlm_npu_ros.engine.types import FinishReason

_REASONS = {'stop': FinishReason.EOS, 'length': FinishReason.LENGTH}
_NONE: Mapping[str, Any] = {}
_WITHHELD = 'content_filter'
_THINKS = re.compile('reason|think|thought')  # in names: reasoning, reasoning_content, thinking


@dataclass(frozen=True)
class Token:
    """A token that was written, with the probabilities of it and of its alternatives."""

    text: str
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Usage:
    """What the server counted; prompt_tokens with what it still held of them."""

    prompt_tokens: int
    new_tokens: int
    held_tokens: int = 0
    thought_tokens: int = 0


@dataclass(frozen=True)
class Piece:
    """
    One event of the stream.

    tokens: of `text`, not of thoughts.
    refusal: what the model says instead of an answer.
    withheld: a filter of the server has taken the answer away.
    ended: the server has said that nothing follows.
    odd: a part of it could not be read.
    confidence: how probable the choice is that the server has decided for; 0 = it does not tell.
    """

    text: str = ''
    thought: str = ''
    finish_reason: FinishReason | None = None
    tokens: tuple[Token, ...] = ()
    usage: Usage | None = None
    refusal: str = ''
    withheld: bool = False
    ended: bool = False
    odd: bool = False
    confidence: float = 0.0

    @property
    def is_token(self) -> bool:
        """Whether the model wrote something, text or thoughts."""
        return bool(self.text or self.thought or self.refusal)


def read_piece(event: Any) -> Piece:
    """Read an event, JSON of any shape; what cannot be read of it is left out."""
    reader = _Reader()
    return reader.read(event)


class _Reader:
    """Reads one event."""

    def __init__(self) -> None:
        self._odd = False

    def read(self, event: Any) -> Piece:
        if not isinstance(event, Mapping):
            return Piece(odd=True)
        choice = self._choice(event)
        delta = choice.get('delta', choice.get('message'))
        if not isinstance(delta, Mapping):
            is_end = any(isinstance(choice.get(n), str) for n in ('text', 'finish_reason'))
            self._odd |= choice is not _NONE and (delta is not None or not is_end)
            delta = _NONE
        parts = [*self._parts(delta.get('content') or choice.get('text'))]
        text = ''.join(part for part, thinks in parts if not thinks)
        thought = self._thought(delta) + ''.join(part for part, thinks in parts if thinks)
        reason = choice.get('finish_reason')
        if reason is not None and not isinstance(reason, str):
            reason, self._odd = None, True
        refusal = delta.get('refusal')
        return Piece(
            text=whole(text),
            thought=whole(thought),
            finish_reason=_REASONS.get(reason, FinishReason.STOP) if reason else None,
            tokens=_of_text(self._tokens(choice.get('logprobs')), text, bool(thought)),
            usage=self._usage(event.get('usage')),
            refusal=whole(refusal) if isinstance(refusal, str) else '',
            withheld=reason == _WITHHELD,
            odd=self._odd,
            confidence=_confidence(event.get('vlm')),
        )

    def _choice(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Find the answer that was asked for; there is one, but some servers write several."""
        choices = event.get('choices')
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, Mapping):
                self._odd = True
            elif not (isinstance(index := choice.get('index'), int) and index > 0):
                return choice
        self._odd |= not isinstance(choices, list) and 'usage' not in event
        return _NONE

    def _parts(self, content: Any) -> Iterator[tuple[str, bool]]:
        """Yield the texts of a content of any shape, and whether each is a thought."""
        if isinstance(content, str):
            yield content, False
        elif isinstance(content, list):
            for part in content:
                yield from self._parts(part)
        elif isinstance(content, Mapping):
            kind = str(content.get('type', ''))
            thinks = bool(_THINKS.search(kind))
            inner = next((content[n] for n in (kind, 'text', 'content') if n in content), None)
            for text, within in self._parts(inner if inner is not None else 0):
                yield text, thinks or within
        elif content is not None:
            self._odd = True

    def _thought(self, delta: Mapping[str, Any]) -> str:
        """Find the thought, which some servers send under two names at once."""
        for name, value in delta.items():
            if value and _THINKS.search(name) and not name.endswith('reason'):
                text = ''.join(part for part, _ in self._parts(value))
                if text:
                    return text
        return ''

    def _usage(self, said: Any) -> Usage | None:
        """Read what the server counted; None if it did not, or if that is impossible."""
        if said is None:
            return None
        try:
            read, new = (int(said[name]) for name in ('prompt_tokens', 'completion_tokens'))
            held = _count(said.get('prompt_tokens_details'), 'cached_tokens')
            thought = _count(said.get('completion_tokens_details'), 'reasoning_tokens')
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            self._odd = True
            return None
        if not (0 <= read <= MOST_TOKENS and 0 <= new <= MOST_TOKENS):
            self._odd = True
            return None
        return Usage(read, new, min(held, read), min(thought, new))

    def _tokens(self, logprobs: Any) -> tuple[Token, ...]:
        if logprobs is None:
            return ()
        try:
            return tuple(
                Token(str(token['token']), tuple(
                    (str(top['token']), _probability(top['logprob']))
                    for top in token.get('top_logprobs') or ()
                ))
                for token in logprobs.get('content') or ()
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            self._odd = True
            return ()


def _count(details: Any, name: str) -> int:
    return max(int(details.get(name) or 0), 0) if isinstance(details, Mapping) else 0


def _of_text(tokens: tuple[Token, ...], text: str, thinks: bool) -> tuple[Token, ...]:
    """Keep the tokens of the text: an event may have those of a thought, too, or only those."""
    if not text:
        return ()
    if not thinks:
        return tokens
    for start in range(len(tokens)):
        if ''.join(token.text for token in tokens[start:]).strip() == text.strip():
            return tokens[start:]
    return ()


def _probability(logprob: Any) -> float:
    if math.isnan(logprob):
        raise ValueError('not a number')
    return math.exp(min(logprob, 0.0))


def _confidence(told: Any) -> float:
    """Read how probable the choice is, which the gateway of this package tells."""
    value = told.get('confidence') if isinstance(told, Mapping) else None
    return float(value) if isinstance(value, (int, float)) and 0 < value <= 1 else 0.0
