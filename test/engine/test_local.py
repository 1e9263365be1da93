# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
import re
import threading
from typing import Any

import numpy as np
import pytest
from vlm_npu_ros.engine.backends.base import LanguageModel, VisionEncoder
from vlm_npu_ros.engine.backends.scripted import (
    ScriptedEncoder,
    ScriptedLanguageModel,
    ScriptedTimings,
)
from vlm_npu_ros.engine.choices.instructions import Instructions, PLAIN
from vlm_npu_ros.engine.errors import (
    BackendCrashedError,
    ContextError,
    ImageError,
    InactiveError,
    RequestError,
    VlmError,
)
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.local import evenly, LocalEngine, NpuLock
from vlm_npu_ros.engine.types import (
    Chunk,
    DecidedBy,
    FinishReason,
    GenerationRequest,
    ImageEmbedding,
    NumberRange,
    Sampling,
    Turn,
    UNCLEAR,
    Verdict,
    YES_NO,
)
import yaml

PICTURE = np.full((6, 8, 3), 200, np.uint8)
EMBEDDING = np.zeros((64, 1, 128), np.float32)
PATIENCE = 30.0  # seconds; only a broken test waits this long
SLOW = ScriptedTimings(decode_rate=1 / (2 * PATIENCE))  # words a second


def request(question: str = 'what do you see?', **options: object) -> GenerationRequest:
    return GenerationRequest(question, (), **options)


class WatchedCondition(threading.Condition):
    """A condition that tells when a thread begins to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._waits = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        # The lock is held here: nobody can change anything before the wait has begun.
        self._waits.release()
        return super().wait(timeout)

    def await_waiter(self) -> None:
        """Return when one more thread waits."""
        assert self._waits.acquire(timeout=PATIENCE)


def watch(lock: NpuLock) -> WatchedCondition:
    lock._changed = WatchedCondition()
    return lock._changed


class FakeEncoder(VisionEncoder):
    """Returns or raises what it is given."""

    def __init__(self, result: object = EMBEDDING) -> None:
        self.result = result
        self.closed = False

    def encode(self, rgb: np.ndarray) -> np.ndarray:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def close(self) -> None:
        self.closed = True


class FakeLanguageModel(LanguageModel):
    """Says a word, then raises what it is given."""

    name = 'fake'
    context = 100

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.iterators_closed = 0
        self.closed = False

    def tokens(self, request: GenerationRequest) -> int:
        return sum(image.tokens for image in request.images) + 10 * (len(request.turns) + 1)

    def generate(self, request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        try:
            yield Chunk('word')
            if self.error:
                raise self.error
            yield Chunk('', FinishReason.EOS)
        finally:
            self.iterators_closed += 1

    def close(self) -> None:
        self.closed = True


def within_patience(futures: list[Future]) -> list[object]:
    return [future.result(PATIENCE) for future in futures]


# The lock

def test_generation_goes_first_and_then_they_take_turns(pool: ThreadPoolExecutor) -> None:
    lock = NpuLock()
    changed = watch(lock)
    order = []

    def use(name: str, turn: Callable) -> None:
        with turn():
            order.append(name)

    with lock.encoding():
        futures = []
        for name, turn in [
            ('encoding', lock.encoding), ('encoding', lock.encoding),
            ('generation', lock.generating), ('generation', lock.generating),
        ]:
            futures.append(pool.submit(use, name, turn))
            changed.await_waiter()
        assert order == []
    within_patience(futures)
    assert order == ['generation', 'encoding', 'generation', 'encoding']


@pytest.mark.parametrize('inner', ['encoding', 'generating'])
@pytest.mark.parametrize('outer', ['encoding', 'generating'])
def test_one_runs_at_a_time(outer: str, inner: str, pool: ThreadPoolExecutor) -> None:
    lock = NpuLock()
    changed = watch(lock)
    entered = threading.Event()

    def use() -> None:
        with getattr(lock, inner)():
            entered.set()

    with getattr(lock, outer)():
        future = pool.submit(use)
        changed.await_waiter()
        assert not entered.is_set()
    future.result(PATIENCE)
    assert entered.is_set()


@pytest.mark.parametrize('turn', ['encoding', 'generating'])
def test_lock_is_released_after_an_error(turn: str) -> None:
    lock = NpuLock()
    with pytest.raises(ValueError), getattr(lock, turn)():
        raise ValueError
    with lock.encoding():
        pass


def test_encodings_run_again_after_a_wait_for_a_generation_was_interrupted() -> None:
    lock = NpuLock()
    changed = watch(lock)

    def interrupted(timeout: float | None = None) -> bool:
        raise KeyboardInterrupt

    with lock.encoding():
        changed.wait = interrupted
        with pytest.raises(KeyboardInterrupt), lock.generating():
            pass
    del changed.wait
    with lock.encoding():
        pass


# Encoding

def test_encodes() -> None:
    embedding = LocalEngine(FakeEncoder(), FakeLanguageModel()).encode(PICTURE)
    assert embedding.data is EMBEDDING
    assert 0 <= embedding.encode_seconds < PATIENCE


@pytest.mark.parametrize('result', [
    EMBEDDING[0],
    EMBEDDING[None],
    EMBEDDING.astype(np.float64),
    EMBEDDING.astype(np.float16),
    EMBEDDING.transpose(2, 1, 0),
    EMBEDDING[::2],
    EMBEDDING.tolist(),
    None,
    RuntimeError('the runtime is broken'),
    MemoryError(),
], ids=lambda result: f'{type(result).__name__} {np.shape(result)}')
def test_encoder_that_fails_is_a_crashed_backend(result: object) -> None:
    with pytest.raises(BackendCrashedError, match='The vision encoder'):
        LocalEngine(FakeEncoder(result), FakeLanguageModel()).encode(PICTURE)


def test_bad_image_stays_a_bad_image() -> None:
    with pytest.raises(ImageError, match='no pixels'):
        LocalEngine(FakeEncoder(ImageError('no pixels')), FakeLanguageModel()).encode(PICTURE)


def test_encoding_waits_for_the_end_of_an_answer(pool: ThreadPoolExecutor) -> None:
    engine = LocalEngine(FakeEncoder(), FakeLanguageModel())
    changed = watch(engine._npu)
    answer = engine.write(request(), Cancellation())
    assert next(answer) == Chunk('word')
    encoding = pool.submit(engine.encode, PICTURE)
    changed.await_waiter()
    assert not encoding.done()
    assert [chunk.finish_reason for chunk in answer] == [FinishReason.EOS]
    assert encoding.result(PATIENCE).data is EMBEDDING


# Generation

@pytest.mark.parametrize('question', ['', ' ', '\t\n', '\u2003'])
def test_empty_question_is_refused(question: str) -> None:
    with pytest.raises(RequestError, match='empty'):
        LocalEngine(FakeEncoder(), FakeLanguageModel()).answer(request(question))


@pytest.mark.parametrize('options, message', [
    ({'max_new_tokens': 0}, 'max_new_tokens must be at least 1, not 0'),
    ({'max_new_tokens': -5}, 'max_new_tokens must be at least 1, not -5'),
    ({'sampling': Sampling(temperature=float('nan'))}, 'temperature must be finite'),
    ({'sampling': Sampling(temperature=float('inf'))}, 'temperature must be finite'),
    ({'sampling': Sampling(seed=-1)}, 'seed not negative'),
])
def test_bad_option_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        LocalEngine(FakeEncoder(), FakeLanguageModel()).answer(request(**options))


@pytest.mark.parametrize('error, raised', [
    (RuntimeError('the runtime is broken'), BackendCrashedError),
    (StopIteration(), BackendCrashedError),
    (ContextError('too long'), ContextError),
])
def test_error_in_an_answer_is_typed_and_leaves_the_engine_usable(
    error: Exception, raised: type[VlmError],
) -> None:
    engine = LocalEngine(FakeEncoder(), model := FakeLanguageModel(error))
    answer = engine.generate(request())
    assert next(answer) == Chunk('word')
    with pytest.raises(raised):
        next(answer)
    model.error = None
    assert engine.answer(request()) == 'word'
    assert engine.encode(PICTURE).data is EMBEDDING


def test_crash_names_the_part_and_the_cause() -> None:
    engine = LocalEngine(FakeEncoder(), FakeLanguageModel(OSError('no such device')))
    with pytest.raises(
        BackendCrashedError, match='The language model failed: OSError: no such device',
    ):
        engine.answer(request())


def test_iterator_that_is_closed_early_frees_the_npu() -> None:
    engine = LocalEngine(FakeEncoder(), model := FakeLanguageModel())
    answer = engine.write(request(), Cancellation())
    next(answer)
    answer.close()
    assert model.iterators_closed == 1
    assert engine.encode(PICTURE).data is EMBEDDING


def test_second_answer_begins_after_the_end_of_the_first(pool: ThreadPoolExecutor) -> None:
    engine = LocalEngine(FakeEncoder(), model := FakeLanguageModel())
    changed = watch(engine._npu)
    first = engine.write(request(), Cancellation())
    next(first)
    second = pool.submit(engine.answer, request())
    changed.await_waiter()
    assert model.iterators_closed == 0
    list(first)
    assert second.result(PATIENCE) == 'word'
    assert model.iterators_closed == 2

# Close


def test_close_frees_both_models_and_may_be_repeated() -> None:
    encoder, model = FakeEncoder(), FakeLanguageModel()
    engine = LocalEngine(encoder, model)
    engine.close()
    assert encoder.closed and model.closed
    engine.close()


def test_close_ends_what_runs_and_what_waits(pool: ThreadPoolExecutor) -> None:
    engine = LocalEngine(encoder := FakeEncoder(), ScriptedLanguageModel(['one two'], SLOW))
    changed = watch(engine._npu)
    answer = engine.generate(request())
    assert next(answer).text == 'one'
    running = pool.submit(list, answer)
    waiting = [
        pool.submit(task, argument) for task, argument in
        [(engine.encode, PICTURE), (engine.answer, request()), (engine.answer, request())]
    ]
    for _ in waiting:
        changed.await_waiter()
    engine.close()
    for future in (running, *waiting):
        assert isinstance(future.exception(PATIENCE), InactiveError)
    assert encoder.closed


def test_close_waits_for_an_encoding(pool: ThreadPoolExecutor) -> None:
    begun, finish = threading.Event(), threading.Event()

    class SlowEncoder(FakeEncoder):

        def encode(self, rgb: np.ndarray) -> np.ndarray:
            begun.set()
            assert finish.wait(PATIENCE)
            assert not self.closed
            return super().encode(rgb)

    engine = LocalEngine(encoder := SlowEncoder(), FakeLanguageModel())
    changed = watch(engine._npu)
    encoding = pool.submit(engine.encode, PICTURE)
    assert begun.wait(PATIENCE)
    closing = pool.submit(engine.close)
    changed.await_waiter()
    assert not encoder.closed
    finish.set()
    assert encoding.result(PATIENCE).data is EMBEDDING
    closing.result(PATIENCE)
    assert encoder.closed


@pytest.mark.parametrize('choices, answer, said, verdict, reason', [
    (('yes', 'no'), 'Yes, it is free. Go on.', 'Yes, it is free. Go', 0, FinishReason.STOP),
    (('yes', 'no'), 'no', 'no', 1, FinishReason.EOS),
    (('red', 'blue'), 'Blue.', 'Blue.', 1, FinishReason.EOS),
])
def test_answer_ends_where_it_decides(
    choices: tuple[str, ...], answer: str, said: str, verdict: int, reason: FinishReason
) -> None:
    engine = LocalEngine(ScriptedEncoder(), ScriptedLanguageModel([answer]))
    chunks = list(engine.generate(request(choices=choices)))
    assert ''.join(chunk.text for chunk in chunks) == said
    assert chunks[-1].verdict == Verdict(verdict, decided_by=DecidedBy.WORDS)
    assert chunks[-1].finish_reason is reason
    assert chunks[-1].figures.new_tokens <= len(said.split()) + 1
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


def test_model_is_asked_for_one_of_the_choices() -> None:
    model = ScriptedLanguageModel({'Yes or no: is it red?': 'yes'})
    model.instructions = Instructions('Yes or no: {question}', '{question}')
    engine = LocalEngine(ScriptedEncoder(), model)
    typed = request('is it red?', choices=YES_NO)
    assert engine.answer(typed) == 'yes'
    assert engine.tokens(typed) == engine.tokens(request('Yes or no: is it red?'))


def test_cancelled_answer_decides_nothing() -> None:
    engine = LocalEngine(ScriptedEncoder(), ScriptedLanguageModel(['it is so'], SLOW))
    cancelled = Cancellation()
    answer = engine.write(request(choices=YES_NO), cancelled)
    next(answer)
    cancelled.set()
    last = list(answer)[-1]
    assert (last.finish_reason, last.verdict) == (FinishReason.CANCELLED, None)


def test_cancel_while_it_is_asked_back_decides_nothing() -> None:
    model, cancelled = CarefulReader('It might be.', 'yes'), Cancellation()
    generate = model.generate

    def watched(asked: GenerationRequest, stop: Cancellation) -> Iterator[Chunk]:
        if not asked.is_typed:
            cancelled.set()
        return generate(asked, stop)

    model.generate = watched  # type: ignore[method-assign]
    engine = LocalEngine(ScriptedEncoder(), model)
    *_, last = engine.write(request(choices=YES_NO), cancelled)
    assert (last.finish_reason, last.verdict) == (FinishReason.CANCELLED, None)


def test_word_that_is_cut_does_not_decide() -> None:
    for answer, choices, verdict in (
        ('No smok', YES_NO, None), ('1', ('1', '2'), None), ('Yes', YES_NO, 0),
        ('red', ('red', 'blue'), 0),
    ):
        model = CarefulReader(answer, 'neither')
        generate = model.generate

        def cut(
            asked: GenerationRequest, stop: Cancellation, generate: Any = generate
        ) -> Iterator[Chunk]:
            for chunk in generate(asked, stop):
                reason = chunk.finish_reason and FinishReason.LENGTH
                yield replace(chunk, finish_reason=reason)

        model.generate = cut  # type: ignore[method-assign]
        engine = LocalEngine(ScriptedEncoder(), model)
        *_, last = engine.generate(request(choices=choices))
        assert last.verdict.index == verdict, answer


class ScoringModel(ScriptedLanguageModel):
    """Finds red more probable than blue, whatever it says."""

    tells_probabilities = True

    def score(
        self, request: GenerationRequest, said: str, endings: tuple[str, ...]
    ) -> tuple[float, ...]:
        space = ' ' if said else ''
        known = {f'{space}red': 0.5, f'{space}Red': 0.25, f'{space}blue': 0.125}
        return tuple(known.get(ending, 0) for ending in endings)


@pytest.mark.parametrize(('least', 'index'), [(0.7, 0), (0.8, None)])
def test_scores_decide_where_there_are_some(least: float, index: int | None) -> None:
    engine = LocalEngine(ScriptedEncoder(), ScoringModel(['Blue. Or so.']))
    typed = request(choices=('red', 'blue'), min_probability=least)
    *pieces, last = engine.generate(typed)
    assert last.verdict == Verdict(index, 0.75, DecidedBy.PROBABILITY)
    assert [piece.text for piece in pieces] == ['Blue.']


def test_word_as_it_was_written_counts() -> None:
    class Spanish(ScriptedLanguageModel):

        tells_probabilities = True

        def score(self, request: GenerationRequest, said: str, endings: tuple[str, ...]) -> Any:
            return tuple({'Sí': 0.75, 'No': 0.125}.get(ending, 0) for ending in endings)

    engine = LocalEngine(ScriptedEncoder(), Spanish(['Sí. Lo es.']))
    verdict = [*engine.generate(request(choices=YES_NO))][-1].verdict
    assert verdict == Verdict(0, 0.75, DecidedBy.PROBABILITY)


def test_sentence_is_decided_by_probability_only() -> None:
    for model, verdict in (
        (ScoringModel(['It is blue.']), Verdict(0, 0.75, DecidedBy.PROBABILITY)),
        (ScriptedLanguageModel(['It is blue.']), Verdict(None)),
    ):
        model.instructions = replace(PLAIN, ask_back='', in_sentences=True)
        engine = LocalEngine(ScriptedEncoder(), model)
        assert list(engine.generate(request(choices=('red', 'blue'))))[-1].verdict == verdict


class CarefulReader(ScriptedLanguageModel):
    """Gives an answer, and says what it means when it is asked back."""

    def __init__(self, answer: str, meaning: str) -> None:
        super().__init__({})
        self._said, self._meaning = answer, meaning

    def _answer(self, question: str) -> str:
        if 'does that say?' not in question:
            return self._said
        options = dict(
            option[::-1]
            for option in re.findall(r'([A-Z])\) (.+?)(?= [A-Z]\)|\. Reply)', question)
        )
        neither = options.get('neither') or options.get('none of these')
        return options.get(self._meaning) or neither or self._meaning


def test_hostile_answers_are_asked_back() -> None:
    path = Path(__file__).parents[1] / 'data' / 'decisions_hostile.yaml'
    for row in yaml.safe_load(path.read_text(encoding='utf-8')):
        choices = tuple(map(str, row.get('choices', YES_NO)))
        engine = LocalEngine(ScriptedEncoder(), CarefulReader(row['answer'], str(row['want'])))
        typed = request(choices=choices)
        verdict = list(engine.generate(typed))[-1].verdict
        assert typed.decided(verdict) == str(row['want']), row
        quiet = list(engine.generate(replace(typed, ask_back=False)))[-1].verdict
        allowed = {UNCLEAR, str(row['want']), *map(str, row.get('also', ()))}
        assert typed.decided(quiet) in allowed, row


def test_question_asked_back_goes_on_with_the_dialogue_and_costs() -> None:
    model = CarefulReader('It might be on.', 'off')
    asked: list[GenerationRequest] = []
    generate = model.generate

    def watched(request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        asked.append(request)
        return generate(request, cancelled)

    model.generate = watched  # type: ignore[method-assign]
    engine = LocalEngine(ScriptedEncoder(), model)
    typed = request('is it on?', choices=('on', 'off'), turns=(Turn('a', 'b'),))
    *_, last = engine.generate(typed)
    assert last.verdict == Verdict(1, decided_by=DecidedBy.ASKED_BACK)
    first, second = asked
    assert first.keep and second.turns == (*typed.turns, Turn('is it on?', 'It might be on.'))
    assert second.images == typed.images and not second.is_typed
    assert last.figures.new_tokens == 4 + 1
    assert last.figures.prompt_tokens == model.tokens(first) + model.tokens(second)


def test_dialogue_that_cannot_be_taken_up_again_is_not_displaced() -> None:
    for keep, way in ((True, DecidedBy.NOTHING), (False, DecidedBy.ASKED_BACK)):
        model = CarefulReader('It might be on.', 'off')
        model.takes_up_dialogues = False
        engine = LocalEngine(ScriptedEncoder(), model)
        *_, last = engine.generate(request(choices=('on', 'off'), keep=keep))
        assert last.verdict.decided_by is way


def test_question_asked_back_that_does_not_fit_leaves_the_answer_unclear() -> None:
    timings = ScriptedTimings(context=12, image_tokens=1)
    engine = LocalEngine(ScriptedEncoder(), ScriptedLanguageModel(['it is so'], timings))
    *_, last = engine.generate(request(choices=YES_NO, max_new_tokens=4))
    assert last.verdict == Verdict(None) and last.finish_reason is FinishReason.EOS


@pytest.mark.parametrize(('answer', 'meaning', 'number', 'way'), [
    ('3.', '', 3.0, DecidedBy.WORDS),
    ('about a dozen', '11', 11.0, DecidedBy.ASKED_BACK),
    ('about a dozen', 'unclear', None, DecidedBy.ASKED_BACK),
    ('40', '', None, DecidedBy.WORDS),
    ('Perhaps 70.', '70', None, DecidedBy.ASKED_BACK),
])
def test_numbers(answer: str, meaning: str, number: float | None, way: DecidedBy) -> None:
    engine = LocalEngine(ScriptedEncoder(), CarefulReader(answer, meaning))
    typed = request('how many?', number=NumberRange(0, 20))
    *_, last = engine.generate(typed)
    index = None if number is None else 0
    assert last.verdict == Verdict(index, None, way, number)
    assert typed.decided(last.verdict) == (UNCLEAR if number is None else f'{number:.0f}')


def frames(count: int) -> tuple[ImageEmbedding, ...]:
    return tuple(ImageEmbedding(np.zeros((10, 1, 4), np.float32), 0.0) for _ in range(count))


@pytest.mark.parametrize('images, turns, limit, left, dropped', [
    (1, 0, 0, [0], 0),
    (1, 3, 0, [0], 0),  # 10 + 40 + 50 = 100
    (1, 5, 0, [0], 2),
    (1, 5, 30, [0], 4),  # 10 + 20
    (4, 0, 0, [0, 1, 2, 3], 0),
    (9, 0, 0, [0, 3, 5, 8], 0),  # 40 + 10 + 50 = 100
    (9, 2, 0, [0, 3, 5, 8], 2),
    (9, 0, 20, [8], 0),
    (1, 0, 5, [0], 0),  # does not fit: the language model says so
])
def test_request_is_made_to_fit(
    images: int, turns: int, limit: int, left: list[int], dropped: int,
) -> None:
    engine = LocalEngine(FakeEncoder(), FakeLanguageModel())
    said = tuple(Turn(f'q{i}', f'a{i}') for i in range(turns))
    request = GenerationRequest('?', frames(images), 50, turns=said)
    fitted = engine.fit(request, limit)
    assert (list(fitted.images), fitted.dropped_turns) == (left, dropped)
    assert fitted.request.images == tuple(request.images[i] for i in left)
    assert fitted.request.turns == said[dropped:]


@pytest.mark.parametrize('count, wanted, chosen', [
    (1, 1, [0]), (5, 1, [4]), (5, 2, [0, 4]), (5, 3, [0, 2, 4]), (10, 4, [0, 3, 6, 9]),
    (4, 4, [0, 1, 2, 3]),
])
def test_chosen_frames_are_evenly_spaced(count: int, wanted: int, chosen: list[int]) -> None:
    assert evenly(count, wanted) == chosen
