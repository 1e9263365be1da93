# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Streams of all kinds of servers: however they are cut and mixed, the answers are the same."""

from __future__ import annotations

from collections.abc import Iterator
import random

from fuzz.fuzzing import FULL
from server_streams import cut, ODD, QUIET, Recording, STREAMS
from vlm_npu_ros.engine.backends.openai.events import Events
from vlm_npu_ros.engine.backends.openai.pieces import Piece, read_piece
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.thoughts import answer_of, Habits
from vlm_npu_ros.engine.types import Chunk, FinishReason, GenerationRequest

QUESTION = GenerationRequest('what do you see?', ())
ROUNDS = 2000 if FULL else 30


class Reading:
    """One stream, read in the way of the backend, without a connection."""

    def __init__(self, recording: Recording) -> None:
        self.recording, self.pieces = recording, list[Piece]()
        self._events = Events()

    def feed(self, data: bytes) -> None:
        self.pieces += map(read_piece, self._events.feed(data))

    def end(self) -> tuple[str, str, FinishReason | None, tuple[int, int] | None, int]:
        """Return text, thought, reason, counts and the number of odd events."""
        self.pieces += map(read_piece, self._events.end())
        assert self._events.ended
        usages = [(p.usage.prompt_tokens, p.usage.new_tokens) for p in self.pieces if p.usage]

        def chunks() -> Iterator[Chunk]:
            for piece in self.pieces:
                if piece.text or piece.thought:
                    yield Chunk(piece.text, thought=piece.thought)
            yield Chunk('', FinishReason.EOS)

        said = list(answer_of(chunks(), QUESTION, Habits(None), Cancellation()))
        reasons = [piece.finish_reason for piece in self.pieces if piece.finish_reason]
        assert not any(chunk.retracts for chunk in said)
        return (
            ''.join(chunk.text for chunk in said), ''.join(chunk.thought for chunk in said),
            reasons[-1] if reasons else None, usages[-1] if usages else None,
            sum(piece.odd for piece in self.pieces),
        )


def expected(recording: Recording, odd: int = 0) -> tuple[object, ...]:
    return recording.text, recording.thought, FinishReason.EOS, recording.counts, odd


def test_any_interleaving_and_cutting_of_ten_streams_gives_the_same_answers() -> None:
    for seed in range(ROUNDS):
        chance = random.Random(seed)
        readings = {name: Reading(recording) for name, recording in STREAMS.items()}
        parts = {}
        for name, recording in STREAMS.items():
            frames = list(recording.frames)
            for _ in range(chance.randrange(3)):
                frames.insert(chance.randrange(len(frames)), chance.choice(QUIET))
            data = b''.join(frames)
            if chance.random() < 0.3:
                data = data.replace(b'\n', b'\r\n').replace(b'\r\r', b'\r')
            parts[name] = cut(data, chance)
        while left := [name for name, rest in parts.items() if rest]:
            name = chance.choice(left)
            readings[name].feed(parts[name].pop(0))
        for name, reading in readings.items():
            assert reading.end() == expected(reading.recording), (seed, name)


def test_any_single_odd_event_changes_nothing_and_is_counted() -> None:
    for name, recording in STREAMS.items():
        for odd in ODD:
            for place in range(len(recording.frames)):
                reading = Reading(recording)
                for frame in (*recording.frames[:place], odd, *recording.frames[place:]):
                    reading.feed(frame)
                assert reading.end() == expected(recording, 1), (name, place, odd)
