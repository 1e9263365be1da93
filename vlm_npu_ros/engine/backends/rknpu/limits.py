# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Reasons to end an answer that the runtime does not know."""

from __future__ import annotations

from collections.abc import Sequence
import re

LONGEST_BLOCK = 100  # tokens that repeat together
# A sentence that comes so often, in so many tokens, is a loop.
SENTENCES, SENTENCE_TOKENS = 4, 32
# Rows of tables, items of lists and the like: more of them than a page has.
ROWS, ROW_TOKENS = 24, 256
# What sets cells, items and lines apart, and what fills space.
_LAYOUT = re.compile(r'[<>|{}\[\]\n\t]|\.\.\.|---|___|\*\*')
_WORDS = re.compile(r'[^\W\d_]+(?: [^\W\d_]+){2,}|[^\W\d_a-zA-Z]{6,}')  # Chinese has no spaces
_END = re.compile(r'[^\W\d_][.!?]|[。！？]')
_LISTING = re.compile('[,;:/、，；：]')


class StopStrings:
    """Cuts a text that comes in pieces at the first stop string; holds back its possible start."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = [s for s in strings if s]
        self._held = ''
        self.found = False

    def push(self, piece: str) -> str:
        """Take the next piece; return the text that has become certain."""
        if self.found:
            return ''
        text = self._held + piece
        ends = [at for at in (text.find(s) for s in self._strings) if at >= 0]
        if ends:
            self.found, self._held = True, ''
            return text[:min(ends)]
        certain = len(text) - self._unfinished(text)
        self._held = text[certain:]
        return text[:certain]

    def finish(self) -> str:
        """Return what was held back, when no more text comes."""
        held, self._held = self._held, ''
        return held

    def _unfinished(self, text: str) -> int:
        """Measure the longest end of the text that may become a stop string."""
        return max(
            (n for s in self._strings for n in range(1, len(s)) if text.endswith(s[:n])),
            default=0,
        )


class RepetitionGuard:
    """
    Notices an answer that repeats itself without end.

    A sentence that comes again and again is soon called a loop. Rows of a table, items of a list,
    numbers and filling characters may be equal many times in a text that the model reads aloud:
    these are a loop only when there are more of them than a page has.
    """

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._texts: list[str] = []

    def push(self, token: int, text: str = '') -> bool:
        """Take the next token with its text; tell whether the tokens so far end in a loop."""
        self._tokens.append(token)
        self._texts.append(text)
        for kept in (self._tokens, self._texts):
            del kept[:-ROWS * LONGEST_BLOCK]
        return any(
            self._loops(block) for block in range(1, LONGEST_BLOCK + 1)
            if self._tokens[-1 - block:-block] == [token]
        )

    def _loops(self, block: int) -> bool:
        if not self._fills(block, max(SENTENCES * block, SENTENCE_TOKENS)):
            return False
        text = ''.join(self._texts[-max(SENTENCES * block, SENTENCE_TOKENS):])
        return _is_prose(text) or self._fills(block, max(ROWS * block, ROW_TOKENS))

    def _fills(self, block: int, length: int) -> bool:
        """Tell whether the last `length` tokens are repetitions of the last `block`."""
        tail = self._tokens[-length:]
        return len(tail) == length and tail[block:] == tail[:-block]


def _is_prose(text: str) -> bool:
    """Tell sentences, or words in a row, from tables, lists and numbers."""
    if _LAYOUT.search(text) or not _WORDS.search(text):
        return False
    return bool(_END.search(text)) or not _LISTING.search(text)
