# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Robots that ask a server, as a fleet of them does."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
import random
import time
from typing import Any

import cv2
import numpy as np
import openai
from vlm_npu_ros.demo.scenes import random_scene, render

_SCENES = 16  # that are rendered; each look at one shows other pixels, so that no server knows it
_YES_NO_TOKENS = 8
YES_NO, TEXT = 'yes/no', 'text'
QUESTIONS = {
    YES_NO: ('is the path clear?', 'is there a person?', 'is there a door on the left?'),
    TEXT: ('what do you see?', 'what is in the way?', 'where is the nearest thing?'),
}


@dataclass(frozen=True)
class Habits:
    """
    How a robot asks.

    model: as the server names it.
    period, jitter: seconds between two looks, and the share of it that is random.
    burst: questions about each look, one after the other, in one dialogue.
    yes_no: share of the questions that are to be answered with yes or no.
    size: width and height of the pictures.
    max_tokens: of an answer in free text.
    timeout: seconds for an answer.
    """

    model: str
    period: float
    jitter: float
    burst: int
    yes_no: float
    size: tuple[int, int]
    max_tokens: int
    timeout: float


@dataclass(frozen=True)
class Outcome:
    """
    What became of a question.

    first, total: seconds until the first text, and until the end.
    tokens: that were written. error: '' = it was answered.
    """

    kind: str
    first: float | None
    total: float
    tokens: int
    error: str = ''


class Album:
    """Pictures of synthetic scenes, each of them different."""

    def __init__(self, size: tuple[int, int], quality: int, seed: int) -> None:
        self._quality, self._rng = quality, np.random.default_rng(seed)
        self._scenes = [render(random_scene(self._rng), *size) for _ in range(_SCENES)]

    def look(self) -> str:
        """Make the address (data:) of a JPEG file."""
        scene = self._scenes[self._rng.integers(len(self._scenes))]
        turned = np.roll(scene, int(self._rng.integers(scene.shape[1])), axis=1)
        bgr = cv2.cvtColor(turned, cv2.COLOR_RGB2BGR)
        data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, self._quality])[1]
        return 'data:image/jpeg;base64,' + base64.b64encode(data.tobytes()).decode()


class Robot:
    """
    Looks and asks, again and again.

    outcomes: where it puts what became of its questions.
    late: looks that began later than they should, because the answers before took so long.
    """

    def __init__(
        self, client: openai.AsyncOpenAI, habits: Habits, album: Album,
        outcomes: list[Outcome], seed: int,
    ) -> None:
        self.late = 0
        self._client, self._habits, self._album = client, habits, album
        self._outcomes, self._random = outcomes, random.Random(seed)

    async def work(self) -> None:
        """Ask until cancelled."""
        habits = self._habits
        due = time.monotonic() + self._random.uniform(0, habits.period)
        while True:
            await asyncio.sleep(due - time.monotonic())
            await self._look()
            due += habits.period * (1 + self._random.uniform(-habits.jitter, habits.jitter))
            if due < time.monotonic():
                self.late += 1
                due = time.monotonic()

    async def _look(self) -> None:
        messages: list[dict[str, Any]] = []
        picture = {'type': 'image_url', 'image_url': {'url': self._album.look()}}
        for _ in range(self._habits.burst):
            kind = YES_NO if self._random.random() < self._habits.yes_no else TEXT
            question = self._random.choice(QUESTIONS[kind])
            if kind == YES_NO:
                question += ' Please answer yes or no.'
            text = {'type': 'text', 'text': question}
            content = [text] if messages else [picture, text]
            messages.append({'role': 'user', 'content': content})
            answer = await self._ask(kind, messages)
            if not answer:
                return
            messages.append({'role': 'assistant', 'content': answer})

    async def _ask(self, kind: str, messages: list[dict[str, Any]]) -> str:
        """Ask, and note what became of it; the answer is '' if there is none."""
        times: list[float] = []  # of the pieces
        text, error, started = '', '', time.perf_counter()
        try:
            text = await asyncio.wait_for(
                self._answer(kind, messages, times), self._habits.timeout
            )
            error = '' if text else 'empty answer'
        except asyncio.TimeoutError:
            error = f'no whole answer in {self._habits.timeout:g} s'
        except openai.APIStatusError as failure:
            error = f'HTTP {failure.status_code}'
        except Exception as failure:
            error = type(failure).__name__
        first = times[0] - started if times else None
        total = time.perf_counter() - started
        self._outcomes.append(Outcome(kind, first, total, len(times), error))
        return text

    async def _answer(self, kind: str, messages: list[dict[str, Any]], times: list[float]) -> str:
        stream = await self._client.chat.completions.create(
            model=self._habits.model,
            messages=messages,  # type: ignore[arg-type]
            max_tokens=_YES_NO_TOKENS if kind == YES_NO else self._habits.max_tokens,
            temperature=0,
            stream=True,
        )
        text, ended = '', False
        async with stream:
            async for chunk in stream:
                for choice in chunk.choices:
                    ended = ended or choice.finish_reason is not None
                    if choice.delta.content:
                        times.append(time.perf_counter())
                        text += choice.delta.content
        if not ended:
            raise ConnectionAbortedError
        return text
