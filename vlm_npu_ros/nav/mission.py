"""Missions: where to drive and what to ask there, as a YAML file tells it."""

from __future__ import annotations

from dataclasses import dataclass
import math
from pathlib import Path
import sys
from typing import Any

from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from std_msgs.msg import Header
from vlm_npu_ros.client.messages import AskFields, make_goal
from vlm_npu_ros.engine.choices.instructions import YES_NO
import yaml

_NUMBERS = (int, float)


class MissionFileError(Exception):
    """A mission file can not be read; the message says where it is wrong and what to do."""


@dataclass(frozen=True)
class Question:
    """
    What is asked at a waypoint.

    yes_no: the answer is to be yes or no. choices: one of these; neither: text.
    expect: the choice that is as it should be; another one, or unclear, is an alarm. '' = any.
    The others are as in vlm_npu_ros.client.AskFields.
    """

    text: str
    yes_no: bool = False
    choices: tuple[str, ...] = ()
    expect: str = ''
    camera: str = ''
    max_age: float = 0.0
    timeout: float = 0.0
    max_new_tokens: int = 0
    min_confidence: float = 0.0

    @property
    def kind(self) -> str:
        """Return yes_no, choice or text."""
        return 'yes_no' if self.yes_no else 'choice' if self.choices else 'text'

    @property
    def fields(self) -> AskFields:
        """Return what to tell VlmClient with the text."""
        return {
            'yes_no': self.yes_no,
            'choices': self.choices,
            'camera': self.camera,
            'max_age': self.max_age,
            'timeout': self.timeout,
            'max_new_tokens': self.max_new_tokens,
            'min_confidence': self.min_confidence,
        }


@dataclass(frozen=True)
class Waypoint:
    """A place to drive to, and what to ask there."""

    name: str
    pose: PoseStamped
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Mission:
    """
    Waypoints, in the order in which they are driven to.

    settle: seconds that the robot needs to stand still; frames from before do not count.
    """

    name: str
    waypoints: tuple[Waypoint, ...]
    settle: float = 0.0


def make_pose(frame_id: str, x: float, y: float, yaw: float = 0.0) -> PoseStamped:
    """Return a pose on the floor, yaw in radians; without a stamp: the newest transform counts."""
    turn = Quaternion(z=math.sin(yaw / 2), w=math.cos(yaw / 2))
    pose = Pose(position=Point(x=float(x), y=float(y)), orientation=turn)
    return PoseStamped(header=Header(frame_id=frame_id), pose=pose)


def yaw_of(pose: PoseStamped) -> float:
    """Return the direction on the floor in radians."""
    turn = pose.pose.orientation
    return math.atan2(
        2 * (turn.w * turn.z + turn.x * turn.y), 1 - 2 * (turn.y**2 + turn.z**2)
    )


def load_mission(path: Path) -> Mission:
    """Return the mission of a YAML file, see docs/missions.md; raise MissionFileError."""
    try:
        return parse_mission(path.read_text(encoding='utf-8'), path.stem)
    except (OSError, UnicodeDecodeError) as error:
        raise MissionFileError(f'The mission file can not be read: {error}') from error
    except MissionFileError as error:
        raise MissionFileError(f'{path}: {error}') from error


def parse_mission(text: str, name: str = 'mission') -> Mission:
    """Return the mission of a YAML text that may give it another name; raise MissionFileError."""
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: an odd date
        raise MissionFileError(f'this is no YAML: {error}') from error
    fields = _Fields(values, 'the mission')
    frame_id = fields.text('frame_id', 'map')
    waypoints = tuple(
        _waypoint(_Fields(item, f'waypoint {number}'), frame_id)
        for number, item in enumerate(fields.items('waypoints'), 1)
    )
    mission = Mission(fields.text('name', name), waypoints, fields.number('settle', 0.0))
    if mission.settle < 0:
        raise fields.error(f'settle must not be negative, as {mission.settle} is')
    fields.refuse_others()
    if not waypoints:
        raise MissionFileError('the mission has no waypoints: add one under waypoints')
    return mission


def _waypoint(fields: _Fields, frame_id: str) -> Waypoint:
    name = fields.text('name', fields.where)
    fields.where += f' ({name})' if name != fields.where else ''
    pose = make_pose(
        fields.text('frame_id', frame_id),
        fields.number('x'), fields.number('y'), fields.number('yaw', 0.0),
    )
    questions = tuple(
        _question(item, f'{fields.where}, question {number}')
        for number, item in enumerate(fields.items('questions', ()), 1)
    )
    fields.refuse_others()
    return Waypoint(name, pose, questions)


def _question(item: Any, where: str) -> Question:
    fields = _Fields({'ask': item} if isinstance(item, str) else item, where)
    yes_no = fields.flag('yes_no')
    question = Question(
        text=fields.text('ask'),
        yes_no=yes_no,
        choices=tuple(fields.choice(item) for item in fields.items('choices', ())),
        expect=fields.expectation(yes_no),
        camera=fields.text('camera', ''),
        max_age=fields.number('max_age', 0.0),
        timeout=fields.number('timeout', 0.0),
        max_new_tokens=fields.count('max_new_tokens', 0),
        min_confidence=fields.number('min_confidence', 0.0),
    )
    fields.refuse_others()
    try:
        make_goal(question.text, **question.fields)
    except ValueError as error:
        raise fields.error(str(error)) from error
    allowed = YES_NO if question.yes_no else question.choices
    if question.expect and question.expect not in allowed:
        what = f'one of {", ".join(allowed)}' if allowed else 'given with yes_no or choices only'
        raise fields.error(f'expect is {question.expect!r}: it must be {what}')
    return question


class _Fields:
    """A mapping of the file; `where` names it in errors."""

    def __init__(self, values: Any, where: str) -> None:
        self.where = where
        if not isinstance(values, dict):
            raise self.error(f'must have fields (name: value), not be {values!r:.60}')
        self._values = dict(values)

    def error(self, what: str) -> MissionFileError:
        return MissionFileError(f'{self.where}: {what}')

    def take(self, name: str, default: Any = None) -> Any:
        """Return a value, the default without one; raise if there is neither."""
        value = self._values.pop(name, None)
        if value is None and default is None:
            raise self.error(f'{name} is missing')
        return default if value is None else value

    def text(self, name: str, default: str | None = None) -> str:
        value = self.take(name, default)
        if not isinstance(value, str) or (not value.strip() and value is not default):
            raise self.error(f'{name} must be a text, not {value!r:.60}')
        return value

    def number(self, name: str, default: float | None = None) -> float:
        value = self.take(name, default)
        if type(value) not in _NUMBERS or not abs(value) <= sys.float_info.max:  # NaN is not
            raise self.error(f'{name} must be a number, not {value!r:.60}')
        return float(value)

    def flag(self, name: str) -> bool:
        value = self.take(name, False)
        if not isinstance(value, bool):
            raise self.error(f'{name} must be true or false, not {value!r:.60}')
        return value

    def items(self, name: str, default: tuple[Any, ...] | None = None) -> list[Any]:
        value = self.take(name, default)
        if not isinstance(value, list) and value is not default:
            raise self.error(f'{name} must be a list, not {value!r:.60}')
        return list(value)

    def count(self, name: str, default: int) -> int:
        value = self.number(name, default)
        if not value.is_integer():
            raise self.error(f'{name} must be a whole number, not {value}')
        return int(value)

    def choice(self, value: Any) -> str:
        """Return a choice as text; without quotes, YAML takes yes, no, on and off for no words."""
        if type(value) in _NUMBERS:
            value = str(value)
        if not isinstance(value, str):
            raise self.error(f"{value!r:.60} is no choice: write it in quotes, as in 'on'")
        return value

    def expectation(self, yes_no: bool) -> str:
        value = self.take('expect', '')
        if yes_no and isinstance(value, bool):
            return YES_NO[0] if value else YES_NO[1]
        return self.choice(value)

    def refuse_others(self) -> None:
        """Raise for a field that was not taken."""
        if self._values:
            raise self.error(f'there is no field {", ".join(map(str, self._values))}')
