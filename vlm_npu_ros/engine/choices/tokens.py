"""Characters to tokens: words, single CJK characters, and the breaks between clauses."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import NamedTuple
import unicodedata

END = '\0'  # the text of the last break
_LONGEST = 1000  # characters of a word that are looked at; no choice is longer
_CJK = ((0x1100, 0x115f), (0x3005, 0x3007), (0x3041, 0x30ff), (0x31f0, 0x31ff), (0x3400, 0x9fff),
        (0xac00, 0xd7a3), (0xf900, 0xfaff), (0x20000, 0x3ffff))
_ELISIONS = {'l', 'd', 'n', 'c', 'j', 'm', 's', 't', 'qu', 'dell', 'all', 'nell', 'un', 'sull'}


class Kind(Enum):
    """What a token is."""

    WORD = 'word'
    CJK = 'cjk'
    BREAK = 'break'  # '.', '?', ':', ',', '\n', '(', '¿' or END
    QUOTE = 'quote'  # no phrase contains it


class Token(NamedTuple):
    """
    The smallest part of a phrase.

    start: offset of its first character.
    joined: there is no space before it.
    """

    kind: Kind
    text: str
    start: int
    joined: bool = False


class Tokeniser:
    """Yields each token once no further character can be a part of it."""

    def __init__(self) -> None:
        self._word = ''
        self._start = 0
        self._cjk = False
        self._held = ''  # punctuation that may be inside a word: isn't, 2.5, -1
        self._joined = False

    def feed(self, char: str, at: int) -> Iterator[Token]:
        """Yield the tokens that end before or with this character, the one at offset `at`."""
        for plain in _plain(char):
            yield from self._feed(plain, _class(plain), at)

    def end(self, at: int) -> Iterator[Token]:
        """Yield the remaining tokens of a text that ends at this offset."""
        yield from self._release(' ', at)
        yield from self._flush()
        yield Token(Kind.BREAK, END, at)

    def _feed(self, char: str, class_: str, at: int) -> Iterator[Token]:
        if class_ == 'ignored' or (class_ == 'mark' and not self._word):
            return
        if self._held:
            if self._joins(char, class_):
                self._word += self._held
                self._held = ''
                if self._word[-1] == "'" and self._word[:-1].lower() in _ELISIONS:
                    yield from self._flush()
            else:
                yield from self._release(char, at)
        if class_ == 'mark':
            self._append(char)
        elif class_ in ('word', 'cjk'):
            if class_ == 'cjk' or self._cjk:
                yield from self._flush()
            if not self._word:
                self._start, self._cjk = at, class_ == 'cjk'
            self._append(char)
        elif self._holds(char):
            if not self._word:
                self._start = at
            self._held = char
        else:
            yield from self._flush()
            self._joined = False
            yield from _punctuation(char, class_, at)

    def _append(self, char: str) -> None:
        if len(self._word) < _LONGEST:
            self._word += char

    def _holds(self, char: str) -> bool:
        if not self._word:
            return char in '-+'
        return char in "'-" or (char in '.,:/' and self._word[-1].isdigit())

    def _joins(self, char: str, class_: str) -> bool:
        if not self._word:
            return class_ == 'word' and char.isdigit()
        if self._held == "'":
            return class_ == 'word' and char.isalpha() and self._word[-1].isalpha()
        return class_ == 'word' and char.isdigit() and self._word[-1].isdigit()

    def _release(self, following: str, at: int) -> Iterator[Token]:
        """Yield the word and the held punctuation, which turned out not to be inside a word."""
        if not self._held:
            return
        hyphen = self._held == '-' and self._word and _class(following) in ('word', 'cjk')
        held, self._held = self._held, ''
        yield from self._flush()
        self._joined = False
        if not hyphen:
            yield from _punctuation(held, _class(held), at - 1)

    def _flush(self) -> Iterator[Token]:
        if self._word:
            text = unicodedata.normalize('NFKC', self._word.casefold())
            yield Token(Kind.CJK if self._cjk else Kind.WORD, text, self._start, self._joined)
            self._joined = True
        self._word, self._cjk = '', False


def _punctuation(char: str, class_: str, at: int) -> Iterator[Token]:
    if class_ == 'joiner':
        yield Token(Kind.WORD, char, at)
    elif class_ == 'quote':
        yield Token(Kind.QUOTE, char, at)
    elif class_ != 'space':
        yield Token(Kind.BREAK, class_, at)


@lru_cache(maxsize=1 << 14)
def _plain(char: str) -> str:
    """Map characters that look alike to one: full width, hyphens, apostrophes."""
    if char in '‘’ʼ`´＇':
        return "'" if char != '`' else ' '
    if char in '‐‑‒–−':
        return '-'
    return unicodedata.normalize('NFKC', char)


_CLASSES = {
    **dict.fromkeys('.。!;…}<', '.'), **dict.fromkeys('\n\r\v\f\x85\u2028\u2029', '\n'),
    **dict.fromkeys('?؟', '?'), ':': ':', '¿': '¿', **dict.fromkeys('()[]', '('),
    **dict.fromkeys('/|&+', 'joiner'), **dict.fromkeys('"\'“”„‟«»‹›「」『』', 'quote'),
    **dict.fromkeys('*_`#~\\ \t', 'space'),
}


@lru_cache(maxsize=1 << 14)
def _class(char: str) -> str:
    """Classify a character: word, cjk, mark, space, quote, joiner, ignored or a break."""
    if char in _CLASSES:
        return _CLASSES[char]
    category, code = unicodedata.category(char), ord(char)
    if category in ('Cc', 'Cf', 'Cs', 'Me') or 0xfe00 <= code <= 0xfe0f:
        return 'ignored'
    if category[0] == 'M' or 0x1160 <= code <= 0x11ff:
        return 'mark'
    if category[0] in 'LN':
        return 'cjk' if any(low <= code <= high for low, high in _CJK) else 'word'
    if category[0] in 'ZC' or category == 'Sk':
        return 'space'
    return '.' if category[0] == 'S' and char not in '>=' else ','
