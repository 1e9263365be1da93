"""
What a model's answer decides for, found while the answer is being written.

Characters become tokens (words, single CJK characters, breaks), tokens become phrases (the longest
that is known wins), and phrases are read one by one: a choice is mentioned; nothing in its clause
denies it; a few words more confirm it. A robot acts on the result: what is doubtful is unclear.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from vlm_npu_ros.engine.choices import words
from vlm_npu_ros.engine.choices.tokens import END, Kind, Token, Tokeniser
from vlm_npu_ros.engine.choices.words import Role

_WINDOW = 3  # words behind a choice that may still deny it: "the red box is not ..."
_CJK_WINDOW = 30  # characters; Japanese and Korean deny at the end of the clause
_THINK, _THOUGHT = '<think>', '</think>'
_YES_NO = {
    'yes': ((words.YES_ANY, Role.NONE), (words.YES_SUBJECT, Role.SUBJECT),
            (words.YES_END, Role.ASK)),
    'no': ((words.NO_ANY, Role.NONE), (words.NO_SUBJECT, Role.SUBJECT), (words.NO_END, Role.ASK)),
}


@dataclass(frozen=True)
class Decision:
    """
    What an answer decides for.

    index: into the choices; None = unclear.
    start: offset in the text where the deciding words begin.
    """

    index: int | None
    start: int


@dataclass(frozen=True)
class _Mention:
    """
    A phrase that names a choice.

    index: None if it names several.
    verdict: it is a yes or no, which counts only where an answer can begin.
    end, subject: it counts only before an end of the clause; or before that or a new sentence.
    letter: it is one letter, maybe an article; it counts before such an end and before "is".
    """

    index: int | None
    verdict: bool = False
    end: bool = False
    subject: bool = False
    letter: bool = False


@dataclass
class _Node:
    """What is known of a phrase, and the phrases that go on from it, by their next token."""

    role: Role = Role.NONE
    mention: _Mention | None = None
    known: bool = False
    longer: dict[str, _Node] = field(default_factory=dict)


@dataclass
class _Pending:
    """
    A mention that the next words may still change.

    left: how many words that are.
    listing: what follows may be another one of a list.
    """

    mention: _Mention
    start: int
    left: int
    seen: int = 0
    listing: bool = False
    joiner: Role = Role.NONE


class AnswerReader:
    """
    Reads an answer, piece by piece; how it is cut makes no difference.

    choices: {'yes', 'no'} are read in many languages; others as they are written. Letter case,
        punctuation and width make no difference, and the longest choice that fits counts.

    What stands in <think> is not read if the answer opens it. Where the chat template has opened
    it in the prompt, thoughts can not be told from the answer: switch thinking off there.
    """

    def __init__(self, choices: tuple[str, ...]) -> None:
        self._phrases = _lexicon(choices)
        self._tokeniser = Tokeniser()
        self._tokens: list[Token] = []  # not yet known to which phrase they belong
        self._length = 0
        self._head: str | None = ''  # of the text, while it may be _THINK
        self._thought = ''  # the last characters of what is only thought
        self._thinking = False
        self._decision: Decision | None = None
        self._pending: _Pending | None = None
        self._denied = self._answering = self._asking = False
        self._clause_begins = self._sentence_begins = True
        self._before = Role.NONE

    def add(self, text: str) -> Decision | None:
        """Read the next piece; return a decision as soon as nothing can change it."""
        for char in text:
            if self._decision is not None:
                break
            self._step(char)
            self._length += 1
        return self._decision

    def end(self) -> Decision:
        """Return what the answer, which ends here, decides for."""
        if self._decision is None and not self._thinking:
            for at, char in enumerate(self._head or '', self._length - len(self._head or '')):
                self._read(self._tokeniser.feed(char, at))
            self._read(self._tokeniser.end(self._length))
        if self._decision is None:
            self._decision = Decision(None, self._length)
        return self._decision

    def _step(self, char: str) -> None:
        """Read a character, unless it is part of what the model thinks before it answers."""
        if self._thinking:
            self._thought = (self._thought + char.lower())[-len(_THOUGHT):]
            self._thinking = self._thought != _THOUGHT
        elif self._head is None:
            self._read(self._tokeniser.feed(char, self._length))
        elif self._head or not char.isspace():
            self._head += char
            if self._head.lower() == _THINK:
                self._thinking, self._head = True, None
            elif not _THINK.startswith(self._head.lower()):
                head, self._head = self._head, None
                for at, held in enumerate(head, self._length - len(head) + 1):
                    self._read(self._tokeniser.feed(held, at))

    def _read(self, tokens: Iterator[Token]) -> None:
        for token in tokens:
            self._tokens.append(token)
            while self._tokens and self._decision is None:
                found = self._phrase()
                if found is None:
                    break
                phrase, length = found
                first = self._tokens[0]
                del self._tokens[:length]
                if first.kind is not Kind.QUOTE:
                    self._decision = self._follow(first, phrase) or self._take(first, phrase)

    def _phrase(self) -> tuple[_Node, int] | None:
        """Return the longest phrase that the tokens begin with; None if it may get longer."""
        node, found = self._phrases, (_Node(), 1)
        for length, token in enumerate(self._tokens, 1):
            following = node.longer.get(token.text)
            if following is None:
                return found
            node = following
            if node.known:
                found = node, length
        return None if node.longer and self._tokens[-1].text != END else found

    def _take(self, token: Token, phrase: _Node) -> Decision | None:
        if token.kind is not Kind.BREAK:
            return self._words(token, phrase)
        self._break(token)
        return None

    def _break(self, token: Token) -> None:
        """Begin a new clause."""
        if token.text != '(':
            self._denied = False
        self._answering, self._clause_begins = False, True
        if token.text not in (',', '('):
            self._sentence_begins = True
            self._asking = token.text == '¿' or (self._asking and token.text == ':')
        self._before = Role.NONE

    def _words(self, token: Token, phrase: _Node) -> Decision | None:
        """Read a phrase that has words."""
        role, mention = phrase.role, phrase.mention
        if self._sentence_begins and Role.ASK in role:
            self._asking = True
        if Role.HEDGE in role and not self._asking:
            return Decision(None, token.start)
        if Role.BUT in role or (Role.AND in self._before and Role.SUBJECT in role):
            self._denied = False
        if mention and self._pending is None and self._affirmed(mention):
            cjk = token.kind is Kind.CJK
            left = 1 if mention.verdict else _CJK_WINDOW if cjk else _WINDOW
            self._pending = _Pending(mention, token.start, left)
        if role & (Role.NOT | Role.RATHER):
            self._denied = True
        self._answering |= Role.ANSWER in role
        self._clause_begins = self._sentence_begins = False
        self._before = role
        return None

    def _affirmed(self, mention: _Mention) -> bool:
        """Return whether the words before a mention let it stand."""
        if self._denied or self._asking:
            return False
        introduced = bool(self._before & (Role.INTRO | Role.BUT)) and not mention.end
        return not mention.verdict or self._clause_begins or self._answering or introduced

    def _follow(self, token: Token, phrase: _Node) -> Decision | None:
        """Read what follows a mention: it decides, is dropped, or waits for more."""
        pending = self._pending
        if pending is None:
            return None
        mention, role, first = pending.mention, phrase.role, pending.seen == 0
        decided = Decision(mention.index, pending.start)
        if token.kind is Kind.BREAK:
            return self._follow_break(pending, token, decided)
        pending.seen += 1
        other = phrase.mention is not None and phrase.mention.index != mention.index
        if Role.HEDGE in role:
            return Decision(None, token.start)
        if other and (first or pending.listing):
            if not (mention.verdict and Role.OR in pending.joiner):
                return Decision(None, pending.start)
            self._drop(deny=True)  # "yes or no" says nothing, nor does that "no"
        elif first and not _may_follow(mention, token, role):
            self._drop()
        elif role & (Role.OR | Role.AND):
            pending.listing, pending.joiner = True, role
            pending.left = 1 if mention.verdict else max(pending.left, _WINDOW)
        elif Role.IF in role and mention.verdict:
            self._drop()
        elif role & Role.NOT and Role.OR in pending.joiner:
            return Decision(None, pending.start)  # "blocked or not"
        elif Role.RATHER in role or (role & Role.NOT and (pending.listing or mention.verdict)):
            return decided  # "red and not blue"
        elif role & (Role.NOT | Role.NOT_AFTER):
            self._drop()
        elif mention.verdict or Role.ARTICLE not in role:
            pending.left -= 1
            pending.joiner = Role.NONE
            return decided if pending.left <= 0 else None
        return None

    def _follow_break(
        self, pending: _Pending, token: Token, decided: Decision
    ) -> Decision | None:
        plain = not pending.mention.verdict
        label = plain and not pending.mention.letter and pending.seen == 0 and token.text == ':'
        if token.text == '?' or label or (token.text == END and pending.joiner):
            self._drop()
        elif not plain or token.text in ('.', END):
            return decided
        else:  # "red, blue or green"
            pending.seen, pending.left, pending.listing = max(1, pending.seen), 1, True
        return None

    def _drop(self, deny: bool = False) -> None:
        self._pending = None
        self._denied |= deny


def _may_follow(mention: _Mention, token: Token, role: Role) -> bool:
    """Return whether a mention counts before this word."""
    if not (mention.end or mention.subject or mention.letter):
        return True
    if token.kind is Kind.CJK and not token.joined or role & (Role.OR | Role.AND):
        return True
    if mention.letter:
        return Role.BE in role
    return mention.subject and Role.SUBJECT in role


@lru_cache(maxsize=16)
def _lexicon(choices: tuple[str, ...]) -> _Node:
    """Return the root of all phrases; a choice hides the hedges that contain it."""
    root = _Node()
    folded = [choice.strip().casefold() for choice in choices]
    verdicts = set(_YES_NO) if set(_YES_NO) <= set(folded) else set()
    own = [_forms(choice) for choice in choices]
    plain = [
        key for name, keys in zip(folded, own, strict=True) if name not in verdicts
        for key in keys
    ]
    for key, role in _common():
        if Role.HEDGE not in role or not any(_contains(key, part) for part in plain):
            _insert(root, key).role |= role
    for index, (name, keys) in enumerate(zip(folded, own, strict=True)):
        if name in verdicts:
            for text, after in _YES_NO[name]:
                mention = _Mention(index, True, after is Role.ASK, after is Role.SUBJECT)
                for phrase in words.phrases(text):
                    for key in _forms(phrase):
                        _insert(root, key).mention = mention
            continue
        for key in keys:
            node = _insert(root, key)
            letter = len(key) == 1 and len(key[0]) == 1 and name.isalpha() and key[0].isascii()
            same = node.mention is None or node.mention.index == index
            end = Role.NOT in node.role
            node.mention = _Mention(index if same else None, end=end, letter=letter)
            node.role &= ~Role.HEDGE
    return root


@lru_cache(maxsize=1)
def _common() -> list[tuple[tuple[str, ...], Role]]:
    return [
        (key, role) for role, text in words.WORDS.items()
        for phrase in words.phrases(text) for key in _forms(phrase)
    ]


def _forms(phrase: str) -> set[tuple[str, ...]]:
    """Return a phrase's tokens, with the breaks inside it and without."""
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


def _contains(key: tuple[str, ...], part: tuple[str, ...]) -> bool:
    return any(key[i:i + len(part)] == part for i in range(len(key) - len(part) + 1))


def _insert(node: _Node, key: tuple[str, ...]) -> _Node:
    for text in key:
        node = node.longer.setdefault(text, _Node())
    node.known = True
    return node
