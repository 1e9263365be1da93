# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Answers: complete, in pieces, or as a future; and the errors of the client."""

from __future__ import annotations

from collections.abc import Callable
import concurrent.futures
from dataclasses import dataclass
import queue
from typing import Any


class VlmClientError(Exception):
    """Base of the errors; raised itself when the client is closed or ROS was shut down."""


class NodeUnavailableError(VlmClientError):
    """No node of this name answers; the message says what to do."""


class AskError(VlmClientError):
    """
    A question has ended without a complete answer.

    code: one of vlm_npu_ros/msg/ErrorCode. answer: with the text so far.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.error)
        self.code = answer.error_code
        self.answer = answer


@dataclass(frozen=True)
class Place:
    """
    Where a thing is.

    label: what it is, in the model's words. score: how sure the model is, 0..1; 0 = not told.
    box: left, top, width, height in pixels of the camera's picture; width and height 0 = a point.
    point: x (right), y (down), z (ahead), metres in the optical frame `frame_id`; None = unknown.
    bearing: unit vector towards it in that frame; None = the camera has no calibration.
    stamp: of the frame, in ROS time.
    """

    label: str
    box: tuple[int, int, int, int]
    score: float
    point: tuple[float, float, float] | None
    bearing: tuple[float, float, float] | None
    frame_id: str
    stamp: float | None

    def __str__(self) -> str:
        left, top, width, height = self.box
        where = f'{self.label}: {width}x{height} at {left}, {top}'
        return f'{where}, {self.point[2]:.2f} m ahead' if self.point else where


@dataclass(frozen=True)
class Answer:
    """Result of a question: the fields of the action's result, with times in seconds."""

    text: str
    ok: bool  # complete, or cut at max_new_tokens
    error_code: int  # 0 or one of vlm_npu_ros/msg/ErrorCode
    error: str  # what went wrong and what to do
    stamp: float | None  # of the newest frame, in ROS time; None = no frame
    frame_id: str
    age: float | None  # from that stamp to the end of the answer
    frame_stamps: tuple[float, ...]  # of all frames that it is about, oldest first
    dropped_turns: int  # turns of the dialogue that were forgotten to make room
    note: str  # how the answer differs from what was asked for
    request_id: str
    finish_reason: str  # eos, length, stop, repetition, cancelled, timeout or error
    stats: dict[str, Any]  # the fields of vlm_npu_ros/msg/GenerationStats
    choice: str = ''  # one of the choices, yes, no, a number or unclear; '' = free text
    choice_index: int = -2  # of that choice, 0 for a number; -1 = unclear, -2 = free text
    number: float = 0.0  # that was asked for; 0 also if it is unclear
    confidence: float = 0.0  # probability of the choice, 0..1; 0 = unknown
    located: tuple[dict[str, Any], ...] = ()  # the fields of vlm_npu_ros/msg/Located, each
    decided_by: str = ''  # probability, words (the first ones) or asked_back; '' = not decided

    @property
    def places(self) -> list[Place]:
        """List where the things are that a question with `locate` names."""
        return [self._place(told) for told in self.located]

    def _place(self, told: dict[str, Any]) -> Place:
        box, ray = told['box'], tuple(told['bearing'].values())
        return Place(
            told['label'],
            (box['x_offset'], box['y_offset'], box['width'], box['height']),
            told['score'],
            tuple(told['point']['point'].values()) if told['has_point'] else None,
            ray if any(ray) else None,
            self.frame_id, self.stamp,
        )

    def raise_for_error(self) -> None:
        """Raise AskError unless the answer is complete."""
        if not self.ok:
            raise AskError(self)


class AnswerFuture(concurrent.futures.Future[Answer]):
    """Future of an answer; its callbacks run in the client's thread."""

    def __init__(self, request_cancel: Callable[[AnswerFuture], None]) -> None:
        super().__init__()
        self._request_cancel = request_cancel
        self.set_running_or_notify_cancel()

    def cancel(self) -> bool:
        """
        Cancel the question; return False if it has already ended.

        The future ends when the node has confirmed it: with an AskError of code CANCELLED, or
        with the answer if that was faster.
        """
        if self.done():
            return False
        self._request_cancel(self)
        return True


class AnswerStream:
    """
    Iterates over the pieces of an answer while it is written; afterwards `answer` is set.

    A context manager: leaving it early cancels the question. The end of the iteration raises the
    errors of the future.
    """

    def __init__(self, start: Callable[[Callable[[str], None]], AnswerFuture]) -> None:
        self.answer: Answer | None = None
        self._pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.future = start(self._pieces.put)
        self.future.add_done_callback(lambda _: self._pieces.put(None))

    def __iter__(self) -> AnswerStream:
        return self

    def __next__(self) -> str:
        piece = self._pieces.get()
        if piece is None:
            self._pieces.put(None)  # for the next call
            self.answer = self.future.result()
            raise StopIteration
        return piece

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.future.cancel()
