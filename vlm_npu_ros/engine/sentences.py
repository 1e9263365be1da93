# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Splits an answer into sentences while it is written, for text-to-speech."""

from __future__ import annotations

from enum import Enum
import re

LONGEST = 300  # characters of a sentence; a longer one comes in parts
_FULL_WIDTH = '。！？｡．'  # end a sentence without white space after them
_MARKS = '.!?…؟۔।॥' + _FULL_WIDTH
_OPENERS = '“‘«'  # of quotations, and in some languages closers
_CLOSERS = '"\'”’»›)]}*_`」』）】》〉］｝' + _OPENERS
_NO_BREAK = '\u00a0\u202f\u2007'
_LINE_ENDS = '\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029'

_TITLES = frozenset(
    'Dr Mr Mrs Ms Mx Prof St Mt Rev Hon Gen Capt Lt Sgt Messrs '  # English
    'Dipl Ing Frl Hr Fr '  # German
    'Mme Mlle Sr Sra Srta Dra Sig Dott Ud'.split()  # French, Spanish, Italian
)
_ABBREVIATIONS = frozenset(
    'approx vs viz cf incl excl esp ca bzw evtl ggf inkl exkl zzgl vgl sog resp ej env'.split()
)
_BEFORE_NUMBERS = frozenset(
    'no nos nr fig figs abb vol ch kap sec art bd pp pos tel min max '
    'jan feb aug sept oct nov dec'.split()
)
_BEFORE_LOWER_CASE = frozenset('etc usw ecc al inc ltd co corp jr a.m p.m u.a'.split())

_LAST_WORD = re.compile(r'[^\W\d_]+(?:\.[^\W\d_]+)*$')
_UNIT = re.compile(r'\d\s?\w$')  # 3 m, 5V
_LIST_MARKER = re.compile(r'[\W_]*\d{1,3}$')
_CLAUSE_END = re.compile(r'[,;:–—،؛](?=\s)|[，、；：]')


class _End(Enum):
    """Whether a sentence ends if white space follows."""

    YES = 'yes'
    NO = 'no'
    UNLESS_LOWER = 'unless lower case follows'
    UNLESS_DIGIT = 'unless a digit follows'


class SentenceSplitter:
    """
    Cuts a text that comes in pieces into sentences; the size of the pieces does not matter.

    A sentence ends at its mark (and closing quotes or brackets) before white space, at the end of
    a line, and after full-width marks as soon as another character follows. Runs of white space
    become one character. A sentence of more than LONGEST characters comes in parts, cut at a
    clause or a space.
    """

    def __init__(self) -> None:
        self._text = ''  # of the unfinished sentence

    def push(self, text: str) -> list[str]:
        """Add a piece; return the sentences that are now complete, without space around them."""
        ended = [part for character in text for part in self._take(character)]
        return [sentence for part in ended if (sentence := part.strip())]

    def finish(self) -> str:
        """Return the rest (it may be '') and start again."""
        rest, self._text = self._text.strip(), ''
        return rest

    def _take(self, character: str) -> tuple[str, ...]:
        """Add a character; return the part that it ends, if any."""
        text = self._text
        if character in _LINE_ENDS:
            self._text = ''
            return (text,)
        if _is_space(character):
            if not text or _is_space(text[-1]):
                return ()
            return self._begin('', text) if _end(text) is _End.YES else self._go_on(character)
        if text and _ends_before(text, character):
            return self._begin(character, text)
        return self._go_on(character)

    def _begin(self, start: str, ended: str) -> tuple[str, ...]:
        self._text = start
        return (ended,)

    def _go_on(self, character: str) -> tuple[str, ...]:
        text = self._text + character
        if len(text) <= LONGEST:
            self._text = text
            return ()
        cut = _last_clause(text)
        return self._begin(text[cut:].lstrip(), text[:cut])


def _is_space(character: str) -> bool:
    return character.isspace() and character not in _NO_BREAK


def _ends_before(text: str, character: str) -> bool:
    """Return whether the sentence ends before this character, which is not white space."""
    if _is_space(text[-1]):
        end = _end(text[:-1])
        return (
            end is _End.UNLESS_LOWER and not character.islower()
            or end is _End.UNLESS_DIGIT and not character.isdigit()
        )
    if character in _MARKS or character in _CLOSERS and character not in _OPENERS:
        return False
    return _split(text)[1].endswith(tuple(_FULL_WIDTH))


def _end(text: str) -> _End:
    """Return whether a text is a whole sentence if white space follows."""
    words, marks, closers = _split(text)
    if not marks:
        return _End.NO
    if closers or marks.strip('.…') == '' and marks != '.':
        return _End.UNLESS_LOWER
    return _end_at_full_stop(words) if marks == '.' else _End.YES


def _split(text: str) -> tuple[str, str, str]:
    """Split a text into words, the marks after them and the closing quotes or brackets."""
    closed = text.rstrip(_CLOSERS + _NO_BREAK)
    words = closed.rstrip(_MARKS)
    return words, closed[len(words):], text[len(closed):]


def _end_at_full_stop(words: str) -> _End:
    found = _LAST_WORD.search(words)
    word = found[0] if found else ''
    if _LIST_MARKER.match(words) or word in _TITLES:
        return _End.NO
    word = word.lower()
    if word in _BEFORE_NUMBERS:
        return _End.UNLESS_DIGIT
    if word in _BEFORE_LOWER_CASE:
        return _End.UNLESS_LOWER
    is_initial = len(word) == 1 and word.upper() != word and not _UNIT.search(words)
    lengths = [len(part) for part in word.split('.')]
    is_short_form = lengths in ([1, 1], [2, 1], [1, 1, 1])  # e.g, Ph.D
    return _End.NO if word in _ABBREVIATIONS or is_initial or is_short_form else _End.YES


def _last_clause(text: str) -> int:
    """Return where to cut a text: after a clause, a word or LONGEST characters."""
    clauses = [found.end() for found in _CLAUSE_END.finditer(text, LONGEST // 3)]
    space = max((i for i, character in enumerate(text) if character.isspace()), default=0)
    return max(clauses, default=space) or LONGEST
