# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
What a mission found, and the format of its report.

report.json, times in seconds (stamps of ROS time, started, ended, arrived and asked since 1970):

    mission         name
    outcome         completed, cancelled or stopped (at the first failure); running in between
    started, ended  null = it has not ended
    waypoints[]
      name, frame_id, x, y, yaw    metres and radians
      reached       whether the robot arrived
      arrived       when; null = never
      error         why it did not, or was not driven to; '' = none
      answers[]
        question    as it was asked
        type        text, yes_no, choice, number, locate or json
        choices[]   of a choice
        expect      the choice that is not an alarm; '' = any
        verdict     expected, unexpected, unclear, answered (nothing expected) or failed
        answer      what the model said
        choice      what it decides for: yes, no, one of choices, a number or unclear; '' for text
        number      that was asked for; 0 also if it is unclear
        places[]    of locate, as in vlm_npu_ros.client.Place: label, score, bearing, frame_id,
                    box [left, top, width, height], point [x, y, z], stamp; null = not known
        confidence  of the choice, 0..1; 0 = unknown
        decided_by  probability, words or asked_back; '' = not decided
        error_code  of vlm_npu_ros/msg/ErrorCode; 0 also if no node answered
        error       what went wrong and what to do; '' = nothing
        asked       when
        stamp       of the frame; null = none
        frame_id    of the frame
        age         of the frame at the end of the answer; null = no frame
        picture     file of the frame, relative to the report; '' = none
        note        what differs from the request, and why there is no picture
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
import json
import time

from vlm_npu_ros.client import Place
from vlm_npu_ros.engine.types import UNCLEAR

EXPECTED, UNEXPECTED, ANSWERED, FAILED = 'expected', 'unexpected', 'answered', 'failed'
_AROUND = ' .,!'  # around an answer of one word
RUNNING, COMPLETED, CANCELLED, STOPPED = 'running', 'completed', 'cancelled', 'stopped'


@dataclass
class Answered:
    """A question and how it ended."""

    question: str
    kind: str  # text, yes_no, choice, number, locate or json
    choices: tuple[str, ...] = ()
    expect: str = ''
    answer: str = ''
    choice: str = ''
    number: float = 0.0
    places: tuple[Place, ...] = ()
    confidence: float = 0.0
    decided_by: str = ''
    ok: bool = False
    error_code: int = 0
    error: str = ''
    asked: float = 0.0
    stamp: float | None = None
    frame_id: str = ''
    age: float | None = None
    picture: str = ''
    note: str = ''

    @property
    def verdict(self) -> str:
        """Judge the answer."""
        if not self.ok:
            return FAILED
        if self.choice == UNCLEAR:
            return UNCLEAR
        if not self.expect:
            return ANSWERED
        return EXPECTED if self.choice == self.expect else UNEXPECTED

    @property
    def quote(self) -> str:
        """Quote the model on a question with choices, where it says more than the choice."""
        words = self.answer.strip(_AROUND)
        return self.answer if self.choice and words.casefold() != self.choice.casefold() else ''

    def as_dict(self) -> dict[str, object]:
        """Make the values for report.json."""
        values = asdict(self)
        values.pop('ok')  # the verdict says it
        question, kind = values.pop('question'), values.pop('kind')
        return {'question': question, 'type': kind, 'verdict': self.verdict, **values}


@dataclass
class Visit:
    """A waypoint and what was found there; x, y in metres, yaw in radians."""

    name: str
    frame_id: str
    x: float
    y: float
    yaw: float
    reached: bool = False
    arrived: float | None = None
    error: str = ''
    answers: list[Answered] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Make the values for report.json."""
        return {**vars(self), 'answers': [answered.as_dict() for answered in self.answers]}


@dataclass
class Report:
    """A mission; pictures are JPEG files, by the names that answers give them."""

    mission: str
    started: float = field(default_factory=time.time)
    outcome: str = RUNNING
    ended: float | None = None
    waypoints: list[Visit] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)

    @property
    def answers(self) -> Sequence[Answered]:
        """All answers in the order of the questions."""
        return [answered for visit in self.waypoints for answered in visit.answers]

    @property
    def summary(self) -> str:
        """Summarise in a sentence what was reached, answered and found."""
        counts = Counter(answered.verdict for answered in self.answers)
        reached = sum(visit.reached for visit in self.waypoints)
        parts = [
            f'{reached} of {len(self.waypoints)} waypoints reached',
            f'{counts.total() - counts[FAILED]} of {counts.total()} questions answered',
        ]
        if counts[UNEXPECTED]:
            parts.append(f'{counts[UNEXPECTED]} not as expected')
        if counts[UNCLEAR]:
            parts.append(f'{counts[UNCLEAR]} unclear')
        return ', '.join(parts) + '.'

    @property
    def complete(self) -> bool:
        """Whether every waypoint was reached and every question answered."""
        return all(visit.reached for visit in self.waypoints) and not any(
            answered.verdict == FAILED for answered in self.answers
        )

    @property
    def alarms(self) -> Sequence[Answered]:
        """List the answers that are not as expected, including unclear ones."""
        return [
            answered for answered in self.answers
            if answered.expect and answered.verdict in (UNEXPECTED, UNCLEAR)
        ]

    def to_json(self) -> str:
        """Write the text of report.json."""
        values = {
            'mission': self.mission,
            'outcome': self.outcome,
            'started': self.started,
            'ended': self.ended,
            'waypoints': [visit.as_dict() for visit in self.waypoints],
        }
        return json.dumps(values, indent=2, ensure_ascii=False) + '\n'
