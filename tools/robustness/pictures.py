# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Pictures of scenes, questions about them, and the right answer to each."""

from __future__ import annotations

import itertools

from asking import Ask
from builtin_interfaces.msg import Time
import numpy as np
from vlm_npu_ros.demo.scenes import random_scene, render, Scene
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import GenerationRequest

QUESTIONS = ('What do you see?', 'What is on the left?', 'What is on the right?')
_MAX_NEW_TOKENS = 128  # the node's default


def scene(number: int) -> Scene:
    """Make the scene with this number: the same one in every process."""
    return random_scene(np.random.default_rng(number))


def frame_id(number: int) -> str:
    """Name the frame_id of all pictures of a scene."""
    return f'scene_{number}'


class Oracle:
    """
    Knows the right answers: the simulated runtime writes those of the onnx engine, word by word.

    scenes: numbers of scenes about which no question has the same answer twice.
    """

    def __init__(self, width: int, height: int, count: int = 8) -> None:
        self.scenes: list[int] = []
        self._answers: dict[tuple[str, str], str] = {}
        engine = load_engine(EngineSettings(threads=1))
        for number in itertools.count(1):
            if len(self.scenes) == count:
                break
            if not {'left', 'right'} <= {thing.side for thing in scene(number).objects}:
                continue
            embedding = engine.encode(render(scene(number), width, height))
            answers = [
                engine.answer(GenerationRequest(question, (embedding,), _MAX_NEW_TOKENS))
                for question in QUESTIONS
            ]
            if not set(answers) & set(self._answers.values()):
                self.scenes.append(number)
                for question, answer in zip(QUESTIONS, answers, strict=True):
                    self._answers[frame_id(number), question] = answer
        engine.close()

    def judge(self, ask: Ask) -> str:
        """
        Judge what came back: 'lost' for nothing, 'right' for the right answer or an error.

        'swapped' is the answer to something else, 'wrong' answers nothing, 'other picture'
        is about one that was not asked for. An answer that was cut short is right as far as it is.
        """
        if not ask.done:
            return 'lost'
        answer, header, is_whole = ask.result.answer, ask.result.header, ask.result.success

        def fits(right: str) -> bool:
            return answer == right if is_whole else right.startswith(answer)

        if is_whole or answer:
            if not fits(self._answers.get((header.frame_id, ask.question), '')):
                return 'swapped' if any(map(fits, self._answers.values())) else 'wrong'
            is_other = ask.shown and header.frame_id != ask.shown
            if is_other or _as_pair(header.stamp) < _as_pair(ask.not_before):
                return 'other picture'
        return 'right'


def _as_pair(stamp: Time) -> tuple[int, int]:
    return stamp.sec, stamp.nanosec
