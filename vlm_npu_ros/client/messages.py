# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Conversion to and from the messages of the node; times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TYPE_CHECKING

from builtin_interfaces.msg import Duration, Time
from vlm_npu_ros.action import Ask
from vlm_npu_ros.client.answer import Answer
from vlm_npu_ros.client.fields import AskFields, fill
from vlm_npu_ros.msg import ErrorCode

if TYPE_CHECKING:
    from typing_extensions import Unpack

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Conversation:
    """
    A dialogue that the node remembers.

    turns: number of answered questions. tokens: upper bound of its share of the context.
    stamp, frame_id: of the newest frame that it is about. idle: seconds since its last answer.
    """

    name: str
    turns: int
    tokens: int
    stamp: float | None
    frame_id: str
    idle: float


def make_goal(question: str, **fields: Unpack[AskFields]) -> Ask.Goal:
    """Make the goal of a question; raises ValueError and TypeError as `fields.fill` does."""
    if not isinstance(question, str):
        raise ValueError(f'The question must be text, not {question!r:.60}')
    goal = Ask.Goal(question=question)
    fill(goal, fields)
    return goal


def make_answer(result: Ask.Result) -> Answer:
    """Convert the result of a goal."""
    values = _read(result, answer='text', success='ok', error_msg='error', frame_age='age')
    if values['stamp'] is None:
        values['age'] = None
    # rclpy makes such a result if the node's own code fails.
    if not values['ok'] and not values['error_code']:
        values['error_code'] = ErrorCode.UNKNOWN
        values['error'] = 'The node gave up on the question: see its log'
    return Answer(**values)


def cancelled_answer() -> Answer:
    """Make the answer of a question that was cancelled before it was sent."""
    return make_answer(Ask.Result(
        error_code=ErrorCode.CANCELLED,
        error_msg='The question was cancelled before it was sent',
        finish_reason='cancelled',
    ))


def make_conversation(told: Any) -> Conversation:
    """Convert vlm_npu_ros/msg/Conversation."""
    return Conversation(**_read(told, conversation_id='name'))


def to_seconds(value: Duration | Time) -> float:
    """Convert to seconds; present times are exact to a microsecond."""
    return float(value.sec + value.nanosec / _NANOSECONDS)


def _read(message: Any, **names: str) -> dict[str, Any]:
    """Turn a message into a dict; `names` renames fields, a header becomes stamp and frame_id."""
    fields = {names.get(name, name): value for name, value in plain(message).items()}
    header = fields.pop('header')
    return {**fields, 'stamp': header['stamp'] or None, 'frame_id': header['frame_id']}


def plain(value: Any) -> Any:
    """Turn times into seconds, lists into tuples, and other messages into dicts."""
    if isinstance(value, (Duration, Time)):
        return to_seconds(value)
    if isinstance(value, list):
        return tuple(map(plain, value))
    if not hasattr(value, 'get_fields_and_field_types'):
        return value
    return {name: plain(getattr(value, name)) for name in value.get_fields_and_field_types()}
