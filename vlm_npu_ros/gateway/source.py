# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Where the gateway's answers come from: an engine in this process, or a node."""

from __future__ import annotations

from abc import ABC, abstractmethod
import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from vlm_npu_ros.client.answer import Answer
from vlm_npu_ros.client.fields import AskFields
from vlm_npu_ros.engine.errors import NotSupportedError, VlmError
from vlm_npu_ros.engine.types import Sampling, Turn

Item = Union[str, Answer]  # pieces of text, then the answer
Items = AsyncGenerator[Item, None]
Looks = AsyncGenerator[dict[str, Any], None]
MOST_PICTURES = 16  # of a question


@dataclass(frozen=True)
class Question:
    """
    A question from outside.

    fields: as VlmClient takes them. pictures: JPEG or PNG files that come with it.
    turns: what was said before, oldest first.
    """

    text: str
    fields: AskFields = field(default_factory=AskFields)
    pictures: tuple[bytes, ...] = ()
    turns: tuple[Turn, ...] = ()
    sampling: Sampling = Sampling()


@dataclass(frozen=True)
class Picture:
    """
    A frame of a camera as JPEG.

    stamp: of the frame, in seconds of ROS time. size: width and height of the frame itself, which
    may be larger.
    """

    jpeg: bytes
    stamp: float
    frame_id: str
    size: tuple[int, int]


class Source(ABC):
    """
    Answers questions for the gateway; its methods run in the event loop.

        async for item in source.ask(Question('What is on the table?', pictures=(jpeg,))):
            ...  # texts, and at last an Answer, which may be an error

    Closing the iterator cancels the question. Other methods raise VlmError.
    """

    most_open = 100  # questions at once; one more is refused

    @property
    @abstractmethod
    def model(self) -> str:
        """Name of the model that answers."""

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether a question would be answered now."""

    @abstractmethod
    def ask(self, question: Question) -> Items:
        """Yield the pieces of an answer, then the answer."""

    @abstractmethod
    def state(self) -> Mapping[str, Any]:
        """Tell what the page and the metrics show: plain values."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, the default one first."""
        return ()

    async def start(self) -> None:
        """Begin, in the event loop."""

    async def close(self) -> None:
        """Cancel what is open and end."""

    async def news(self, patience: float) -> None:
        """Wait until `state` may have changed, or for `patience` seconds."""
        await asyncio.sleep(patience)

    async def picture(
        self, camera: str, after: float = 0.0, frame: tuple[float, str] | None = None,
        patience: float = 2.0,
    ) -> Picture | None:
        """
        Wait for a frame: that of exactly this stamp and frame id, or else one other than `after`.

        patience: seconds; None = there is no such frame, or none came.
        """
        raise _no_cameras()

    def watch(self, question: Question, wish: Mapping[str, Any]) -> Looks:
        """
        Ask again and again; yield looks, and at last the result, which has a field `success`.

        wish: fields of action/Watch that a question has not: period (seconds), agreeing, until,
        every_look.
        """
        raise _no_cameras()

    async def transition(self, name: str) -> None:
        """Drive the lifecycle: configure, activate, deactivate or cleanup."""
        raise NotSupportedError('There is no node whose lifecycle could be changed')


def _no_cameras() -> VlmError:
    return NotSupportedError(
        'There are no cameras here: pictures come with the question',
        'Start the gateway of a node: ros2 run vlm_npu_ros gateway',
    )


def failed(error: VlmError, **values: Any) -> Answer:
    """Make the answer of a question that ended with an error."""
    return answered(**{
        'ok': False, 'error_code': error.code, 'error': str(error), 'finish_reason': 'error',
        **values,
    })


def answered(**values: Any) -> Answer:
    """Make an answer; what is not given is empty."""
    return Answer(**{
        'text': '', 'ok': True, 'error_code': 0, 'error': '', 'stamp': None, 'frame_id': '',
        'age': None, 'frame_stamps': (), 'dropped_turns': 0, 'note': '', 'request_id': '',
        'finish_reason': 'eos', 'stats': {}, **values,
    })


def into(items: asyncio.Queue[Any]) -> Callable[[Any], None]:
    """Make a function that puts into the queue from another thread; late items are lost."""
    loop = asyncio.get_running_loop()

    def put(item: Any) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(items.put_nowait, item)

    return put
