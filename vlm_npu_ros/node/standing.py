# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Standing questions: always answered, and readable without waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
import math
import threading
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_srvs.srv import Trigger
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import RequestError, VlmError
from vlm_npu_ros.msg import StandingAnswer
from vlm_npu_ros.node.ask import Ask
from vlm_npu_ros.node.ask_options import AskOptions, shared_fields
from vlm_npu_ros.node.ask_server import fill_choice
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.evaluations import Evaluations
from vlm_npu_ros.node.frames import CachedFrame, NANOSECONDS
from vlm_npu_ros.node.lifecycle import inactive_error
from vlm_npu_ros.node.located import told
from vlm_npu_ros.node.looks import fill_look, Hysteresis, outcome, said
from vlm_npu_ros.node.parameter_specs import StandingSettings
from vlm_npu_ros.srv import Ask as AskService

_LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
_TYPES = {
    'text': AskService.Request.TEXT,
    'yes_no': AskService.Request.YES_NO,
    'choice': AskService.Request.CHOICE,
    'number': AskService.Request.NUMBER,
    'locate': AskService.Request.LOCATE,
    'json': AskService.Request.JSON,
}


class StandingQuestions:
    """
    Offers a topic and a service for each standing question, `~/standing/<name>`.

    check: converts a request of the Ask service to AskOptions or raises RequestError.

    Raises ValueError for invalid settings.
    """

    def __init__(
        self,
        node: Node,
        clock: StampClock,
        settings: Sequence[StandingSettings],
        check: Callable[[Any], AskOptions],
    ) -> None:
        options = [_options(question, check) for question in settings]  # before anything exists
        self._questions = [
            _StandingQuestion(node, clock, *both) for both in zip(settings, options, strict=True)
        ]

    def use(self, evaluations: Evaluations | None) -> None:
        """Use these evaluations from now on; without them, nothing is asked."""
        for question in self._questions:
            question.use(evaluations)

    def close(self) -> None:
        """Remove the interfaces."""
        for question in self._questions:
            question.close()


@dataclass
class _Known:
    """
    What was answered since the node was activated, or since the clock was set back.

    answer: the published message.
    frame: of the last answered look; None = no answer yet.
    words: text of the last answer that agrees with the confirmed one.
    """

    hysteresis: Hysteresis
    answer: StandingAnswer
    frame: CachedFrame | None = None
    words: str = ''


class _StandingQuestion:
    """A standing question, subscriber to its evaluation."""

    deadline = math.inf

    def __init__(
        self, node: Node, clock: StampClock, settings: StandingSettings, options: AskOptions
    ) -> None:
        self._node, self._clock = node, clock
        self._settings = settings
        self._options = options
        self._expected = _expected(settings, options.outcomes)
        self.period = settings.period
        self._active = False
        self._lock = threading.Lock()  # between looks and calls of the service
        self._known = self._nothing()
        name = f'~/standing/{settings.name}'
        self._publisher = node.create_publisher(StandingAnswer, name, _LATCHED)
        self._service = node.create_service(
            Trigger, name, self._serve, callback_group=ReentrantCallbackGroup()
        )

    def _nothing(self) -> _Known:
        answer = StandingAnswer(question=self._options.request.question)
        return _Known(Hysteresis(self._settings.agreeing), answer)

    def use(self, evaluations: Evaluations | None) -> None:
        """Start without an answer, or stop."""
        self._active = evaluations is not None
        if evaluations:
            self._known = self._nothing()
            evaluations.join(self._options, self)

    def close(self) -> None:
        """Remove the interfaces."""
        self._node.destroy_service(self._service)
        self._node.destroy_publisher(self._publisher)

    def looked(self, ask: Ask) -> None:
        """Store and publish an answer."""
        if ask.error:
            self.ended(ask.error)
            return
        with self._lock:
            known = self._present()
            answer = known.answer
            answer.error_code, answer.error_msg = 0, ''
            fill_look(answer, ask, self._clock)
            known.frame = ask.frame
            known.hysteresis.add(said(ask), ask.header.stamp)
            if said(ask) == known.hysteresis.said:
                fill_choice(answer, ask)
                answer.since = known.hysteresis.since
                known.words = ask.answer.strip() if not self._options.locates else (
                    '; '.join(map(told, answer.located)) or 'not seen')
        self._publisher.publish(answer)

    def ended(self, error: VlmError) -> None:
        """Store and publish why there is no newer answer."""
        with self._lock:
            answer = self._present().answer
            answer.error_code, answer.error_msg = error.code, str(error)
        self._publisher.publish(answer)

    def _present(self) -> _Known:
        """Return what is known, after forgetting what was before the clock was set back."""
        if self._known.frame and not self._clock.holds(self._known.frame):
            self._known = self._nothing()
        return self._known

    def _serve(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            response.success, response.message = self._verdict(self._present())
        return response

    def _verdict(self, known: _Known) -> tuple[bool, str]:
        """Return success and message of the service."""
        if not self._active:
            return False, str(inactive_error(self._node))
        error, confirmed = known.answer.error_msg, known.hysteresis.said
        if known.frame is None or confirmed is None:
            return False, error or 'no answer yet'
        age = (self._clock.now() - known.frame.stamp) / NANOSECONDS
        if abs(age) > self._settings.max_age:
            looked = (
                f'last looked {in_words(age)} ago' if age > 0 else
                f'the stamp of the last frame is {in_words(-age)} ahead of the clock'
            )
            return False, f'stale: {looked}' + (error and f': {error}')
        choice = f'{confirmed}: ' if self._options.request.is_typed else ''
        text = f'{choice}{known.words} ({in_words(max(age, 0.0))} old)'
        return self._expected in ('', outcome(confirmed, self._options)), text


def _options(settings: StandingSettings, check: Callable[[Any], AskOptions]) -> AskOptions:
    """Check a question; raise ValueError, which names the parameter."""
    prefix = f'standing.{settings.name}'
    if not settings.question.strip():
        raise ValueError(f'{prefix}.question is empty')
    if max(settings.region.x, settings.region.y) == 1:
        raise ValueError(f'{prefix}.region is empty: x and y must be below 1')
    # Its max_age is for the cached answer, not for a question.
    request = shared_fields(settings, 'answer_type', 'max_age')
    request.answer_type = _TYPES[settings.answer_type]
    try:
        options = check(request)
    except RequestError as error:
        raise ValueError(f'{prefix}: {error}') from error
    _expected(settings, options.outcomes)
    return replace(options, region=settings.region.region)


def _expected(settings: StandingSettings, outcomes: tuple[str, ...]) -> str:
    """Return the outcome for which the service succeeds; '' = any answer."""
    wanted = ' '.join(settings.expected.split()).casefold()
    if not wanted:
        return outcomes[0] if outcomes else ''
    for each in outcomes:
        if each.casefold() == wanted:
            return each
    raise ValueError(
        f'standing.{settings.name}.expected must be one of {outcomes}, '
        f'not {settings.expected!r}' if outcomes else
        f'standing.{settings.name}.expected is for questions with choices'
    )
