# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Missions: where to drive and what to ask there, read from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
import math
from pathlib import Path
import sys
from typing import Any

from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from std_msgs.msg import Header
from vlm_npu_ros.client.fields import AskFields, FIELDS
from vlm_npu_ros.client.messages import make_goal
from vlm_npu_ros.engine.types import YES_NO
import yaml


class MissionFileError(Exception):
    """A mission file cannot be read; the message says where it is wrong and what to do."""


@dataclass(frozen=True)
class Question:
    """
    A question at a waypoint.

    fields: as in VlmClient.ask, except not_before and image: frames count from the arrival on.
    expect: the expected choice; another one, or unclear, is an alarm. '' = any.
    """

    text: str
    fields: AskFields = field(default_factory=AskFields)
    expect: str = ''

    @property
    def kind(self) -> str:
        """Tell the type of the answer: yes_no, choice, number, locate, json or text."""
        if self.choices:
            return 'choice'
        if 'json_schema' in self.fields:
            return 'json'
        named = ('yes_no', 'number', 'locate')
        return next((name for name in named if self.fields.get(name)), 'text')

    @property
    def choices(self) -> tuple[str, ...]:
        """List the allowed answers."""
        return tuple(self.fields.get('choices', ()))


@dataclass(frozen=True)
class Waypoint:
    """A place to drive to, and the questions to ask there."""

    name: str
    pose: PoseStamped
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Mission:
    """
    Waypoints in driving order.

    settle: seconds until the robot stands still after its arrival; earlier frames do not count.
    """

    name: str
    waypoints: tuple[Waypoint, ...]
    settle: float = 0.0


def make_pose(frame_id: str, x: float, y: float, yaw: float = 0.0) -> PoseStamped:
    """Make a pose on the floor, yaw in radians, without a stamp: the newest transform counts."""
    turn = Quaternion(z=math.sin(yaw / 2), w=math.cos(yaw / 2))
    pose = Pose(position=Point(x=float(x), y=float(y)), orientation=turn)
    return PoseStamped(header=Header(frame_id=frame_id), pose=pose)


def yaw_of(pose: PoseStamped) -> float:
    """Compute the direction on the floor in radians."""
    turn = pose.pose.orientation
    return math.atan2(
        2 * (turn.w * turn.z + turn.x * turn.y), 1 - 2 * (turn.y**2 + turn.z**2)
    )


def load_mission(path: Path) -> Mission:
    """Read a mission file (docs/missions.md); raise MissionFileError."""
    try:
        return parse_mission(path.read_text(encoding='utf-8'), path.stem)
    except (OSError, UnicodeDecodeError) as error:
        raise MissionFileError(f'The mission file cannot be read: {error}') from error
    except MissionFileError as error:
        raise MissionFileError(f'{path}: {error}') from error


def parse_mission(text: str, name: str = 'mission') -> Mission:
    """Parse the YAML text of a mission, `name` unless it has one; raise MissionFileError."""
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: an odd date
        raise MissionFileError(f'this is not YAML: {error}') from error
    entry = _Entry(values, 'the mission')
    frame_id = entry.take('frame_id', str, 'map')
    waypoints = tuple(
        _waypoint(_Entry(item, f'waypoint {number}'), frame_id)
        for number, item in enumerate(entry.take('waypoints', list), 1)
    )
    mission = Mission(entry.take('name', str, name), waypoints, entry.take('settle', float, 0.0))
    if mission.settle < 0:
        raise entry.error(f'settle must not be negative, as {mission.settle} is')
    entry.refuse_others()
    if not waypoints:
        raise MissionFileError('the mission has no waypoints: add one under waypoints')
    return mission


def _waypoint(entry: _Entry, frame_id: str) -> Waypoint:
    name = entry.take('name', str, entry.where)
    entry.where += f' ({name})' if name != entry.where else ''
    pose = make_pose(
        entry.take('frame_id', str, frame_id),
        entry.take('x', float), entry.take('y', float), entry.take('yaw', float, 0.0),
    )
    questions = tuple(
        _question(item, f'{entry.where}, question {number}')
        for number, item in enumerate(entry.take('questions', list, []), 1)
    )
    entry.refuse_others()
    return Waypoint(name, pose, questions)


def _question(item: Any, where: str) -> Question:
    entry = _Entry({'ask': item} if isinstance(item, str) else item, where)
    text, expect = entry.take('ask', str), entry.take('expect', object, '')
    fields: Any = {
        name: entry.take(name, _IN_YAML.get(kind, kind))
        for name, (kind, _) in FIELDS.items() if name not in _NOT_IN_FILES and entry.has(name)
    }
    entry.refuse_others()
    if 'choices' in fields:
        fields['choices'] = tuple(map(entry.choice, fields['choices']))
    if fields.get('yes_no') and isinstance(expect, bool):
        expect = YES_NO[0] if expect else YES_NO[1]
    question = Question(text, fields, entry.choice(expect))
    try:
        make_goal(question.text, **question.fields)
    except ValueError as error:
        raise entry.error(str(error)) from error
    allowed = YES_NO if question.kind == 'yes_no' else question.choices
    if question.expect and question.expect not in allowed:
        what = f'one of {", ".join(allowed)}' if allowed else 'given with yes_no or choices only'
        raise entry.error(f'expect is {question.expect!r}: it must be {what}')
    return question


class _Entry:
    """A mapping in the file; `where` names it in errors."""

    def __init__(self, values: Any, where: str) -> None:
        self.where = where
        if not isinstance(values, dict):
            raise self.error(f'must have fields (name: value), not be {values!r:.60}')
        self._values = {name: value for name, value in values.items() if value is not None}

    def error(self, what: str) -> MissionFileError:
        return MissionFileError(f'{self.where}: {what}')

    def has(self, name: str) -> bool:
        return name in self._values

    def take(self, name: str, kind: Any, default: Any = None) -> Any:
        """Remove and return a value of this kind, or the default; raise if there is neither."""
        value = self._values.pop(name, default)
        if value is None:
            raise self.error(f'{name} is missing')
        if kind is float and type(value) is int and abs(value) <= sys.float_info.max:
            value = float(value)
        if not _is(value, kind):
            raise self.error(f'{name} must be {_KINDS[kind]}, not {value!r:.60}')
        return value

    def choice(self, value: Any) -> str:
        """Convert a choice to text; unquoted yes, no, on and off are booleans in YAML."""
        if type(value) in (int, float):
            value = str(value)
        if not isinstance(value, str):
            raise self.error(f"{value!r:.60} is not a choice: write it in quotes, as in 'on'")
        return value

    def refuse_others(self) -> None:
        """Raise for a field that was not taken."""
        if self._values:
            raise self.error(f'there is no field {", ".join(map(str, self._values))}')


def _is(value: Any, kind: Any) -> bool:
    if kind is float:
        return type(value) is float and math.isfinite(value)
    if kind is str:
        return type(value) is str and bool(value.strip())
    return kind is object or type(value) is kind


# Kinds of fields that are others in YAML.
_IN_YAML: dict[Any, Any] = {
    Sequence[str]: list, Sequence[int]: list, str | Mapping[str, Any]: object,
}
# Frames count from the arrival on, and are those of the robot.
_NOT_IN_FILES = ('not_before', 'image')
_KINDS = {
    str: 'a text', int: 'a whole number', float: 'a number', bool: 'true or false', list: 'a list',
}
