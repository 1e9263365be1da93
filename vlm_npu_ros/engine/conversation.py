# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Dialogues: frames and what was said about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
import re
import threading
import time
from typing import Generic, TypeVar

from vlm_npu_ros.engine.types import Turn

# Commands that a question may contain; all other tags in it are plain text.
_COMMAND = re.compile(r'<(image|clear|exit)>')

Frame = TypeVar('Frame')


def commands(question: str) -> tuple[str, frozenset[str]]:
    """Split a question into its text and its commands: image, clear, exit."""
    found = frozenset(_COMMAND.findall(question))
    return ' '.join(_COMMAND.sub(' ', question).split()) if found else question, found


@dataclass(frozen=True)
class Conversation(Generic[Frame]):
    """
    One dialogue.

    frames: the frames that it is about, oldest first.
    used: time.monotonic() of the last answer.
    """

    key: str
    frames: tuple[Frame, ...]
    turns: tuple[Turn, ...] = ()
    used: float = 0.0


class Conversations(Generic[Frame]):
    """
    All dialogues by their keys; safe to use from several threads.

    count: gives the number of dialogues to keep; the least recently used one is dropped first.
    idle: gives the seconds without an answer after which a dialogue is forgotten.
    """

    def __init__(self, count: Callable[[], int], idle: Callable[[], float]) -> None:
        self._count, self._idle = count, idle
        self._kept: dict[str, Conversation[Frame]] = {}  # least recently used first
        self._lock = threading.Lock()

    def get(self, key: str) -> Conversation[Frame] | None:
        """Return the dialogue; None if it is unknown or was idle for too long."""
        with self._lock:
            self._drop_old()
            return self._kept.get(key)

    def keep(self, conversation: Conversation[Frame]) -> None:
        """Store the dialogue and mark it as used now."""
        with self._lock:
            self._kept.pop(conversation.key, None)
            self._kept[conversation.key] = replace(conversation, used=time.monotonic())
            self._drop_old()

    def forget(self, *keys: str) -> int:
        """Forget dialogues and return how many of them existed."""
        with self._lock:
            return sum(self._kept.pop(key, None) is not None for key in keys)

    def newest_first(self) -> list[Conversation[Frame]]:
        """Return all dialogues, most recently used first."""
        with self._lock:
            self._drop_old()
            return list(reversed(self._kept.values()))

    def _drop_old(self) -> None:
        oldest = time.monotonic() - self._idle()
        for conversation in list(self._kept.values()):
            if conversation.used < oldest or len(self._kept) > self._count():
                del self._kept[conversation.key]
