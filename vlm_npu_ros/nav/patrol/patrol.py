# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Drive to waypoints and ask what is there."""

from __future__ import annotations

import concurrent.futures
import time
from typing import Any, Protocol

from geometry_msgs.msg import PoseStamped
from vlm_npu_ros.client import Answer, AnswerFuture, AskFields, VlmClient, VlmClientError
from vlm_npu_ros.client.messages import to_seconds
from vlm_npu_ros.nav.camera import MissionCamera
from vlm_npu_ros.nav.mission import Mission, Question, Waypoint, yaw_of
from vlm_npu_ros.nav.patrol.report import Answered, CANCELLED, COMPLETED, Report, STOPPED, Visit

_TICK = 0.05  # seconds between checks of the navigator and of whether to continue
_CANCEL_SECONDS = 5.0  # for the navigator and the node to confirm a cancel


class Navigator(Protocol):
    """The methods of nav2_simple_commander.BasicNavigator that a patrol uses."""

    def goToPose(self, pose: PoseStamped) -> Any:  # noqa: D102
        ...

    def isTaskComplete(self) -> bool:  # noqa: D102
        ...

    def getResult(self) -> Any:  # noqa: D102
        ...

    def cancelTask(self) -> Any:  # noqa: D102
        ...


class Progress:
    """
    Base class for whatever shows how a mission goes; override what should be shown.

    All methods are called in the thread of `Patrol.run`.
    """

    def driving(self, waypoint: Waypoint) -> None:
        """Show that the robot sets out."""

    def ended(self, visit: Visit) -> None:
        """Show that the drive is over: the robot is there, or visit.error says why not."""

    def asking(self, question: Question) -> None:
        """Show a question that is about to be asked."""

    def answered(self, answered: Answered) -> None:
        """Show how a question has ended."""


class Patrol:
    """
    One run of a mission.

    The report tells what failed, and the mission continues; with stop_on_failure it ends there.
    The navigator is used only in the thread of `run`, as BasicNavigator needs it; vlm and camera
    have threads of their own, so that none of them waits for another.
    """

    def __init__(
        self,
        mission: Mission,
        navigator: Navigator,
        vlm: VlmClient,
        camera: MissionCamera,
        *,
        stop_on_failure: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.report = Report(mission.name)
        self._mission = mission
        self._navigator = navigator
        self._vlm = vlm
        self._camera = camera
        self._stop_on_failure = stop_on_failure
        self._progress = progress or Progress()
        self._cancelled = False

    def cancel(self) -> None:
        """Let `run` cancel what is under way and return; for any thread and signal handlers."""
        self._cancelled = True

    def run(self) -> Report:
        """
        Visit all waypoints; return the report.

        However it ends, by KeyboardInterrupt too, nothing is left under way, and `report` holds
        what was done.
        """
        outcome = CANCELLED
        visits = [_visit(waypoint) for waypoint in self._mission.waypoints]
        self.report.waypoints = visits
        try:
            for waypoint, visit in zip(self._mission.waypoints, visits, strict=True):
                self._visit(waypoint, visit)
                if self._cancelled:
                    break
                if self._stop_on_failure and not _is_fine(visit):
                    outcome = STOPPED
                    break
            else:
                outcome = COMPLETED
        finally:
            self.report.outcome, self.report.ended = outcome, time.time()
            for visit in visits:
                if not visit.reached and not visit.error:
                    visit.error = f'not reached: the mission was {outcome}'
        return self.report

    def _visit(self, waypoint: Waypoint, visit: Visit) -> None:
        self._progress.driving(waypoint)
        visit.error = self._drive(waypoint.pose)
        if not visit.error:
            visit.reached, visit.arrived = True, time.time()
        self._progress.ended(visit)
        if visit.reached and waypoint.questions:
            with self._camera.looking():
                not_before = to_seconds(self._camera.now()) + self._mission.settle
                self._ask_all(waypoint, visit, not_before)

    def _drive(self, pose: PoseStamped) -> str:
        """Drive; return why the robot has not arrived, '' if it has."""
        if self._cancelled:
            return 'the mission was cancelled'
        if not self._navigator.goToPose(pose):
            return 'the navigator rejected the goal'
        arrived = False
        try:
            while not self._navigator.isTaskComplete():
                if self._cancelled:
                    return 'the mission was cancelled on the way'
                time.sleep(_TICK)
            arrived = True
        finally:
            if not arrived:
                self._cancel_task()
        result = self._navigator.getResult().name
        return '' if result == 'SUCCEEDED' else f'the navigator says {result}{self._reason()}'

    def _cancel_task(self) -> None:
        self._navigator.cancelTask()
        deadline = time.monotonic() + _CANCEL_SECONDS
        while not self._navigator.isTaskComplete() and time.monotonic() < deadline:
            time.sleep(_TICK)

    def _reason(self) -> str:
        """Return the reason of a failure, which only newer versions of BasicNavigator give."""
        tell = getattr(self._navigator, 'getTaskError', None)
        code, message = tell() if tell else (0, '')
        return f': error {code}: {message}' if code else ''

    def _ask_all(self, waypoint: Waypoint, visit: Visit, not_before: float) -> None:
        for question in waypoint.questions:
            self._progress.asking(question)
            answered = Answered(
                question.text, question.kind, question.choices, question.expect, asked=time.time()
            )
            visit.answers.append(answered)
            try:
                _fill(answered, self._answer(question, not_before))
            except (VlmClientError, ValueError) as error:
                answered.error = str(error)
            self._add_picture(answered, len(self.report.pictures) + 1)
            self._progress.answered(answered)
            if self._cancelled or (self._stop_on_failure and not answered.ok):
                return

    def _answer(self, question: Question, not_before: float) -> Answer:
        """Ask and wait; raise VlmClientError, ValueError."""
        fields: AskFields = {**question.fields, 'not_before': not_before}
        future = self._vlm.ask_async(question.text, check=False, **fields)
        try:
            while not self._cancelled and not future.done():
                concurrent.futures.wait([future], _TICK)
        finally:
            _cancel(future)
        if not future.done():
            raise VlmClientError('the node has not confirmed that the question is cancelled')
        return future.result()

    def _add_picture(self, answered: Answered, number: int) -> None:
        """Keep the frame that the answer is about, once for all answers about it."""
        if answered.stamp is None:
            return
        found = self._camera.picture_of(answered.stamp, answered.frame_id)
        if found is None:
            remark = f'no picture: no frame of stamp {answered.stamp:.6f} came to the mission'
            answered.note = '; '.join(filter(None, [answered.note, remark]))
            return
        known = [name for name, data in self.report.pictures.items() if data is found]
        answered.picture = known[0] if known else f'pictures/{number:03}.jpg'
        self.report.pictures[answered.picture] = found


def _visit(waypoint: Waypoint) -> Visit:
    pose = waypoint.pose
    position = pose.pose.position
    return Visit(waypoint.name, pose.header.frame_id, position.x, position.y, yaw_of(pose))


def _is_fine(visit: Visit) -> bool:
    return visit.reached and all(answered.ok for answered in visit.answers)


def _cancel(future: AnswerFuture) -> None:
    """Cancel a question unless it has ended, and wait until it has."""
    if future.cancel():
        concurrent.futures.wait([future], _CANCEL_SECONDS)


def _fill(answered: Answered, answer: Answer) -> None:
    answered.ok, answered.answer = answer.ok, answer.text
    answered.choice, answered.number = answer.choice, answer.number
    answered.confidence, answered.decided_by = answer.confidence, answer.decided_by
    answered.error_code, answered.error = answer.error_code, answer.error
    answered.stamp, answered.frame_id = answer.stamp, answer.frame_id
    answered.age, answered.note = answer.age, answer.note
    if answered.kind == 'locate' and answer.ok:
        answered.places = tuple(answer.places)
        answered.answer = '; '.join(map(str, answered.places)) or 'not seen'
