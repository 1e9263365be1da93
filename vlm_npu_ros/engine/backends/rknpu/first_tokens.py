# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The tokens that words begin with: from tables, or learnt from the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import re

from vlm_npu_ros.engine.backends.rknpu.notes import Notes

_SAY = 'Reply with exactly this word: {}'
_NOT_LEARNT = -1


class FirstTokens:
    """
    Tells the token that a word begins with.

    At the start of an answer or, for a word with a space before it, later on.

    known: from tables.
    notes: keep what is learnt.
    ask: puts a question to the model and returns the first token of the answer, and its text.
    """

    def __init__(
        self, known: Mapping[str, int], notes: Notes, ask: Callable[[str], tuple[int, str]]
    ) -> None:
        self._known, self._notes, self._ask = dict(known), notes, ask
        self._learnt = notes.tokens

    def of(self, text: str, *, learn: bool = False) -> int | None:
        """
        Return the token that a text begins with; None = unknown.

        learn: ask the model, once for each word; it knows only how an answer begins.
        """
        found = re.match(r'\s*\S+', text)
        word = found[0] if found else ''
        token = self._known.get(word, self._learnt.get(word))
        if token is None and learn and word and not word[0].isspace():
            token, said = self._ask(_SAY.format(word))
            if not said or not word.startswith(said):
                token = _NOT_LEARNT
            self._learnt[word] = token
            self._notes.tokens = self._learnt
        return None if token == _NOT_LEARNT else token

    def add(self, known: Mapping[str, int]) -> None:
        """Add a table; what is known already stays."""
        self._known = {**known, **self._known}
