# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
What a model thinks is not its answer: separates the two, for all backends.

Thoughts are marked by a pair of tags around them, by the closing tag alone where the prompt has
opened them, or by the backend, as `Chunk.thought`. Tags that end an answer are cut off, with what
follows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
import re

from vlm_npu_ros.engine.errors import EmptyAnswerError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.types import Chunk, FinishReason, GenerationRequest

# <think>, <seed:think>, <|begin_of_thought|>, [THINK], ◁think▷, <|channel>thought
_TAG = re.compile(
    r"""
    (?P<close> (?i:[<◁] (?:/ | \|end_of_) (?:\w+:)? (?:think(?:ing)?|thoughts?|reasoning) \|?[>▷])
        | \[/THINK\] | <channel\|> )
    | (?P<open> (?i:[<◁] (?:\|begin_of_|\w+:)? (?:think(?:ing)?|thoughts?|reasoning) \|?[>▷])
        | \[THINK\] | <\|channel>thought )
    | (?P<stop> (?i:<[|｜]? (?: im_(?:start|end) | (?:start|end)[_▁]?of[_▁]?(?:turn|utterance|text
        |sentence) | endoftext | eo[stm](?:_id)? | end | turn ) [|｜]?>)
        | <\|(?:user|assistant|return|start_header_id)\|> | </s> )
    """,
    re.VERBOSE,
)
_ENOUGH = 2  # answers that are cut before any closing tag; the next one is a habit
_NOTHING = Chunk('')
_BROKEN_OFF = (FinishReason.LENGTH, FinishReason.CANCELLED, FinishReason.REPETITION)
_MOST_SPACE = 1000  # characters before the first word that are kept
_MAY_BE_TAG = re.compile(r'(?:[<◁][\w:/|｜▁]{0,24}|\[/?[A-Z]{0,5}|<\|channel>\w{0,6})$')


@dataclass
class Habits:
    """
    How a model marks its thoughts, as far as it is known.

    unopened: its answers may begin within a thought that only a closing tag ends; None = unknown.
    cut: answers of max_new_tokens that had no closing tag, in a row.
    """

    unopened: bool | None
    cut: int = 0


class _State(Enum):
    ANSWER = 'answer'
    THOUGHT = 'thought'
    OPEN = 'open'  # one or the other: a closing tag, or the end, will tell


class _Text:
    """The text of one answer, as it comes in."""

    def __init__(self, state: _State, habits: Habits) -> None:
        self.is_blank, self.stopped = True, False
        self.thoughts = 0  # pieces
        self._state, self._habits = state, habits
        self._held = ''  # may become a tag
        self._kept = ''  # of the state OPEN
        self._space = ''  # before the first word

    def settle(self) -> str:
        """Take what was open, and what follows, as the answer."""
        text, self._kept = self._kept, ''
        if self._state is _State.OPEN:
            self._state, self.thoughts = _State.ANSWER, 0
        return self._word(text)

    def push(self, piece: str, is_last: bool = False) -> Chunk:
        """Take the next piece; return what has become certain."""
        if self.stopped:
            return _NOTHING
        if not (self._held or '<' in piece or '[' in piece or '◁' in piece):
            return self._add(piece)
        rest, made = self._held + piece, _NOTHING
        while not self.stopped and (found := _TAG.search(rest)):
            made = _joined(made, self._add(rest[:found.start()]))
            made = _joined(made, self._tag(found))
            rest = rest[found.end():]
        open_end = None if is_last else _MAY_BE_TAG.search(rest)
        certain = open_end.start() if open_end else len(rest)
        self._held = rest[certain:]
        return _joined(made, self._add(rest[:certain]))

    def end(self, reason: FinishReason) -> Chunk:
        """Return what is left."""
        made = self.push('', is_last=True)
        if self._state is _State.OPEN and not (
            self._habits.unopened and reason in _BROKEN_OFF
        ):
            made = _joined(made, Chunk(self.settle()))
        if self._habits.unopened is None:
            self._habits.cut += reason is FinishReason.LENGTH
            if reason is FinishReason.EOS or self._habits.cut > _ENOUGH:
                self._habits.unopened = False
        return made

    def _tag(self, found: re.Match[str]) -> Chunk:
        """Follow a tag."""
        if found['stop']:
            self.stopped = True
        elif found['open']:
            text = self.settle()
            self._state = _State.THOUGHT
            return Chunk(text)
        else:
            retracts = self._state is _State.ANSWER and not self.is_blank
            if self._state is not _State.THOUGHT and (retracts or self._kept.strip()):
                self._habits.unopened = True
            self._state, self._kept, self._space = _State.ANSWER, '', ''
            self.is_blank |= retracts
            self.thoughts += retracts
            return Chunk('', retracts=retracts)
        return _NOTHING

    def _add(self, text: str) -> Chunk:
        if self.stopped or not text:
            return _NOTHING
        if self._state is _State.ANSWER:
            word = self._word(text)
            return Chunk(word) if word else _NOTHING
        self.thoughts += 1
        if self._state is _State.OPEN:
            self._kept += text
        return Chunk('', thought=text)

    def _word(self, text: str) -> str:
        """Hold back the space before the first word; drop it after a thought."""
        if self.is_blank:
            if not text.strip():
                self._space = (self._space + text)[:_MOST_SPACE]
                return ''
            text, self.is_blank = self._space + text, False
            return text.lstrip() if self.thoughts else text
        return text


def answer_start(text: str) -> int:
    """Find where the answer begins in a whole text, behind all thoughts."""
    return max((found.end() for found in _TAG.finditer(text) if found['close']), default=0)


def _joined(first: Chunk, second: Chunk) -> Chunk:
    if first is _NOTHING or second is _NOTHING:
        return second if first is _NOTHING else first
    text = second.text if second.retracts else first.text + second.text
    thought = first.thought + (first.text if second.retracts else '') + second.thought
    return Chunk(text, thought=thought, retracts=first.retracts or second.retracts)


def answer_of(
    chunks: Iterable[Chunk], request: GenerationRequest, habits: Habits, stop: Cancellation
) -> Iterator[Chunk]:
    """
    Yield the chunks of a model with its thoughts apart from its answer.

    Raises EmptyAnswerError if there is no answer. What cannot be told apart yet is held back for
    models that are known to leave the opening tag out, and, because a choice would be decided by
    it, for the first choice of any model.

    stop: ends the model.
    """
    held = habits.unopened or (habits.unopened is None and request.is_typed)
    text = _Text(_State.OPEN if held else _State.ANSWER, habits)
    for chunk in chunks:
        if text.stopped and chunk.text.strip():
            stop.set()  # it writes on
        made = _NOTHING
        if chunk.thought:
            habits.unopened = False
            made = Chunk(text.settle(), thought=chunk.thought)
            text.thoughts += 1
        made = _joined(made, text.push(chunk.text))
        if chunk.finish_reason:
            yield _last(chunk, _joined(made, text.end(chunk.finish_reason)), text)
        elif made is not _NOTHING or not chunk.text:
            yield made


def _last(chunk: Chunk, made: Chunk, text: _Text) -> Chunk:
    """Make the last chunk; raise EmptyAnswerError if there is no answer."""
    reason, figures = chunk.finish_reason, chunk.figures
    if text.stopped and reason is FinishReason.CANCELLED:
        reason = FinishReason.STOP
    if figures and text.thoughts:
        count = min(max(figures.thought_tokens, text.thoughts), figures.new_tokens)
        figures = replace(figures, thought_tokens=count)
    if text.is_blank and reason is not FinishReason.CANCELLED:
        raise _nothing_said(text.thoughts, reason)
    return replace(
        chunk, text=made.text, thought=made.thought, retracts=made.retracts,
        finish_reason=reason, figures=figures,
    )


def _nothing_said(thoughts: int, reason: FinishReason | None) -> EmptyAnswerError:
    if not thoughts:
        return EmptyAnswerError(
            'The model ended without an answer',
            'Ask in other words, or about less; the log of a server may say more',
        )
    end = 'up to max_new_tokens' if reason is FinishReason.LENGTH else 'and then ended'
    return EmptyAnswerError(
        f'The model only thought {end}: about {thoughts} tokens of thoughts, and no answer',
        'Raise max_new_tokens, or switch its thinking off (for a server: openai.thinking)',
    )
