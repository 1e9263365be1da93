"""
What a model's answer decides for, found while the answer is being written.

Characters become tokens (words, single CJK characters, breaks), tokens become phrases (the longest
known one counts), and phrases are read one by one: a choice is mentioned, nothing in its clause
denies it, a few more words confirm it. A robot acts on the result: a doubtful answer is unclear.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import auto, Enum

from vlm_npu_ros.engine.choices.lexicon import ENDING, LETTER, lexicon, Mention, Phrase
from vlm_npu_ros.engine.choices.tokens import END, Kind, Token, Tokeniser
from vlm_npu_ros.engine.choices.words import Role

_WINDOW = 3  # words after a choice that may still deny it: "the red box is not ..."
_CJK_WINDOW = 30  # characters; Japanese and Korean deny at the end of the clause
_THINK, _THOUGHT = '<think>', '</think>'


@dataclass(frozen=True)
class Decision:
    """
    What an answer decides for.

    index: into the choices; None = unclear.
    start: offset in the text where the deciding words begin.
    """

    index: int | None
    start: int


class _Fate(Enum):
    """What became of a mention."""

    OPEN = auto()
    DECIDED = auto()
    UNCLEAR = auto()
    DROPPED = auto()
    VOID = auto()  # dropped, together with what follows in its clause


@dataclass
class _Pending:
    """
    A mention that the next words may still change.

    left: how many words; after a yes or no, always one.
    first: none of them has come yet.
    listing: what follows may be another choice of a list.
    joiner: the OR or AND that came last; NEUTRAL after other words.
    """

    mention: Mention
    start: int
    left: int
    first: bool = True
    listing: bool = False
    joiner: Role = Role.NEUTRAL

    def follow(self, token: Token, phrase: Phrase) -> _Fate:
        """Read the next phrase, which begins with this token."""
        if token.kind is Kind.BREAK:
            return self._after_break(token.text)
        role, mention = phrase.role, self.mention
        first, self.first = self.first, False
        another = phrase.mention is not None and phrase.mention.index != mention.index
        if another and (first or self.listing):
            # "yes or no" decides nothing, and neither does that "no"
            return _Fate.VOID if mention.verdict and Role.OR in self.joiner else _Fate.UNCLEAR
        if first and not mention.counts_before(token, role):
            return _Fate.DROPPED
        if role & (Role.OR | Role.AND):
            self.listing, self.joiner, self.left = True, role, max(self.left, _WINDOW)
            return _Fate.OPEN
        return self._after_verdict(role) if mention.verdict else self._after_choice(role)

    def _after_break(self, mark: str) -> _Fate:
        choice = not self.mention.verdict
        label = choice and self.first and mark == ':' and self.mention.before != LETTER
        if mark == '?' or label or (mark == END and self.joiner):
            return _Fate.DROPPED
        if choice and mark not in ('.', END):  # "red, blue or green"
            self.first, self.left, self.listing = False, 1, True
            return _Fate.OPEN
        return _Fate.DECIDED

    def _after_verdict(self, role: Role) -> _Fate:
        if Role.IF in role:
            return _Fate.DROPPED
        if Role.NOT in role:
            return _Fate.UNCLEAR if Role.OR in self.joiner else _Fate.DECIDED
        return _Fate.DROPPED if Role.NOT_AFTER in role else _Fate.DECIDED

    def _after_choice(self, role: Role) -> _Fate:
        if Role.NOT in role and Role.OR in self.joiner:
            return _Fate.UNCLEAR  # "blocked or not"
        if Role.RATHER in role or (Role.NOT in role and self.listing):
            return _Fate.DECIDED  # "red and not blue"
        if role & (Role.NOT | Role.NOT_AFTER):
            return _Fate.DROPPED
        if Role.ARTICLE not in role:
            self.left, self.joiner = self.left - 1, Role.NEUTRAL
        return _Fate.OPEN if self.left > 0 else _Fate.DECIDED


class AnswerReader:
    """
    Reads an answer piece by piece, whatever the size of the pieces.

    >>> reader = AnswerReader(('yes', 'no'))
    >>> reader.add('Ye'), reader.add('s, the door')
    (None, Decision(index=0, start=0))

    choices: yes and no, if both are there, are read in many languages, others as they are written.
        Letter case, punctuation and width make no difference; the longest matching choice counts.

    Thoughts in <think> are not read if the answer opens it. If the chat template has opened it in
    the prompt, thoughts cannot be told from the answer: switch thinking off there.
    """

    def __init__(self, choices: tuple[str, ...]) -> None:
        self._phrases = lexicon(choices)
        self._tokeniser = Tokeniser()
        self._tokens: list[Token] = []  # of a phrase that may go on
        self._length = 0
        self._head: str | None = ''  # start of the text, while it may be _THINK
        self._thought = ''  # the last characters of a thought
        self._thinking = False
        self._decision: Decision | None = None
        self._pending: _Pending | None = None
        self._denied = self._answering = self._asking = False
        self._clause_begins = self._sentence_begins = True
        self._before = Role.NEUTRAL

    def add(self, text: str) -> Decision | None:
        """Read the next piece; return a decision as soon as nothing can change it."""
        for char in text:
            if self._decision is not None:
                break
            self._step(char)
            self._length += 1
        return self._decision

    def end(self) -> Decision:
        """Return the decision for an answer that ends here."""
        if self._decision is None and not self._thinking:
            for at, char in enumerate(self._head or '', self._length - len(self._head or '')):
                self._read(self._tokeniser.feed(char, at))
            self._read(self._tokeniser.end(self._length))
        if self._decision is None:
            self._decision = Decision(None, self._length)
        return self._decision

    def _step(self, char: str) -> None:
        """Read a character, unless it belongs to what the model thinks before it answers."""
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
            while self._tokens and self._decision is None and (found := self._phrase()):
                (phrase, length), first = found, self._tokens[0]
                del self._tokens[:length]
                if first.kind is not Kind.QUOTE:
                    self._decision = self._follow(first, phrase) or self._begin(first, phrase)

    def _phrase(self) -> tuple[Phrase, int] | None:
        """Find the longest phrase that the tokens begin with; None if it may get longer."""
        phrase, found = self._phrases, (Phrase(), 1)
        for length, token in enumerate(self._tokens, 1):
            following = phrase.longer.get(token.text)
            if following is None:
                return found
            phrase = following
            if phrase.known:
                found = phrase, length
        return None if phrase.longer and self._tokens[-1].text != END else found

    def _break(self, mark: str) -> None:
        """Begin a new clause."""
        if mark != '(':
            self._denied = False
        self._answering, self._clause_begins = False, True
        if mark not in (',', '('):
            self._sentence_begins = True
            self._asking = mark == '¿' or (self._asking and mark == ':')
        self._before = Role.NEUTRAL

    def _begin(self, token: Token, phrase: Phrase) -> Decision | None:
        """Read a phrase as the start of something new: a clause, a mention, a hedge."""
        if token.kind is Kind.BREAK:
            self._break(token.text)
            return None
        role, mention = phrase.role, phrase.mention
        if self._sentence_begins and Role.ASK in role:
            self._asking = True
        if Role.HEDGE in role and not self._asking:
            return Decision(None, token.start)
        if Role.BUT in role or (Role.AND in self._before and Role.SUBJECT in role):
            self._denied = False
        if mention and self._pending is None and self._affirmed(mention):
            left = _CJK_WINDOW if token.kind is Kind.CJK else _WINDOW
            self._pending = _Pending(mention, token.start, left)
        if role & (Role.NOT | Role.RATHER):
            self._denied = True
        self._answering |= Role.ANSWER in role
        self._clause_begins = self._sentence_begins = False
        self._before = role
        return None

    def _affirmed(self, mention: Mention) -> bool:
        """Tell whether the words before a mention let it stand."""
        if self._denied or self._asking:
            return False
        introduced = self._before & (Role.INTRO | Role.BUT) and mention.before != ENDING
        return not mention.verdict or self._clause_begins or self._answering or bool(introduced)

    def _follow(self, token: Token, phrase: Phrase) -> Decision | None:
        """Read what follows a mention: it decides, is dropped, or waits for more."""
        if self._pending is None:
            return None
        if Role.HEDGE in phrase.role:
            return Decision(None, token.start)
        fate = self._pending.follow(token, phrase)
        if fate is _Fate.DECIDED:
            return Decision(self._pending.mention.index, self._pending.start)
        if fate is _Fate.UNCLEAR:
            return Decision(None, self._pending.start)
        if fate is not _Fate.OPEN:
            self._pending = None
            self._denied |= fate is _Fate.VOID
        return None
