"""The phrases by which the answers to some choices are read, as a tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from vlm_npu_ros.engine.choices.tokens import Kind, Token, Tokeniser
from vlm_npu_ros.engine.choices.words import load_words, Role

# The words that may follow a phrase that counts only before them or before the end of its clause.
ENDING = Role.OR | Role.AND
LETTER = ENDING | Role.BE
_PLACES = {'anywhere': None, 'before_sentence': ENDING | Role.SUBJECT, 'before_end': ENDING}

Key = tuple[str, ...]  # a phrase as its tokens


@dataclass(frozen=True)
class Mention:
    """
    A phrase that names a choice.

    index: None if it names several.
    verdict: it is a yes or no, which counts only where an answer can begin.
    before: the words that may follow it in its clause; None = any.
    """

    index: int | None
    verdict: bool = False
    before: Role | None = None

    def counts_before(self, token: Token, role: Role) -> bool:
        """Tell whether it still counts if this word follows."""
        separate = token.kind is Kind.CJK and not token.joined
        return self.before is None or separate or bool(role & self.before)


@dataclass
class Phrase:
    """What is known about a phrase, and the longer phrases by their next token."""

    role: Role = Role.NEUTRAL
    mention: Mention | None = None
    known: bool = False
    longer: dict[str, Phrase] = field(default_factory=dict)

    def insert(self, key: Key) -> Phrase:
        """Find the phrase that continues this one with these tokens, or add it."""
        phrase = self
        for text in key:
            phrase = phrase.longer.setdefault(text, Phrase())
        phrase.known = True
        return phrase


@lru_cache(maxsize=16)
def lexicon(choices: tuple[str, ...]) -> Phrase:
    """Build the tree of all phrases; a choice hides the hedges that contain it."""
    roles, verdicts = _common_words()
    names = [choice.strip().casefold() for choice in choices]
    if not verdicts.keys() <= set(names):
        verdicts = {}
    own = [set() if n in verdicts else _forms(c) for n, c in zip(names, choices, strict=True)]
    parts = set().union(*own)
    root = Phrase()
    for key, role in roles:
        if Role.HEDGE not in role or not any(_contains(key, part) for part in parts):
            root.insert(key).role |= role
    for index, (name, keys) in enumerate(zip(names, own, strict=True)):
        for key, before in verdicts.get(name, ()):
            root.insert(key).mention = Mention(index, True, before)
        for key in keys:
            _name(root.insert(key), index, name, key)
    return root


def _name(phrase: Phrase, index: int, name: str, key: Key) -> None:
    """Let a phrase name a choice."""
    before = None
    if len(key) == 1 and len(key[0]) == 1 and name.isalpha() and key[0].isascii():
        before = LETTER  # "a" may be an article
    elif Role.NOT in phrase.role:
        before = ENDING
    shared = phrase.mention is not None and phrase.mention.index != index
    phrase.mention = Mention(None if shared else index, before=before)
    phrase.role &= ~Role.HEDGE


@lru_cache(maxsize=1)
def _common_words() -> tuple[list[tuple[Key, Role]], dict[str, list[tuple[Key, Role | None]]]]:
    """Load the words that do not depend on the choices: once, for the first question."""
    words = load_words()
    roles = [(key, role) for phrase, role in words.roles for key in _forms(phrase)]
    verdicts = {
        name: [(key, _PLACES[place]) for phrase, place in phrases for key in _forms(phrase)]
        for name, phrases in words.verdicts.items()
    }
    return roles, verdicts


def _forms(phrase: str) -> set[Key]:
    """Cut a phrase into its tokens, with the breaks inside it and without."""
    if phrase.isascii() and phrase.replace(' ', '').isalpha():
        return {tuple(phrase.casefold().split())}  # most of them; the first question waits for it
    tokeniser = Tokeniser()
    tokens = [t for at, char in enumerate(phrase) for t in tokeniser.feed(char, at)]
    tokens += [*tokeniser.end(len(phrase))][:-1]
    tokens = [token for token in tokens if token.kind is not Kind.QUOTE]
    while tokens and tokens[-1].kind is Kind.BREAK:
        tokens.pop()
    while tokens and tokens[0].kind is Kind.BREAK:
        tokens.pop(0)
    bare = tuple(token.text for token in tokens if token.kind is not Kind.BREAK)
    return {tuple(token.text for token in tokens), bare} - {()}


def _contains(key: Key, part: Key) -> bool:
    return any(key[i:i + len(part)] == part for i in range(len(key) - len(part) + 1))
