"""Reasons to end an answer that the runtime does not know."""

from __future__ import annotations

from collections.abc import Sequence

REPEATS = 4  # of a block of tokens, before it is called a loop
LONGEST_BLOCK = 40  # tokens
SHORTEST_LOOP = 32  # tokens in all: a list of short words is not a loop


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
    """Notices an answer that repeats itself."""

    def __init__(self) -> None:
        self._tokens: list[int] = []

    def push(self, token: int) -> bool:
        """Take the next token; tell whether the tokens so far end in a loop."""
        self._tokens.append(token)
        del self._tokens[:-REPEATS * LONGEST_BLOCK]
        return any(
            self._loops(block) for block in range(1, LONGEST_BLOCK + 1)
            if self._tokens[-1 - block:-block] == [token]
        )

    def _loops(self, block: int) -> bool:
        length = max(REPEATS * block, SHORTEST_LOOP)
        tail = self._tokens[-length:]
        return len(tail) == length and tail[block:] == tail[:-block]
