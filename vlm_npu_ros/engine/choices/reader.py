# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
What an answer decides for by its first words, found while the answer is being written.

An answer decides for a choice if it begins with it, a break follows, and the rest of the sentence
neither denies nor hedges it, names no other choice and is not about the picture itself. A robot
acts on the result: all else decides for nothing, and the model is asked back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
import itertools
import math
import re

from vlm_npu_ros.engine.choices.words import finder, pattern, plain, word_lists
from vlm_npu_ros.engine.types import UNCLEAR, YES_NO

_LONGEST, _SENTENCES = 2000, 8  # characters and ends of sentences that are read
_CLAUSE = 3  # words that make a clause: less, like "Yes, of course!", leads up to one
_WORD = re.compile(r'[\u3040-\u9fff\uac00-\ud7a3]|[^\W_]+')
_SENTENCE_END = re.compile(r'[.!?;。！？；…]+(?![\w.!?])|\n')
_BREAKS, _SOFT_BREAKS = '.!;。\n', ',、:—–-'
_DOUBT = re.compile(r'\?|\.\.|[/→=]|->|\d\s*%|[:：]\s*\d')
_LISTED = re.compile(r'\d[.)] +\w|o\.\s*\d')  # "1. A dog", "No. 7 is closed"
_MARKUP = (
    r'[\s*_`"\'“”„«»‹›「」『』(\[{]|[-#>•]+\s|<[a-z]+>|json\b'
    r'|\$?\\(?:boxed|text|mathrm)\b'
)
# Ends a choice, unless it goes on as a longer word or number.
_END = r'(?=$|[\s"\'”’»」』)\]}*_`<.,;:!?。、—–])(?![.:\'’]\w|,\d)'
_CLOSING = r'(?:[ \t"\'”’»」』)\]}*_`]|</[a-z]+>)*'
_DIGITS = r'(?<![\w.,])[-+]?\d+(?:[.,]\d+)*'
_THINGS = r'(?:[个個つ人名台只개명대][^\W\d_]{0,6}|(?: [^\W\d_]+){1,3})?'  # that are counted


class _Part(IntEnum):
    """How much of an answer is read."""

    WORDS = 0
    SENTENCE = 1
    ALL = 2


@dataclass(frozen=True)
class Decision:
    """
    What an answer decides for.

    value: an index into the choices, or a number, a float; None = unclear.
    start, words: where the deciding words begin, and what they are.
    by_words: they begin the answer; else they count only together with a probability.
    """

    value: float | None
    start: int
    words: str = ''
    by_words: bool = True

    @property
    def index(self) -> int | None:
        """Index into the choices, 0 for a number; None = unclear."""
        return self.value if self.value is None or isinstance(self.value, int) else 0


class AnswerReader:
    """
    Reads an answer piece by piece, whatever the size of the pieces.

    >>> reader = AnswerReader(('yes', 'no'))
    >>> reader.add('Yes, the door'), reader.add(' is open. It')
    (None, Decision(value=0, start=0, words='yes', by_words=True))

    choices: yes and no, if both are there, are read in many languages, others as they are written.
        Without choices, numbers are read.
    unit: may follow a number; '' = up to three words may.
    quick: nothing behind the break is read, for a model that tells its probabilities.
    in_sentences: what alone is named in the first sentence is found, too.
    """

    def __init__(
        self, choices: tuple[str, ...], unit: str = '', *, quick: bool = False,
        in_sentences: bool = False,
    ) -> None:
        self._quick, self._in_sentences, self._is_number = quick, in_sentences, not choices
        self._own: dict[str, float | None] = {
            plain(' '.join(choice.split())): index for index, choice in enumerate(choices)
        } or _numbers()
        yes, no = (self._own.get(name) for name in YES_NO)
        self._opposites = {} if None in (yes, no) else {yes: 'no', no: 'yes'}
        self._values = dict.fromkeys(map(plain, word_lists()[UNCLEAR])) | {
            plain(word): index for index, opposite in self._opposites.items()
            for name in YES_NO if name != opposite for word in word_lists()[name]
        } | self._own
        digits, behind = ('(?!)', '') if choices else (_DIGITS, _THINGS)
        if unit:
            behind = fr'(?:\s?{re.escape(plain(unit))})?'
        self._name = re.compile(
            f'({digits}|{pattern(self._values).pattern})({behind}){_END}{_CLOSING}'
        )
        self._mention = re.compile(f'{digits}|{pattern(self._own).pattern}')
        self._text = ''
        self._decision: Decision | None = None

    def add(self, text: str) -> Decision | None:
        """Read the next piece; return a decision as soon as nothing can change it."""
        self._text += text
        return self._read()

    def end(self) -> Decision | None:
        """Return the decision for an answer that ends here; None = it decides for nothing."""
        return self._read(is_end=True)

    def _read(self, is_end: bool = False) -> Decision | None:
        """Look for a decision, sentence by sentence."""
        if self._decision is None:
            for text, part in self._parts(self._text[:_LONGEST], is_end):
                found = self._take(text, part)
                if isinstance(found, Decision):
                    self._decision = found
                if found is not True:
                    break
        return self._decision

    def _parts(self, text: str, is_end: bool) -> Iterator[tuple[str, _Part]]:
        """Yield the text up to where it could decide, shortest first."""
        if self._quick:
            yield text, _Part.WORDS
        word = _WORD.search(text)
        ends = _SENTENCE_END.finditer(text, word.end() if word else len(text))
        for end in itertools.islice(ends, _SENTENCES):
            if end.end() < len(text):  # else what comes next may belong to the end
                yield text[:end.end()], _Part.SENTENCE
        if is_end:
            yield text, _Part.ALL

    def _take(self, text: str, part: _Part) -> Decision | bool:
        """Give what the text decides for; else whether more text may decide."""
        found, at = self._begin(text)
        if found is None:
            named = self._in_sentences and part and self._only_named(text)
            return named or not (part and _WORD.search(text))
        value, words = self._value(found[1]), found[1]
        rest = found.string[found.end():]
        breaks = _BREAKS + _SOFT_BREAKS if self._quick or value in self._opposites else _BREAKS
        if value != value or rest[:1] not in breaks:
            return False
        if self._is_number and finder('quantity').search(found[2] + rest):  # of thousands, say
            return False
        if part and value is not None and (
            _LISTED.match(words[-1] + rest) or self._contradicts(value, found[2] + rest)
        ):
            return False
        longer = words[-1].isdigit() or any(name.startswith(words + rest) for name in self._own)
        is_quick = self._quick and len(rest) > (1 if longer else 0)
        is_clause = part and len(_WORD.findall(rest)) >= _CLAUSE
        return Decision(value, at, words) if part is _Part.ALL or is_quick or is_clause else True

    def _begin(self, text: str) -> tuple[re.Match[str] | None, int]:
        """Find the name behind the markup, and where it begins."""
        at = 0
        while True:
            found = self._name.match(plain(text[at:]))
            markup = None if found or at == len(text) else _markup().match(text, at)
            if markup is None:
                return found, at
            at = markup.end()

    def _value(self, words: str) -> float | None:
        return self._values[words] if words in self._values else parsed(words)

    def _contradicts(self, value: float, behind: str) -> bool:
        """Tell whether what follows the name casts doubt on it."""
        named = {self._value(name[0]) for name in self._mention.finditer(behind)}
        opposite = self._opposites.get(value, 'no')
        denials = [finder(opposite, single=False), *([finder('deny')] if opposite == 'no' else [])]
        return bool(named - {value}) or _doubts(behind) or any(
            words.search(behind) for words in denials)

    def _only_named(self, text: str) -> Decision | bool:
        """Find what alone is named in a sentence; no things are 0 things."""
        same = plain(text)
        names = [*self._mention.finditer(same)]
        values = {self._value(name[0]) for name in names}
        none = None if names or not self._is_number else finder('no').search(same)
        if none:
            names, values = [none], {0.0}
        elif finder('deny', 'no').search(same):
            return False
        if len(values) != 1 or len(same) != len(text) or _doubts(same):
            return False
        return Decision(values.pop(), names[0].start(), names[0][0], by_words=False)


def parsed(digits: str) -> float:
    """Read a number; NaN where a separator may be that of thousands or of decimals."""
    groups, marks = re.split('[.,]', digits), re.findall('[.,]', digits)
    if len(marks) == 1 and len(groups[1]) == 3 and groups[0].strip('-+') != '0':
        return math.nan
    if len(marks) < 2 or marks[-1] in marks[:-1]:
        mixed = len({*marks}) > 1
        return math.nan if mixed else float(('.' if len(marks) == 1 else '').join(groups))
    return float(f'{"".join(groups[:-1])}.{groups[-1]}')  # 1.234,5


def _doubts(text: str) -> bool:
    """Tell whether a text hedges, asks, or is about the speaker or the picture itself."""
    text = finder('in_picture').sub(' ', text)
    return any(words.search(text) for words in (_DOUBT, finder('hedge', 'self', 'picture')))


@lru_cache(maxsize=1)
def _numbers() -> dict[str, float | None]:
    lists = word_lists().items()
    return {plain(word): float(name) for name, all_ in lists if name.isdigit() for word in all_}


@lru_cache(maxsize=1)
def _markup() -> re.Pattern[str]:
    """Compile one piece of what may stand before the answer itself."""
    labels = '|'.join(map(re.escape, word_lists()['label']))
    return re.compile(fr'{_MARKUP}|(?:{labels})\W{{0,3}}?[:：]', re.IGNORECASE)
