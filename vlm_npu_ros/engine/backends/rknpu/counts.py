# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""How many tokens a request takes, learnt from the runtime's own counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vlm_npu_ros.engine.backends.rknpu.prompt import MODEL_TEMPLATE_TOKENS
from vlm_npu_ros.engine.control_tags import user_text
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.models import ChatTemplate, ImageTags
from vlm_npu_ros.engine.types import GenerationRequest, Turn

_REMEMBERED = 256  # texts
ONE_TOKEN = 'a'  # in any tokenizer


class TokenCounts:
    """
    Bounds the tokens of requests; never too low.

    The tokenizer is in the model file, where only the runtime reads it. A token stands for at
    least one byte, which bounds a text that has not been counted. Where that bound is too high
    for a request, `learn` has the runtime count.

    count: reads a text as a question without images and tells how many tokens that were, framing
        included; 0 = the runtime does not tell, or it was cancelled. It gets no text of more than
        `longest` bytes.
    template: None = the one in the model file.
    """

    def __init__(
        self, count: Callable[[str, Cancellation], int], longest: int,
        template: ChatTemplate | None, tags: ImageTags,
    ) -> None:
        self._count, self._longest = count, longest
        self._template, self._tags = template, tags.start + tags.end
        self._known: dict[str, int] = {}
        self._framing = MODEL_TEMPLATE_TOKENS
        if template is not None:
            self._framing = _bytes(''.join(vars(template).values()))
        self._is_framing_known = False

    def tokens(self, request: GenerationRequest) -> int:
        """Bound the tokens of images, turns and question."""
        images = request.image_tokens + len(request.images) * self._of(self._tags)
        turns = sum(map(self._of_turn, request.turns))
        return self._framing + images + turns + self._of(user_text(request.question))

    def put(self, text: str, tokens: int) -> None:
        """Remember what a text takes, such as an answer of so many tokens."""
        bound = self._of(text)
        self._known.pop(text, None)
        self._known[text] = min(tokens, bound)
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]

    def learn(self, request: GenerationRequest, room: int, cancelled: Cancellation) -> None:
        """Have counted what is not known, the longest first, until the request fits in `room`."""
        if self.tokens(request) > room and not self._is_framing_known:
            framing = self._read(ONE_TOKEN, cancelled) - 1
            if cancelled.is_set():
                return
            self._framing, self._is_framing_known = framing, True
        texts = [user_text(request.question), *map(self._written, request.turns), self._tags]
        for text in sorted(texts, key=len, reverse=True):
            if self.tokens(request) > room and text not in self._known:
                counted = self._counted(text, room, cancelled)
                if cancelled.is_set():
                    return
                self.put(text, counted)

    def _counted(self, text: str, room: int, cancelled: Cancellation) -> int:
        """Count a text, in pieces; do not read on what does not fit anyway."""
        counted = 0
        for piece in _pieces(text, self._longest):
            is_over = counted > room or cancelled.is_set()
            counted += _bytes(piece) if is_over else self._read(piece, cancelled) - self._framing
        return counted

    def _read(self, text: str, cancelled: Cancellation) -> int:
        """Count a text with its framing; bound it where the runtime does not tell."""
        return self._count(text, cancelled) or self._framing + _bytes(text)

    def _of(self, text: str) -> int:
        return self._known.get(text, _bytes(text))

    def _of_turn(self, turn: Turn) -> int:
        words = self._of(user_text(turn.question)) + self._of(user_text(turn.answer))
        return self._known.get(self._written(turn), words + self._between)

    @property
    def _between(self) -> int:
        """Bound the tokens of a turn besides its words."""
        template = self._template
        if template is None:
            return self._framing
        return _bytes(template.postfix + template.turn_end + template.prefix)

    def _written(self, turn: Turn) -> str:
        """Write a turn as it is in a prompt, from its question on."""
        template = self._template or ChatTemplate('', '', '')
        said = user_text(turn.question) + template.postfix + user_text(turn.answer)
        return said + template.turn_end + template.prefix


def _bytes(text: str) -> int:
    return len(text.encode('utf-8', 'replace'))


def _pieces(text: str, longest: int) -> Iterator[str]:
    """Cut a text, between words if possible, into pieces of so many bytes at most."""
    while text:
        end = len(text.encode('utf-8', 'replace')[:longest].decode('utf-8', 'ignore'))
        if end < len(text):
            end = max(text.rfind(' ', 0, end), 0) or end
        yield text[:end]
        text = text[end:]
