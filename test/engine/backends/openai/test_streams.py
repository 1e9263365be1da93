"""Streams of all kinds of servers: however they are cut and mixed, the answers are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import os
import random

from chat_server import ChatServer, Exchange
from server_streams import DONE, ODD, QUIET, Recording, STREAMS
from vlm_npu_ros.engine.backends.openai.events import Events
from vlm_npu_ros.engine.backends.openai.pieces import Piece, read_piece
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.thoughts import answer_of, Habits
from vlm_npu_ros.engine.types import Chunk, FinishReason, GenerationRequest

QUESTION = GenerationRequest('what do you see?', ())
ROUNDS = 2000 if os.environ.get('VLM_FUZZ') == 'full' else 30


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


def cut(data: bytes, chance: random.Random) -> list[bytes]:
    places = sorted(chance.choices(range(len(data)), k=chance.choice((0, 1, 5, 50, len(data)))))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


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


def test_streams_over_a_connection(
    make_engine: Callable[..., LocalEngine], server: ChatServer, lines: list[str]
) -> None:
    engine, chance = make_engine(), random.Random(1)
    for name, recording in STREAMS.items():
        for odd in (b'', chance.choice(ODD), chance.choice(ODD)):
            frames = list(recording.frames)
            frames.insert(chance.randrange(len(frames)), odd)

            def answer(exchange: Exchange, data: bytes = b''.join(frames)) -> None:
                exchange.begin()
                for part in filter(None, cut(data, chance)):
                    exchange.raw(part)
                exchange.wfile.write(b'0\r\n\r\n')

            server.answer = answer
            chunks = list(engine.generate(QUESTION))
            figures = chunks[-1].figures
            assert ''.join(chunk.text for chunk in chunks) == recording.text, (name, odd)
            assert ''.join(chunk.thought for chunk in chunks) == recording.thought, (name, odd)
            assert figures and figures.odd_events == bool(odd)
            assert bool(figures.thought_tokens) == bool(recording.thought)
            if recording.counts:
                assert (figures.prompt_tokens, figures.new_tokens) == recording.counts
    assert sum('events that cannot be read' in line for line in lines) == 2 * len(STREAMS)


def test_an_end_is_an_end_without_a_reason_or_a_marker(
    make_engine: Callable[..., LocalEngine], server: ChatServer
) -> None:
    engine = make_engine()
    for dropped in (b'"finish_reason": "stop"', DONE):
        frames = [f.replace(dropped, b'"x": 0') for f in STREAMS['LM Studio'].frames]
        if dropped == DONE:
            frames = [frame for frame in STREAMS['LM Studio'].frames if frame != DONE]

        def answer(exchange: Exchange, data: bytes = b''.join(frames)) -> None:
            exchange.begin()
            exchange.raw(data)
            exchange.wfile.write(b'0\r\n\r\n')

        server.answer = answer
        *_, last = engine.generate(QUESTION)
        assert last.finish_reason is FinishReason.EOS


def test_server_that_does_not_stream_is_read_at_once(
    make_engine: Callable[..., LocalEngine], server: ChatServer
) -> None:
    message = {'role': 'assistant', 'content': 'a blue cone', 'reasoning_content': 'cone?'}
    choice = {'index': 0, 'message': message, 'finish_reason': 'stop'}
    whole = {'object': 'chat.completion', 'choices': [choice]}
    server.answer = lambda exchange: exchange.reply(200, whole)
    first, *_ = chunks = list(make_engine().generate(QUESTION))
    assert ''.join(chunk.text for chunk in chunks) == 'a blue cone' and first.thought == 'cone?'
