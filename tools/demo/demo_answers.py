# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Answers that came over ROS, and whether they are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlm_npu_ros.client import Answer
from vlm_npu_ros.client.messages import to_seconds
from vlm_npu_ros.demo.questions import SceneQuestion
from vlm_npu_ros.demo.truth import Truth
from vlm_npu_ros.msg import PartialAnswer

NEEDED = 0.8  # share of right answers


@dataclass(frozen=True)
class DemoAnswer:
    """
    What came back for a question.

    way: 'service' or 'action'.
    result: of the node.
    pieces: what came on the topic of partial answers, in the order in which it came.
    """

    way: str
    question: SceneQuestion
    truth: Truth
    result: Answer
    pieces: tuple[PartialAnswer, ...]

    @property
    def right(self) -> bool:
        """Whether it is the only right answer."""
        return not self.fault and self.result.text.strip() == self.question.answer

    @property
    def fault(self) -> str:
        """Why it is not a complete, streamed answer about this scene; '' if it is."""
        result = self.result
        if not result.ok:
            return f'error {result.error_code}: {result.error}'
        if result.frame_id != self.truth.frame_id:
            return f'it is about a frame of {result.frame_id!r}'
        if (result.stamp or 0.0) < to_seconds(self.truth.stamp):
            return 'it is about a frame that is older than the scene'
        if [piece.sequence for piece in self.pieces] != list(range(len(self.pieces))):
            return 'pieces of it were lost or came out of order'
        if ''.join(piece.delta for piece in self.pieces) != result.text:
            return 'its pieces do not add up to it'
        return ''

    @property
    def frame_age(self) -> str:
        """Age of the frame when the answer was complete."""
        return f'{self.result.age or 0.0:.2f} s'

    @property
    def first_token(self) -> str:
        """Time from the question to the first piece."""
        return f'{1000 * self.result.stats["first_token_seconds"]:.0f} ms'

    @property
    def rate(self) -> str:
        """Tokens per second after the first."""
        return f'{self.result.stats["tokens_per_second"]:.0f}'

    @property
    def note(self) -> str:
        """Tell what is wrong with it, otherwise what it cost."""
        return self.fault or (
            f'frame {self.frame_age} old, first token after {self.first_token}, '
            f'{self.rate} tokens/s'
        )


def summary(answers: Sequence[DemoAnswer]) -> str:
    """Say how many answers are right, and how they came."""
    right = sum(answer.right for answer in answers)
    ways = [answer.way for answer in answers]
    return (
        f'{right} of {len(answers)} answers are right; '
        f'{ways.count("service")} came by service, {ways.count("action")} by action.'
    )


def verdict(answers: Sequence[DemoAnswer]) -> str:
    """Say why these answers are not good enough, '' if they are."""
    for answer in answers:
        if answer.fault:
            return f'bad answer by {answer.way} to {answer.question.text!r}: {answer.fault}'
    right = sum(answer.right for answer in answers)
    if right < NEEDED * len(answers):
        return f'only {right} of {len(answers)} answers are right, {NEEDED:.0%} are needed.'
    return ''
