"""Dialogues: what was said about which frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
import re
import threading
import time
from typing import Generic, TypeVar

from vlm_npu_ros.engine.types import Turn

# What a person or a program may write into a question; everything else there is plain text.
_COMMAND = re.compile(r'<(image|clear|exit)>')

Frame = TypeVar('Frame')


def commands(question: str) -> tuple[str, frozenset[str]]:
    """Return the question without its commands, and which of image, clear and exit it held."""
    found = frozenset(_COMMAND.findall(question))
    return ' '.join(_COMMAND.sub(' ', question).split()) if found else question, found


@dataclass(frozen=True)
class Conversation(Generic[Frame]):
    """
    One dialogue.

    frames: that it is about, oldest first.
    turns: what was said about them.
    used: time.monotonic() of the last answer.
    """

    key: str
    frames: tuple[Frame, ...]
    turns: tuple[Turn, ...] = ()
    used: float = 0.0


class Conversations(Generic[Frame]):
    """
    All dialogues by their keys; safe to use from several threads.

    count: returns how many are kept; the one that was used longest ago goes first.
    idle: returns after how many seconds without an answer one is forgotten.
    """

    def __init__(self, count: Callable[[], int], idle: Callable[[], float]) -> None:
        self._count, self._idle = count, idle
        self._kept: dict[str, Conversation[Frame]] = {}  # the last used one comes last
        self._lock = threading.Lock()

    def get(self, key: str) -> Conversation[Frame] | None:
        """Return the dialogue, unless it is unknown or was idle too long."""
        with self._lock:
            self._drop_old()
            return self._kept.get(key)

    def keep(self, conversation: Conversation[Frame]) -> None:
        """Remember the dialogue as it is now."""
        with self._lock:
            self._kept.pop(conversation.key, None)
            self._kept[conversation.key] = replace(conversation, used=time.monotonic())
            self._drop_old()

    def forget(self, *keys: str) -> int:
        """Forget dialogues; return how many there were."""
        with self._lock:
            return sum(self._kept.pop(key, None) is not None for key in keys)

    def newest_first(self) -> list[Conversation[Frame]]:
        """Return all dialogues, the last used first."""
        with self._lock:
            self._drop_old()
            return list(reversed(self._kept.values()))

    def _drop_old(self) -> None:
        oldest = time.monotonic() - self._idle()
        for conversation in list(self._kept.values()):
            if conversation.used < oldest or len(self._kept) > self._count():
                del self._kept[conversation.key]
