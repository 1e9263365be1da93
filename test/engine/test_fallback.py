# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A chain of backends: real engines, whose language models fail as they are told to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
import queue
import random
import threading
import time
from typing import Any

from bars import timing, within
import numpy as np
import pytest
from vlm_npu_ros.engine.backends.scripted import (
    ScriptedEncoder,
    ScriptedLanguageModel,
    ScriptedTimings,
)
from vlm_npu_ros.engine.breaker import Breaker, BreakerState
from vlm_npu_ros.engine.errors import (
    AnswerTimeoutError,
    BackendCrashedError,
    BackendUnavailableError,
    ContextError,
    EmptyAnswerError,
    ImageError,
    InactiveError,
    ModelFileError,
    NotSupportedError,
    RequestError,
    VlmError,
)
from vlm_npu_ros.engine.fallback import FallbackEngine
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.member import Member
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import (
    Chunk,
    FinishReason,
    GenerationRequest,
    ImageEmbedding,
    Turn,
)

PATIENCE = 30.0  # seconds; only a broken test waits this long
PICTURE = np.full((48, 64, 3), 90, np.uint8)


class Clock:
    """Time that stands still."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class FaultyModel(ScriptedLanguageModel):
    """
    Repeats the question with its own mark at each word, and does what `fault` says instead.

    fault: returns an error to raise before the first word, a number of words after which it
        crashes (-1: it ends without a word or a reason), an event to wait for before the first
        word, or None.
    """

    def __init__(self, mark: str, **timings: Any) -> None:
        super().__init__((), ScriptedTimings(**timings))
        self.mark = self.name = mark
        self.fault: Callable[[], VlmError | int | threading.Event | None] = lambda: None
        self.asked: list[GenerationRequest] = []
        self.waits = threading.Semaphore(0)
        self.thoughts: tuple[float, ...] = ()  # seconds before each of them
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def _answer(self, question: str) -> str:
        return ' '.join(f'{self.mark}:{word}' for word in question.split())

    def generate(self, request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        self.asked.append(request)
        fault = self.fault()
        if isinstance(fault, VlmError):
            raise fault
        if isinstance(fault, threading.Event):
            self.waits.release()
            assert fault.wait(PATIENCE)
        for seconds in self.thoughts:
            time.sleep(seconds)
            yield Chunk('', thought='hm')
        if isinstance(fault, int):
            yield Chunk('')  # says nothing yet
        if fault == -1:
            return
        for count, chunk in enumerate(super().generate(request, cancelled)):
            if isinstance(fault, int) and count == fault:
                raise BackendCrashedError(f'{self.mark} broke after {count} words')
            yield chunk


class Encoder(ScriptedEncoder):
    """Counts what it encodes, and fails where there is an error to raise."""

    error: VlmError | None = None
    hold: threading.Event | None = None
    count = 0

    def encode(self, rgb: np.ndarray) -> np.ndarray:
        if self.error:
            raise self.error
        if self.hold:
            assert self.hold.wait(PATIENCE)
        self.count += 1
        return super().encode(rgb)


class Chain:
    """A chain of two, with all its parts in reach."""

    def __init__(self, first_token: float = PATIENCE, **contexts: int) -> None:
        self.clock, self.log = Clock(), list[str]()
        self.models = {name: FaultyModel(name, context=contexts.get(name, 4096)) for name in 'ab'}
        self.encoders = {name: Encoder() for name in 'ab'}
        self.failures: dict[str, Exception | None] = {'a': None, 'b': None}  # of the loading
        self.holds: dict[str, threading.Event] = {}  # what the loading waits for
        self.held = threading.Semaphore(0)
        self.members = [
            Member(name, lambda name=name: self.make(name), Breaker(3, 5.0, self.clock))
            for name in 'ab'
        ]
        self.engine = FallbackEngine(self.members, first_token, self.log.append)

    def make(self, name: str) -> LocalEngine:
        failure = self.failures[name]
        if name in self.holds:
            self.held.release()
            assert self.holds[name].wait(PATIENCE)
        if failure:
            raise failure
        return LocalEngine(self.encoders[name], self.models[name])

    def ask(self, question: str = 'one two', **options: Any) -> str:
        images = options.pop('images', None) or (self.engine.encode(PICTURE),)
        request = GenerationRequest(question, images, **options)
        return ''.join(chunk.text for chunk in self.engine.generate(request))


@pytest.fixture
def make_chain() -> Iterator[Callable[..., Chain]]:
    chains: list[Chain] = []

    def make(load: bool = True, **options: Any) -> Chain:
        chains.append(Chain(**options))
        if load:
            chains[-1].engine.load()
        return chains[-1]

    yield make
    for chain in chains:
        chain.engine.close()
        chain.engine.close()


@pytest.fixture
def chain(make_chain: Callable[..., Chain]) -> Chain:
    return make_chain()


def fail_with(error: VlmError) -> Callable[[], VlmError]:
    return lambda: error


def test_preferred_one_answers_and_says_so(chain: Chain) -> None:
    request = GenerationRequest('one two', (chain.engine.encode(PICTURE),))
    chunks = list(chain.engine.generate(request))
    assert [chunk.text for chunk in chunks] == ['a:one', ' a:two', '']
    assert {(c.source.backend, c.source.model) for c in chunks if c.source} == {('a', 'a')}
    assert chunks[-1].figures and chunks[-1].figures.new_tokens == 2
    assert not chain.models['b'].asked and not chain.encoders['b'].count
    assert chain.engine.model_name == 'a' and not chain.engine.failure


@pytest.mark.parametrize('error, state', [
    (BackendUnavailableError('gone'), BreakerState.OPEN),
    (ModelFileError('no such model'), BreakerState.OPEN),
    (BackendCrashedError('broke'), BreakerState.CLOSED),
    (AnswerTimeoutError('silent'), BreakerState.CLOSED),
    (ContextError('too long'), BreakerState.CLOSED),
    (NotSupportedError('one picture only'), BreakerState.CLOSED),
    (EmptyAnswerError('it only thought'), BreakerState.CLOSED),
])
def test_next_one_answers(error: VlmError, state: BreakerState, chain: Chain) -> None:
    chain.models['a'].fault = fail_with(error)
    assert chain.ask() == 'b:one b:two'
    assert chain.members[0].breaker.state is state
    assert chain.encoders['b'].count == 1
    works = isinstance(error, (RequestError, EmptyAnswerError))
    assert chain.members[0].breaker.failures == (0 if works else 1)
    assert chain.log == [f'The backend a did not answer: {error}']


@pytest.mark.parametrize('error', [RequestError('no'), ImageError('none'), InactiveError('off')])
def test_what_is_wrong_with_the_question_ends_it(error: VlmError, chain: Chain) -> None:
    chain.models['a'].fault = fail_with(error)
    with pytest.raises(type(error), match=str(error)):
        chain.ask()
    assert not chain.models['b'].asked
    assert chain.members[0].breaker.failures == 0


def test_fault_of_the_code_is_a_crash(chain: Chain) -> None:
    def break_down() -> None:
        raise ZeroDivisionError

    chain.models['a'].fault = break_down
    assert chain.ask() == 'b:one b:two'
    assert chain.members[0].breaker.failures == 1


def test_crash_after_text_is_the_end(chain: Chain) -> None:
    chain.models['a'].fault = lambda: 1
    request = GenerationRequest('one two', (chain.engine.encode(PICTURE),))
    answer = chain.engine.generate(request)
    first = next(answer)
    assert first.text == 'a:one' and first.source and first.source.backend == 'a'
    with pytest.raises(BackendCrashedError, match='broke after 1'):
        next(answer)
    assert not chain.models['b'].asked
    assert chain.members[0].breaker.failures == 1


@pytest.mark.parametrize('fault', [0, -1])
def test_crash_before_text_is_not_the_end(fault: int, chain: Chain) -> None:
    chain.models['a'].fault = lambda: fault
    assert chain.ask() == 'b:one b:two'
    assert chain.members[0].breaker.failures == 1
    assert chain.members[0].breaker.reason in (
        'a broke after 0 words', 'The answer ended without saying why'
    )


def test_all_reasons_are_told_when_none_answers(chain: Chain) -> None:
    chain.models['a'].fault = fail_with(ContextError('too long'))
    chain.models['b'].fault = fail_with(BackendCrashedError('broke'))
    with pytest.raises(ContextError, match='a: too long; b: broke'):
        chain.ask()


def test_one_that_is_too_slow_is_left_alone_until_it_is_done(
    make_chain: Callable[..., Chain],
) -> None:
    chain = make_chain(first_token=0.05)
    done = threading.Event()
    chain.models['a'].fault = lambda: done
    assert chain.ask() == 'b:one b:two'
    assert 'too long' in chain.members[0].obstacle
    assert chain.engine.answering is chain.members[1]
    assert chain.ask() == 'b:one b:two'
    assert len(chain.models['a'].asked) == 1
    chain.models['a'].fault = lambda: None
    left = chain.members[0]._abandoned
    done.set()
    assert left and left.join(PATIENCE)
    chain.engine._first_token = PATIENCE
    assert chain.ask() == 'a:one a:two'


def test_one_that_thinks_is_waited_for(make_chain: Callable[..., Chain]) -> None:
    chain = make_chain(first_token=2.0)
    chain.models['a'].thoughts = (0.5,) * 5
    request = GenerationRequest('one two', (chain.engine.encode(PICTURE),))
    chunks = list(chain.engine.generate(request))
    assert ''.join(chunk.text for chunk in chunks) == 'a:one a:two'
    assert ''.join(chunk.thought for chunk in chunks) == 'hm' * 5
    assert {chunk.source.backend for chunk in chunks if chunk.source} == {'a'}


def test_last_one_may_take_as_long_as_it_likes(make_chain: Callable[..., Chain]) -> None:
    chain = make_chain(first_token=0.05)
    done = threading.Event()
    chain.models['a'].fault = fail_with(BackendUnavailableError('gone'))
    chain.models['b'].fault = lambda: done
    threading.Timer(0.3, done.set).start()
    assert chain.ask() == 'b:one b:two'
    assert chain.ask(backend='b') == 'b:one b:two'


def test_slow_one_is_not_given_up_for_one_that_fails(make_chain: Callable[..., Chain]) -> None:
    chain = make_chain(first_token=0.05)
    done = threading.Event()
    chain.members[1].breaker.fail('gone', at_once=True)
    chain.models['a'].fault = lambda: done
    threading.Timer(0.3, done.set).start()
    assert chain.ask() == 'a:one a:two'
    chain.members[0].breaker.fail('gone', at_once=True)
    done.clear()
    assert chain.ask() == 'b:one b:two'  # of two that fail, the first is not waited for alone
    done.set()


def test_breaker_keeps_questions_away_and_lets_one_find_out(chain: Chain) -> None:
    chain.models['a'].fault = fail_with(BackendCrashedError('broke'))
    for _ in range(5):
        assert chain.ask() == 'b:one b:two'
    assert len(chain.models['a'].asked) == 3
    assert 'broke; tried again in 5.0 s' in chain.members[0].obstacle
    chain.clock.now += 5.0
    assert chain.ask() == chain.ask() == 'b:one b:two'
    assert len(chain.models['a'].asked) == 4
    assert chain.members[0].breaker.remaining == 10.0
    chain.clock.now += 10.0
    chain.models['a'].fault = lambda: None
    assert chain.ask() == 'a:one a:two'
    assert chain.members[0].breaker.state is BreakerState.CLOSED
    assert chain.log[-1] == 'The backend a answers again'


def test_those_left_alone_are_asked_when_no_other_answers(chain: Chain) -> None:
    chain.models['a'].fault = fail_with(BackendUnavailableError('gone'))
    assert chain.ask() == 'b:one b:two'
    chain.models['a'].fault = lambda: None
    chain.models['b'].fault = fail_with(BackendUnavailableError('gone, too'))
    assert chain.ask() == 'a:one a:two'
    assert chain.members[0].breaker.state is BreakerState.CLOSED
    chain.models['a'].fault = fail_with(BackendUnavailableError('gone again'))
    with pytest.raises(BackendUnavailableError, match='a: gone again; b: gone, too'):
        chain.ask()
    assert 'a: gone again' in chain.engine.failure and 'b: gone, too' in chain.engine.failure


def test_named_backend_answers_or_fails_alone(chain: Chain) -> None:
    assert chain.ask(backend='b') == 'b:one b:two'
    chain.models['a'].fault = fail_with(BackendUnavailableError('gone'))
    with pytest.raises(BackendUnavailableError, match='a: gone'):
        chain.ask(backend='a')
    assert len(chain.models['b'].asked) == 1
    with pytest.raises(RequestError, match="'c': choose one of a, b"):
        chain.ask(backend='c')


def test_one_that_can_not_be_loaded_is_left_out(make_chain: Callable[..., Chain]) -> None:
    chain = make_chain(load=False)
    chain.failures['a'] = BackendUnavailableError('no library')
    chain.engine.load()
    assert chain.ask() == 'b:one b:two'
    assert 'no library' in chain.members[0].obstacle
    with pytest.raises(BackendUnavailableError, match='a is missing: .*no library'):
        chain.ask(backend='a')
    chain.models['b'].fault = fail_with(BackendCrashedError('broke'))
    with pytest.raises(BackendCrashedError, match='b: broke; a: it is not loaded: no library'):
        chain.ask()
    chain.models['b'].fault = lambda: None
    later, = [thread for thread in threading.enumerate() if thread.name == 'load a']
    chain.engine.close()
    later.join(PATIENCE)
    assert not later.is_alive()
    assert not [line for line in chain.log if 'still' in line]  # the clock stands still


def test_one_that_could_not_be_loaded_is_loaded_in_the_background(
    make_chain: Callable[..., Chain],
) -> None:
    chain = make_chain(load=False)
    loaded: queue.SimpleQueue[str] = queue.SimpleQueue()
    chain.members[0].breaker = Breaker(3, 0.01)
    chain.engine._log = loaded.put
    chain.failures['a'] = BackendUnavailableError('no library')
    chain.engine.load()
    assert 'a cannot be loaded: no library' in loaded.get(timeout=PATIENCE)
    assert 'a still cannot be loaded' in loaded.get(timeout=PATIENCE)
    chain.failures['a'] = KeyError('a fault of the code')
    while 'KeyError' not in loaded.get(timeout=PATIENCE):
        pass
    chain.failures['a'] = None
    while 'a is loaded now' not in loaded.get(timeout=PATIENCE):
        pass
    assert chain.ask() == 'a:one a:two'


def test_one_that_loads_for_long_is_not_waited_for(make_chain: Callable[..., Chain]) -> None:
    for held in 'ab':
        chain = make_chain(load=False)
        logged: queue.SimpleQueue[str] = queue.SimpleQueue()
        chain.engine._log = logged.put
        go_on = chain.holds[held] = threading.Event()
        chain.engine.load()
        other = 'b' if held == 'a' else 'a'
        assert chain.ask() == f'{other}:one {other}:two'
        with pytest.raises(BackendUnavailableError, match='still being loaded'):
            chain.ask(backend=held)
        go_on.set()
        assert f'{held} is loaded now' in logged.get(timeout=PATIENCE)
        assert chain.ask() == 'a:one a:two'


def test_closing_ends_the_loading(make_chain: Callable[..., Chain]) -> None:
    chain = make_chain(load=False)
    go_on = chain.holds['a'] = chain.holds['b'] = threading.Event()
    errors: queue.SimpleQueue[VlmError] = queue.SimpleQueue()

    def load() -> None:
        with pytest.raises(InactiveError) as raised:
            chain.engine.load()
        errors.put(raised.value)

    threading.Thread(target=load).start()
    assert all(chain.held.acquire(timeout=PATIENCE) for _ in 'ab')
    chain.engine.close()
    assert 'closed' in str(errors.get(timeout=PATIENCE))
    go_on.set()
    for thread in threading.enumerate():
        if thread.name in ('load a', 'load b'):
            thread.join(PATIENCE)
    assert all(model.closed for model in chain.models.values())


def test_none_that_can_be_loaded_is_an_error_with_all_reasons(
    make_chain: Callable[..., Chain],
) -> None:
    chain = make_chain(load=False)
    chain.failures.update(a=ModelFileError('no file'), b=BackendUnavailableError('no server'))
    with pytest.raises(ModelFileError, match='a: no file; b: no server'):
        chain.engine.load()


def test_pictures_are_encoded_once_for_each_who_needs_them(chain: Chain) -> None:
    image = chain.engine.encode(PICTURE)
    assert image.nbytes > PICTURE.nbytes
    before = image.nbytes
    chain.models['a'].fault = fail_with(BackendCrashedError('broke'))
    assert chain.ask(images=(image,)) == chain.ask(images=(image,)) == 'b:one b:two'
    assert chain.encoders['a'].count == chain.encoders['b'].count == 1
    assert image.nbytes > before
    first, second = chain.models['b'].asked
    assert first.images[0] is second.images[0]  # so that what was read of it can be kept


def test_encoder_that_fails_is_replaced(chain: Chain) -> None:
    chain.encoders['a'].error = BackendCrashedError('broke')
    image = chain.engine.encode(PICTURE)
    assert chain.encoders['b'].count == 1
    assert chain.ask(images=(image,)) == 'b:one b:two'
    chain.encoders['b'].error = BackendCrashedError('broke, too')
    with pytest.raises(BackendCrashedError, match='a: broke.*; b: broke, too'):
        chain.engine.encode(PICTURE)
    with pytest.raises(ImageError):
        chain.encoders['a'].error = None
        chain.engine.encode(np.empty((0, 0, 3), np.uint8))
    assert chain.members[0].breaker.failures == 3


def test_restored_is_what_the_next_answer_needs(chain: Chain) -> None:
    chain.members[0].breaker.fail('gone', at_once=True)
    image = chain.engine.encode(PICTURE)
    assert (chain.encoders['a'].count, chain.encoders['b'].count) == (0, 1)
    chain.clock.now += 5.0
    assert chain.members[0].breaker.state is BreakerState.HALF_OPEN
    chain.engine.encode(PICTURE)
    assert (chain.encoders['a'].count, chain.encoders['b'].count) == (0, 2)
    chain.members[0].breaker.succeed()
    chain.engine.restore(image)
    assert chain.encoders['a'].count == 1
    chain.engine.restore(image)
    assert chain.encoders['a'].count == 1


def test_cancelled_at_once_and_drained_before_the_next(chain: Chain) -> None:
    done = threading.Event()
    chain.models['a'].fault = lambda: done
    image = chain.engine.encode(PICTURE)
    generation = chain.engine.generate(GenerationRequest('one two', (image,)))
    chunks: queue.SimpleQueue[list[Chunk]] = queue.SimpleQueue()
    threading.Thread(target=lambda: chunks.put(list(generation))).start()
    assert chain.models['a'].waits.acquire(timeout=PATIENCE)
    generation.cancel()
    last, = chunks.get(timeout=PATIENCE)
    assert (last.text, last.finish_reason) == ('', FinishReason.CANCELLED)
    assert not generation.join(0)
    chain.models['a'].fault = lambda: None
    threading.Timer(0.05, done.set).start()
    assert chain.ask('three', images=(image,)) == 'a:three'
    assert generation.join(0)
    assert not chain.models['b'].asked
    assert chain.members[0].breaker.failures == 0


def test_cancelled_question_moves_to_nobody(chain: Chain) -> None:
    generation = chain.engine.generate(GenerationRequest('one', (chain.engine.encode(PICTURE),)))

    def cancel_and_fail() -> VlmError:
        generation.cancel()
        return BackendCrashedError('broke')

    chain.models['a'].fault = cancel_and_fail
    assert [chunk.finish_reason for chunk in generation] == [FinishReason.CANCELLED]
    assert generation.join(PATIENCE)
    assert not chain.models['b'].asked


@pytest.mark.parametrize('is_new', [False, True], ids=['known picture', 'new picture'])
def test_picture_is_encoded_within_the_bound(
    make_chain: Callable[..., Chain], is_new: bool
) -> None:
    """A member that has not seen the picture may be slow to encode it, and is left alone then."""
    chain, done = make_chain(first_token=0.05 if is_new else PATIENCE), threading.Event()
    image = chain.engine.encode(PICTURE)
    if is_new:
        del image.made['a']  # type: ignore[attr-defined]
    chain.encoders['a'].hold = done
    assert chain.ask(images=(image,)) == ('b:one b:two' if is_new else 'a:one a:two')
    assert ('too long' in chain.members[0].obstacle) == is_new
    done.set()
    left = chain.members[0]._abandoned
    assert left is None or left.join(PATIENCE)
    chain.engine._first_token = PATIENCE
    assert chain.ask(images=(image,)) == 'a:one a:two'


def test_dialogue_is_cut_to_what_each_of_them_holds(make_chain: Callable[..., Chain]) -> None:
    chain = make_chain(a=1000, b=200)
    images = tuple(chain.engine.encode(PICTURE) for _ in range(3))  # 64 tokens each
    turns = tuple(Turn('word ' * 10, 'word ' * 10) for _ in range(4))
    request = GenerationRequest('two words', images, 20, turns=turns)
    assert chain.engine.fit(request).dropped_turns == 0  # b has seen no picture yet
    for image in images:
        chain.members[1].own(image)
    fitted = chain.engine.fit(request)
    assert (fitted.images, fitted.dropped_turns) == ((0, 2), 4)
    assert fitted.request.images == (images[0], images[2])
    assert chain.engine.fit(replace(request, backend='a')).dropped_turns == 0
    chain.models['a'].fault = fail_with(BackendUnavailableError('gone'))
    answer = ''.join(chunk.text for chunk in chain.engine.generate(fitted.request))
    assert answer == 'b:two b:words'
    assert chain.engine.context == 200
    chain.members[1].breaker.fail('gone', at_once=True)
    chain.members[0].breaker.succeed()
    assert chain.engine.fit(request).dropped_turns == 0
    assert chain.engine.context == 1000


def test_one_that_can_not_hold_the_question_at_all_cuts_nothing(
    make_chain: Callable[..., Chain],
) -> None:
    chain = make_chain(a=1000, b=50)
    image = chain.engine.encode(PICTURE)
    chain.members[1].own(image)
    request = GenerationRequest('two words', (image,), 20, turns=(Turn('one', 'two'),))
    assert chain.engine.fit(request).dropped_turns == 0
    assert chain.engine.tokens(request) == 68


def test_real_models_of_different_kinds_stand_in_for_each_other() -> None:
    """The embedded model and a server's picture have embeddings of different kinds."""
    onnx = load_engine(EngineSettings(threads=1))
    model = FaultyModel('b')
    members = [
        Member('onnx', lambda: onnx, Breaker()),
        Member('scripted', lambda: LocalEngine(ScriptedEncoder(), model), Breaker()),
    ]
    engine = FallbackEngine(members, PATIENCE)
    engine.load()
    try:
        image = engine.encode(PICTURE)
        plain: ImageEmbedding = onnx.encode(PICTURE)
        request = GenerationRequest('what do you see?', (plain,), 30)
        expected = onnx.answer(request)
        asked = request.with_images((image,))
        assert ''.join(c.text for c in engine.generate(asked)) == expected
        members[0].breaker.fail('gone', at_once=True)
        assert ''.join(c.text for c in engine.generate(asked)).startswith('b:what')
        members[0].breaker.succeed()
        assert ''.join(c.text for c in engine.generate(asked)) == expected
    finally:
        engine.close()


@timing
def test_a_thousand_questions_with_faults_are_answered_once_or_end_typed(
    make_chain: Callable[..., Chain],
) -> None:
    """One in ten calls of either backend goes wrong; each answer is whole and of one backend."""
    chain, rng = make_chain(first_token=0.05), random.Random(7)
    image = chain.engine.encode(PICTURE)
    injected: Counter[str] = Counter()
    hangs: list[threading.Event] = []

    def fault() -> VlmError | int | threading.Event | None:
        chain.clock.now += 1.0  # so that breakers close again
        kind = rng.choice(('unavailable', 'crash', 'crash late', 'slow'))
        if rng.random() >= 0.1:
            return None
        injected[kind] += 1
        if kind == 'slow':
            hangs.append(threading.Event())
            threading.Timer(0.1, hangs[-1].set).start()  # the last of a chain is waited for
            return hangs[-1]
        return {'unavailable': BackendUnavailableError('gone'),
                'crash': BackendCrashedError('broke'), 'crash late': rng.randint(1, 4)}[kind]

    for model in chain.models.values():
        model.fault = fault
    whole: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for number in range(1000):
        chunks: list[Chunk] = []
        request = GenerationRequest(f'question number {number} has five', (image,), 64)
        answering = chain.engine.generate(request)
        try:
            for chunk in answering:
                chunks.append(chunk)
        except VlmError as error:
            errors[type(error).__name__] += 1
            said, kinds = ''.join(c.text for c in chunks), {c.source for c in chunks}
            assert len(kinds) <= 1
            assert type(error) is not VlmError
        else:
            sources = {chunk.source.backend for chunk in chunks if chunk.source}
            mark, = sources
            said = ''.join(chunk.text for chunk in chunks)
            assert said == ' '.join(f'{mark}:{word}' for word in request.question.split())
            assert [c.finish_reason for c in chunks][-1] is FinishReason.EOS
            assert [c.finish_reason for c in chunks].count(None) == len(chunks) - 1
            whole[mark] += 1
        for hang in hangs:
            hang.set()  # the slow ones go on
    print(f'answered {dict(whole)}, errors {dict(errors)}, injected {dict(injected)}')
    assert sum(whole.values()) + sum(errors.values()) == 1000
    assert all(injected[kind] for kind in ('unavailable', 'crash', 'crash late', 'slow'))
    assert sum(injected.values()) > 80 and whole['a'] > whole['b'] > 0
    assert errors['BackendCrashedError'] >= 1  # after text; the others were covered, all but a few
    assert sum(errors.values()) < within(60)  # a busy machine makes others late, too
