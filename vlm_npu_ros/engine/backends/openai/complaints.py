# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
What a server complains about, whatever its words and the shape of its error.

Codes and named fields count first, then numbers and what stands beside them, then kinds of words
within one clause: what it is about (context, pictures) and that it is too much, or not possible.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
import json
import re
from typing import Any

from vlm_npu_ros.engine.backends.openai.settings import MOST_TOKENS

_LEAST_CONTEXT = 32  # tokens; a smaller number is something else
_MOST_TEXTS, _DEEPEST = 50, 8
_LONGEST, _LONGEST_CODE = 4000, 200  # characters that are looked at
_MESSAGES = ('message', 'msg', 'detail', 'error', 'title', 'reason', 'description', 'raw')
_CODES = ('type', 'code', 'status', 'error_type', 'param', 'loc')
_SIZES = ('n_ctx', 'max_model_len', 'context_length', 'context_window', 'max_context_length')

_CONTEXT_CODE = re.compile(r'context_?(length|size|window)|prompt_?too_?long|token_?limit', re.I)
_CONTEXT = re.compile(
    r'context|n_ctx|model.?len|sequence.?length|length of|\bprompt\b|\btokens?\b'
    r'|input (length|is too long)',
    re.I,
)
_TOO_MUCH = re.compile(
    r'exceed|longer|larger|greater|(more|less) than|reduce|too (long|large|many|big|much)'
    r'|maximum|at most'
    r'|limit|overflow|full|no room|not fit|truncate|shorten|shorter'
    r'|\d\W{0,2}[<>≤≥]|(?<!\w)[<>≤≥]=?\s*\d',
    re.I,
)
_OTHER_LIMIT = re.compile(
    r'\brate\b|quota|per (minute|hour|day)|\bTPM\b|billing|credit|api.?key|out of memory'
    r'|must be at least|negative',
    re.I,
)
_SIZE = re.compile(r'(\d{1,3}(?:[,_\u202f\' ]\d{3})+|\d+(?:\.\d+)?)(?:\s?([kKmM])(?![a-zA-Z]))?')
_COMPARED = re.compile(rf'(?:>=?|<=|≤|≥)\s*(?:[a-z_]+\W{{1,3}})?({_SIZE.pattern})')
# The last of these before a number says what it is: the limit, or what was asked for.
_ROLE = re.compile(
    r'(?P<limit>context|n_ctx|model.{0,3}len|\bmax(?:imum)?\b|limit|allow\w*|at most|up to|only'
    r'|window|fit into|<=?|≤|>=?|≥)'
    r'|(?P<asked>max_(?!model|context|seq)\w+|request\w*|given|got|passed|has|have|prompt'
    r'|input\w*|message\w*|completion|need\w*'
    r'|keep|\bby\b|output|asked)',
    re.I,
)

_PICTURE = re.compile(r'image|picture|photo|vision|visual|multi.?modal|mm.?proj|\bmedia\b', re.I)
_UNABLE = re.compile(
    r'\bnot?\b|n.t\b|cannot|unsupported|unknown|unexpected|invalid|only|missing|lacks?|without'
    r'|disabled|unable|never|incapable|refus|ignor',
    re.I,
)
_ABLE = re.compile(
    r'support|model|vision|visual|multi.?modal|input|variant|accept|enabl|capab|content|endpoint'
    r'|mm.?proj|loaded|text',
    re.I,
)
_DATA = re.compile(  # a fault of this picture, not of the model
    r'decod|format|download|fetch|base64|corrupt|mime|truncated|too (large|big|small)|dimension'
    r'|resolution|byte|pixel|\bMB\b|policy|safety|violat|\burl\b|could not be processed'
    r'|(load|read|open|process) (the |this |your )?(image|picture)',
    re.I,
)
_COUNT = re.compile(
    r'at most|up to|limit|max|more than|exceed|too many|multiple|only (one|a|\d)|single', re.I
)
_NUMBER = re.compile(
    r'(?<![\w.])\d{1,3}(?![\w.]*\d)|\b(?:no|zero)(?= \w*.?(?:image|picture))', re.I
)
_PASSING = re.compile(
    r'\byet\b|loading|not ready|overload|busy|queue|concurrent|again|retries|reachable|its time'
    r'|timed? ?out',
    re.I,
)
_KEY = re.compile(r'api.?key|authenticat\w*.?(error|fail|required)|unauthori[sz]ed', re.I)
_TEXT_ONLY = re.compile(  # where pictures were sent
    r'content\b.*\b(string|str)\b|content.*string_type|string_type.*content|mm.?proj'
    r'|text.?only|only .{0,6}text|(unsupported|unknown|invalid)\W+content\S*type',
    re.I | re.S,
)
_CONTEXT_NOUN = re.compile(r'token|context|model.?len', re.I)
_CLAUSES = re.compile(r'(?<=[.!?;])\s+|\n+')


@dataclass
class Complaint:
    """
    The parts of an error that a server sent.

    message: its words. codes: types, codes and names of parameters. size: of the context, where
    a field tells it. status: of HTTP, where a field tells it; 0 = none.
    """

    message: str = ''
    codes: list[str] = field(default_factory=list)
    size: int = 0
    status: int = 0

    @property
    def words(self) -> str:
        """Put what it says on one line, with its first code."""
        code = next((c for c in self.codes if not c.isdecimal() and c not in self.message), '')
        if not self.message:
            return code
        return f'{self.message.rstrip(".")} ({code})' if code else self.message

    @property
    def about_context(self) -> bool:
        """Whether there is no room for the question and its answer."""
        if any(map(_CONTEXT_CODE.search, self.codes)) or self.size:
            return True
        if _OTHER_LIMIT.search(self.message):
            return False
        size = context_size(self.message)
        return any(
            _CONTEXT.search(clause)
            and (_TOO_MUCH.search(clause) or size and max(_sizes(self.message)) > size)
            for clause in self._clauses()
        )

    @property
    def context_size(self) -> int:
        """Tokens of the context; 0 = it does not tell."""
        return self.size or context_size(self.message)

    @property
    def most_pictures(self) -> int | None:
        """How many pictures a question may have; None = that is not the complaint."""
        for clause in self._clauses():
            if (
                _PICTURE.search(clause) and _COUNT.search(clause)
                and not _CONTEXT_NOUN.search(clause) and not _DATA.search(self.message)
            ):
                numbers = [n[0].lower() for n in _NUMBER.finditer(clause)]
                return min((int(n) if n.isdecimal() else 0 for n in numbers), default=1)
        return None

    @property
    def passes(self) -> bool:
        """Whether it may be another answer later, if the status is one of the server's faults."""
        return bool(_PASSING.search(self.message))

    @property
    def about_key(self) -> bool:
        """Whether the key is missing or wrong."""
        return bool(_KEY.search(' '.join((self.message, *self.codes))))

    def about_vision(self, has_pictures: bool) -> bool:
        """Tell whether the model takes no pictures."""
        if has_pictures and _TEXT_ONLY.search(' '.join((self.message, *self.codes))):
            return True
        if _DATA.search(self.message):
            return False
        return self.most_pictures == 0 or any(
            _PICTURE.search(clause) and _UNABLE.search(clause) and _ABLE.search(clause)
            for clause in self._clauses()
        )

    def _clauses(self) -> list[str]:
        return _CLAUSES.split(self.message)


def context_size(text: str) -> int:
    """Find how many tokens the context has by an error message; 0 = it does not say."""
    compared = _COMPARED.search(text)
    if compared and _LEAST_CONTEXT <= (size := _sizes(compared[1])[0]) <= MOST_TOKENS:
        return size
    end = 0
    for number in _SIZE.finditer(text):
        before, end = text[end:number.start()][-80:], number.end()
        roles = [*_ROLE.finditer(before)]
        after = re.match(r'\W{0,2}(?:tokens?\W+)?(?:max|limit|context|allow)', text[end:], re.I)
        size = _tokens(number)
        is_limit = after if after and not roles else roles and roles[-1]['limit']
        is_answer = re.match(r'\W{0,2}(completion|output|new)', text[end:], re.I)
        if is_limit and not is_answer and _LEAST_CONTEXT <= size <= MOST_TOKENS:
            return size
    return 0


def _sizes(text: str) -> list[int]:
    return [_tokens(number) for number in _SIZE.finditer(text)]


def _tokens(number: re.Match[str]) -> int:
    value = float(re.sub(r'[^\d.]', '', number[1]))
    return int(value * {'': 1, 'k': 1024, 'm': 1024**2}[(number[2] or '').lower()])


def read_complaint(body: Any) -> Complaint:
    """Read what a server sent instead of an answer: JSON of any shape, or a text."""
    made = Complaint()
    messages = [text for name, text in _texts(body, 'message', 0, made) if name in _MESSAGES]
    kept: list[str] = []
    for text in messages:
        if text and text not in kept:
            kept.append(text)
    made.message = '; '.join(kept)[:_LONGEST]
    return made


def _texts(value: Any, name: str, depth: int, made: Complaint) -> Iterator[tuple[str, str]]:
    """Yield the texts of a body with the names of their fields; note codes and sizes."""
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        inner = _json(value)
        if inner is not None:
            yield from _texts(inner, name, depth + 1, made)
        elif name in _CODES:
            made.codes.append(value[:_LONGEST_CODE])
        else:
            yield name, plain(value)
    elif isinstance(value, Mapping):
        for key, part in _in_order(value):
            inherits = key not in (*_MESSAGES, *_CODES) and isinstance(part, (Mapping, list))
            yield from _texts(part, name if inherits else key, depth + 1, made)
    elif isinstance(value, list):
        for part in value[:_MOST_TEXTS]:
            yield from _texts(part, name, depth + 1, made)
    elif isinstance(value, int) and not isinstance(value, bool):
        if name in _SIZES and _LEAST_CONTEXT <= value <= MOST_TOKENS:
            made.size = value
        elif name in _CODES:
            made.codes.append(str(value))
            made.status = value if 400 <= value < 600 else made.status


def _in_order(value: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """List fields, messages first."""
    return sorted(value.items(), key=lambda item: item[0] not in _MESSAGES)


def _json(text: str) -> Any:
    """Read an error that another server has wrapped as a text; None if it is not JSON."""
    start = min((at for at in map(text.find, '{[') if at >= 0), default=-1)
    if start < 0 or text.rstrip()[-1:] not in '}]':
        return None
    try:
        value = json.loads(text[start:])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, Mapping) else None


def plain(text: str) -> str:
    """Take the words out of a web page; other texts stay as they are."""
    if not is_page(text):
        return text
    title = re.search(r'<title[^>]*>(.*?)</title>', text, re.I | re.S)
    return ' '.join(re.sub(r'<[^>]*>', ' ', title[1] if title else text).split())


def is_page(text: str) -> bool:
    """Tell whether this is a web page."""
    return bool(re.match(r'\s*<(!doctype|html|head|body|\?xml)', text, re.I))
