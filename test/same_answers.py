# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Puts the same questions to an engine that reads ahead and to one that does not."""

from __future__ import annotations

from collections import Counter
import threading

import numpy as np
from vlm_npu_ros.demo.questions import random_question
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.types import (
    Chunk,
    GenerationRequest,
    ImageEmbedding,
    Turn,
    Verdict,
    YES_NO,
)

CHOICES = ((), (), YES_NO, ('red', 'green', 'blue'))


class Walk:
    """Shows scenes, and asks about them at any time: alone, in dialogues, and not to the end."""

    def __init__(self, plain: Engine, ahead: Engine, seed: int) -> None:
        self._plain, self._ahead = plain, ahead
        self._draw = np.random.default_rng(seed)
        self.seen: Counter[str] = Counter()

    def go(self, scenes: int) -> None:
        """Assert that the answers about so many scenes are the same."""
        before: tuple[ImageEmbedding, ...] = ()
        for _ in range(scenes):
            self._scene = random_scene(self._draw)
            image = self._plain.encode(render(self._scene, 160, 120))
            reading = self._read(image)
            for _ in range(self._draw.integers(1, 4)):
                images = before if before and self._draw.random() < 0.2 else (image,)
                self._dialogue(images)
                if self._draw.random() < 0.3:
                    reading = reading or self._read(image)
            if reading:
                reading.join()
            before = (image,)

    def _read(self, image: ImageEmbedding) -> threading.Thread | None:
        """Read ahead, or not, or break it off; the next question may come meanwhile."""
        chance, stop = self._draw.random(), Cancellation()
        if chance < 0.2:
            return None
        if chance < 0.3:
            stop.set()
        self.seen['readings'] += 1
        thread = threading.Thread(target=self._ahead.prepare, args=((image,), stop))
        thread.start()
        if chance < 0.5:
            stop.set()
        if chance < 0.7:
            thread.join()
        return thread

    def _dialogue(self, images: tuple[ImageEmbedding, ...]) -> None:
        turns: tuple[Turn, ...] = ()
        for _ in range(1 + (self._draw.random() < 0.3)):
            question = random_question(self._scene, self._draw).text
            choices = CHOICES[self._draw.integers(len(CHOICES))]
            request = GenerationRequest(
                question, images, 24, turns=turns, keep=bool(self._draw.random() < 0.5),
                choices=choices,
            )
            if self._draw.random() < 0.2:
                self._break_off(request)
            answers = [self._answer(engine, request) for engine in (self._plain, self._ahead)]
            assert answers[0] == answers[1], request
            self.seen['answers'] += 1
            turns = (*turns, Turn(question, answers[0][0]))

    def _break_off(self, request: GenerationRequest) -> None:
        with self._ahead.generate(request) as generation:
            for _ in range(self._draw.integers(3)):
                next(generation, Chunk(''))
        assert generation.join(30)
        self.seen['cancelled'] += 1

    def _answer(
        self, engine: Engine, request: GenerationRequest
    ) -> tuple[str, int | None, float | None]:
        *chunks, last = engine.generate(request)
        assert last.figures
        if engine is self._ahead:
            self.seen['read ahead'] += last.figures.read_ahead_tokens > 0
        else:
            assert not last.figures.read_ahead_tokens
        verdict = last.verdict or Verdict(None)
        text = ''.join(chunk.text for chunk in (*chunks, last))
        return text, verdict.index, verdict.number
