"""To and from the messages of the node: times are seconds here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from builtin_interfaces.msg import Duration, Time
from std_msgs.msg import Header
from vlm_npu_ros.action import Ask
from vlm_npu_ros.client.answer import Answer
from vlm_npu_ros.msg import ErrorCode

_NANOSECONDS = 1_000_000_000
_MAX_SECONDS = 2**31
_MAX_COUNT = 2**32


class AskFields(TypedDict, total=False):
    """
    What can be told with a question; whatever is left out is the node's own default.

    camera: name of a camera, or several: front,rear.
    conversation: the dialogue that the question belongs to; new_conversation forgets it first.
    max_age: seconds, the oldest frame to answer from.
    not_before: only a frame stamped at or after this: seconds of ROS time, or a Time message.
    num_frames, window: look at so many frames, evenly spaced over so many seconds.
    timeout: seconds for the whole answer, waiting included.
    max_new_tokens: the longest answer, in tokens.
    yes_no: the answer is to be yes or no.
    choices: the answer is to be one of these.
    min_confidence: a choice less likely than this, 0..1, is unclear.
    backend: which of the node's backends answers.
    """

    camera: str
    conversation: str
    new_conversation: bool
    max_age: float
    not_before: float | Time
    num_frames: int
    window: float
    timeout: float
    max_new_tokens: int
    yes_no: bool
    choices: Sequence[str]
    min_confidence: float
    backend: str


@dataclass(frozen=True)
class Conversation:
    """
    A dialogue that the node remembers.

    turns: questions that were answered. tokens: of the context that it takes, at most.
    stamp, frame_id: of the newest frame it is about. idle: seconds since its last answer.
    """

    name: str
    turns: int
    tokens: int
    stamp: float | None
    frame_id: str
    idle: float


def make_goal(
    question: str,
    *,
    camera: str = '',
    conversation: str = '',
    new_conversation: bool = False,
    max_age: float = 0.0,
    not_before: float | Time = 0.0,
    num_frames: int = 0,
    window: float = 0.0,
    timeout: float = 0.0,
    max_new_tokens: int = 0,
    yes_no: bool = False,
    choices: Sequence[str] = (),
    min_confidence: float = 0.0,
    backend: str = '',
) -> Ask.Goal:
    """Return the goal of AskFields; raise ValueError for a value that it can not hold."""
    if isinstance(choices, str):
        raise ValueError(f'choices must be a list of texts, not the text {choices!r}')
    if yes_no and choices:
        raise ValueError('yes_no and choices are both given')
    if not 0 <= min_confidence <= 1:
        raise ValueError(f'min_confidence must be from 0 to 1, not {min_confidence}')
    if not isinstance(not_before, Time):
        not_before = Time(**_split('not_before', not_before))
    return Ask.Goal(
        question=question,
        camera=camera,
        conversation_id=conversation,
        new_conversation=new_conversation,
        max_age=Duration(**_split('max_age', max_age)),
        not_before=not_before,
        num_frames=_count('num_frames', num_frames),
        window=Duration(**_split('window', window)),
        timeout=Duration(**_split('timeout', timeout)),
        max_new_tokens=_count('max_new_tokens', max_new_tokens),
        answer_type=Ask.Goal.YES_NO if yes_no else Ask.Goal.CHOICE if choices else Ask.Goal.TEXT,
        choices=list(choices),
        min_confidence=min_confidence,
        backend=backend,
    )


def _split(name: str, seconds: float) -> dict[str, int]:
    if not 0 <= seconds < _MAX_SECONDS:
        raise ValueError(f'{name} must be from 0 to less than {_MAX_SECONDS} s, not {seconds}')
    sec, nanosec = divmod(round(seconds * _NANOSECONDS), _NANOSECONDS)
    return {'sec': sec, 'nanosec': nanosec}


def _count(name: str, value: int) -> int:
    if not 0 <= value < _MAX_COUNT:
        raise ValueError(f'{name} must be from 0 to less than {_MAX_COUNT}, not {value}')
    return value


def make_answer(result: Ask.Result) -> Answer:
    """Return what the result of a goal says."""
    stamp = _stamp(result.header)
    error_code, error = result.error_code, result.error_msg
    if not result.success and not error_code:  # of rclpy, when the node's own code has failed
        error_code, error = ErrorCode.UNKNOWN, 'The node gave the question up: see its log'
    return Answer(
        text=result.answer,
        ok=result.success,
        error_code=error_code,
        error=error,
        stamp=stamp,
        frame_id=result.header.frame_id,
        age=None if stamp is None else to_seconds(result.frame_age),
        frame_stamps=tuple(map(to_seconds, result.frame_stamps)),
        dropped_turns=result.dropped_turns,
        note=result.note,
        request_id=result.request_id,
        finish_reason=result.finish_reason,
        stats={
            name: getattr(result.stats, name)
            for name in result.stats.get_fields_and_field_types()
        },
        choice=result.choice,
        choice_index=result.choice_index,
        confidence=result.confidence,
    )


def cancelled_answer() -> Answer:
    """Return how a question ends that was cancelled before it was sent."""
    return make_answer(Ask.Result(
        error_code=ErrorCode.CANCELLED,
        error_msg='The question was cancelled before it was sent',
        finish_reason='cancelled',
    ))


def make_conversation(told: Any) -> Conversation:
    """Return what vlm_npu_ros/msg/Conversation says."""
    return Conversation(
        name=told.conversation_id,
        turns=told.turns,
        tokens=told.tokens,
        stamp=_stamp(told.header),
        frame_id=told.header.frame_id,
        idle=to_seconds(told.idle),
    )


def to_seconds(value: Duration | Time) -> float:
    """Return seconds, exact to a microsecond for a time of today."""
    return float(value.sec + value.nanosec / _NANOSECONDS)


def _stamp(header: Header) -> float | None:
    return to_seconds(header.stamp) or None
