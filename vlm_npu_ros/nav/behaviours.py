# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Behaviours for py_trees that ask a vlm node; a tick never waits.

    clear = ViewIs('path clear?', vlm, 'is the path clear?', max_age=1.0)
    tree = Sequence('go', memory=True, children=[clear, drive])

They share a VlmClient, which has a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable
import math
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, PointStamped
from std_msgs.msg import Header
from vlm_npu_ros.client import Answer, AnswerFuture, AskFields, VlmClient, VlmClientError
from vlm_npu_ros.client.fields import from_seconds
from vlm_npu_ros.client.messages import make_goal
from vlm_npu_ros.engine.types import UNCLEAR, YES_NO
from vlm_npu_ros.nav.mission import make_pose

try:
    from py_trees.behaviour import Behaviour
    from py_trees.common import Access, Status
except ImportError as error:
    raise ImportError(
        'py_trees is missing (2.2 or later): sudo apt install ros-$ROS_DISTRO-py-trees, '
        "or: pip install 'py_trees>=2.2,<3'"
    ) from error

if TYPE_CHECKING:
    from typing_extensions import Unpack

Clock = Callable[[], float | Time]
_KEYS = (
    'answer', 'choice', 'number', 'confidence', 'decided_by', 'stamp', 'age', 'error_code',
    'error',
)


class _Asking(Behaviour):
    """Asks when it starts, never blocks, cancels when it is interrupted."""

    def __init__(
        self, name: str, vlm: VlmClient, question: str, clock: Clock | None, fields: AskFields
    ) -> None:
        super().__init__(name)
        make_goal(question, **fields)  # raises ValueError now, not in a tick
        self._vlm = vlm
        self._question = question
        self._clock = clock
        self._fields = fields
        self._future: AnswerFuture | None = None
        self._refusal = ''

    def initialise(self) -> None:
        """Ask."""
        fields = self._fields
        if self._clock:
            fields = {**fields, 'not_before': self._clock()}
        self._future, self._refusal = None, ''
        try:
            self._future = self._vlm.ask_async(self._question, check=False, **fields)
        except VlmClientError as error:  # it is closed
            self._refusal = str(error)

    def update(self) -> Status:
        """Return RUNNING until the question has ended, then what its end means."""
        if self._future is None:
            return self._fail(None, self._refusal)
        if not self._future.done():
            self.feedback_message = 'asked'
            return Status.RUNNING
        failure = self._future.exception()
        if failure:
            return self._fail(None, str(failure))
        answer = self._future.result()
        if not answer.ok:
            return self._fail(answer, answer.error)
        self.feedback_message = answer.choice or answer.text
        return self._judge(answer)

    def terminate(self, new_status: Status) -> None:
        """Cancel the question if it has not ended."""
        if self._future:
            self._future.cancel()

    def _fail(self, answer: Answer | None, error: str) -> Status:
        self.feedback_message = error
        return Status.FAILURE

    def _judge(self, answer: Answer) -> Status:
        return Status.SUCCESS


class Ask(_Asking):
    """
    Asks; SUCCESS with the answer on the blackboard, FAILURE without one.

    namespace: of the keys answer, choice, number, confidence, decided_by, stamp, age (as in
        client.Answer), error_code and error. On success the last two are 0 and ''; on failure
        the others have as much of the answer as came.
    clock: returns the ROS time; only frames from the start of this behaviour on count. None: any
        frame that is not older than max_age.
    fields: as in VlmClient.ask. Raises ValueError for a value that no request can hold.
    """

    def __init__(
        self,
        name: str,
        vlm: VlmClient,
        question: str,
        *,
        namespace: str = 'vlm',
        clock: Clock | None = None,
        **fields: Unpack[AskFields],
    ) -> None:
        super().__init__(name, vlm, question, clock, fields)
        self._blackboard = self.attach_blackboard_client(namespace=namespace)
        for key in _KEYS:
            self._blackboard.register_key(key, access=Access.WRITE)

    def _fail(self, answer: Answer | None, error: str) -> Status:
        self._write(answer, answer.error_code if answer else 0, error)
        return super()._fail(answer, error)

    def _judge(self, answer: Answer) -> Status:
        self._write(answer, 0, '')
        return Status.SUCCESS

    def _write(self, answer: Answer | None, error_code: int, error: str) -> None:
        values = (
            answer.text, answer.choice, answer.number, answer.confidence, answer.decided_by,
            answer.stamp, answer.age,
        ) if answer else ('', '', 0.0, 0.0, '', None, None)
        for key, value in zip(_KEYS, (*values, error_code, error), strict=True):
            self._blackboard.set(key, value)


class Find(_Asking):
    """
    Looks for a thing; SUCCESS with a pose before it on the blackboard, FAILURE without one.

        find = Find('find', vlm, 'the red box', lambda point: buffer.transform(point, 'base_link'))

    to_base: converts a point of the camera into a frame on the robot, x ahead, y left, z up.
    stop: metres that the pose stays away from the thing, which it looks at.
    namespace: of the keys goal_pose (PoseStamped for Nav2's NavigateToPose, in that frame, at the
        stamp of the picture), place (client.Place) and error. The nearest thing counts.
    clock, fields: as in Ask. A thing without a point, for want of depth, is a failure.
    """

    def __init__(
        self,
        name: str,
        vlm: VlmClient,
        thing: str,
        to_base: Callable[[PointStamped], PointStamped],
        *,
        stop: float = 0.5,
        namespace: str = 'vlm',
        clock: Clock | None = None,
        **fields: Unpack[AskFields],
    ) -> None:
        super().__init__(name, vlm, thing, clock, {**fields, 'locate': True})
        self._to_base, self._stop = to_base, stop
        self._blackboard = self.attach_blackboard_client(namespace=namespace)
        for key in ('goal_pose', 'place', 'error'):
            self._blackboard.register_key(key, access=Access.WRITE)

    def _fail(self, answer: Answer | None, error: str) -> Status:
        self._blackboard.error = error
        return super()._fail(answer, error)

    def _judge(self, answer: Answer) -> Status:
        told = [(place, place.point) for place in answer.places if place.point]
        if not told:
            seen = 'has no point: is there a depth picture?' if answer.places else 'is not seen'
            return self._fail(answer, f'{self._question} {seen}')
        place, (x, y, z) = min(told, key=lambda found: math.hypot(*found[1]))
        header = Header(stamp=from_seconds(Time, place.stamp or 0.0), frame_id=place.frame_id)
        try:
            base = self._to_base(PointStamped(header=header, point=Point(x=x, y=y, z=z)))
        except Exception as error:  # of tf2, which has one for each fault
            return self._fail(answer, f'{type(error).__name__}: {error}')
        away, yaw = math.hypot(base.point.x, base.point.y), math.atan2(base.point.y, base.point.x)
        ahead = max(away - self._stop, 0.0)
        pose = make_pose(base.header.frame_id, ahead * math.cos(yaw), ahead * math.sin(yaw), yaw)
        pose.header.stamp = base.header.stamp
        self._blackboard.goal_pose, self._blackboard.place = pose, place
        self._blackboard.error = ''
        return Status.SUCCESS


class ViewIs(_Asking):
    """
    A condition: SUCCESS if the camera shows what is expected, FAILURE if not, or on an error.

    expected: one of the choices in fields; without choices, yes or no.
    unclear: the status for an unclear answer.
    clock, fields: as in Ask.
    """

    def __init__(
        self,
        name: str,
        vlm: VlmClient,
        question: str,
        expected: str = 'yes',
        *,
        unclear: Status = Status.FAILURE,
        clock: Clock | None = None,
        **fields: Unpack[AskFields],
    ) -> None:
        allowed = fields.get('choices') or YES_NO
        if expected not in allowed:
            raise ValueError(f'expected is {expected!r}: it must be one of {", ".join(allowed)}')
        fields['yes_no'] = allowed is YES_NO
        super().__init__(name, vlm, question, clock, fields)
        self._expected = expected
        self._unclear = unclear

    def _judge(self, answer: Answer) -> Status:
        if answer.choice == UNCLEAR:
            return self._unclear
        return Status.SUCCESS if answer.choice == self._expected else Status.FAILURE
