# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""llama.cpp's own server, in a process of its own, with a tiny model of random weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
import subprocess
import sys
import time

from asked_node import asked_node
from bars import timing, within
import numpy as np
import pytest
from tiny_llama import tiny_llama
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.errors import BackendUnavailableError, ContextError, ModelFileError
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import FinishReason, GenerationRequest, Sampling, Turn

CONTEXT = 1024
QUESTION = GenerationRequest('what do you see?', (), max_new_tokens=20)
YES_NO = replace(QUESTION, choices=('yes', 'no'), ask_back=False)
# As `llama-server -m MODEL --mmproj MMPROJ -c 1024 -np 1 --alias tiny --api-key` would be.
SERVER = f"""
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.mmproj.path, key = sys.argv[1:]
params.api_keys = [key] if key else []
params.port, params.n_ctx, params.n_parallel, params.model_alias = 0, {CONTEXT}, 1, {{'tiny'}}
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.verbosity = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


class Served:
    """A server that runs."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-c', SERVER, *arguments], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        assert self._process.stdout
        self.url = f'{self._process.stdout.readline().strip()}/v1'

    def close(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture(scope='module')
def url() -> Iterator[str]:
    model, mmproj = map(str, tiny_llama())
    served = Served(model, mmproj, '')
    yield served.url
    served.close()


@pytest.fixture(scope='module')
def engine(url: str) -> Iterator[LocalEngine]:
    engine = load_engine(EngineSettings('openai', options=OpenAISettings(url, retries=0)))
    yield engine
    engine.close()


def picture(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.kron(coarse, np.ones((40, 40, 1), np.uint8))


def test_answer_streams(engine: LocalEngine) -> None:
    assert engine.model_name == 'tiny' and engine.context == CONTEXT
    *pieces, last = engine.generate(QUESTION)
    assert len(pieces) > 1 and ''.join(piece.text for piece in pieces)
    assert last.finish_reason is FinishReason.LENGTH
    assert last.figures and last.figures.prompt_tokens > 5
    assert last.figures.new_tokens == 20


def test_pictures_are_seen(engine: LocalEngine) -> None:
    images = [engine.encode(picture(seed)) for seed in range(2)]
    alone = [engine.answer(replace(QUESTION, images=(image,))) for image in images]
    both = engine.answer(replace(QUESTION, images=tuple(images)))
    assert len({*alone, both, engine.answer(QUESTION)}) == 4
    assert engine.answer(replace(QUESTION, images=tuple(images))) == both


def test_same_seed_same_answer(engine: LocalEngine) -> None:
    drawn = replace(QUESTION, sampling=Sampling(1.0, 40, 0.9, seed=7))
    assert engine.answer(drawn) == engine.answer(drawn)
    assert engine.answer(QUESTION) == engine.answer(QUESTION)


def test_dialogue_is_read_and_only_what_is_new_of_it(engine: LocalEngine) -> None:
    image = engine.encode(picture(2))
    asked = replace(QUESTION, images=(image,))
    answer = engine.answer(asked)
    *_, last = engine.generate(replace(asked, turns=(Turn(QUESTION.question, answer),)))
    assert last.figures and last.figures.prompt_tokens < 60


@timing
def test_cancel(engine: LocalEngine) -> None:
    seconds = []
    for _ in range(5):
        generation = engine.generate(replace(QUESTION, max_new_tokens=900))
        next(generation)
        generation.cancel()
        cancelled = time.monotonic()
        *_, last = generation
        seconds.append(time.monotonic() - cancelled)
        assert last.finish_reason is FinishReason.CANCELLED
        assert generation.join(30)
    assert np.median(seconds) < within(0.05)
    assert engine.answer(QUESTION)  # the next one is answered


def test_probability_of_a_choice(url: str) -> None:
    engine = load_engine(EngineSettings('openai', options=OpenAISettings(url, typed='logprobs')))
    model = engine._language_model  # random weights never say yes: what they do say counts
    *_, last = engine.generate(YES_NO)
    assert last.verdict
    said = next(filter(None, (token.text.strip() for token in model._tokens)))
    likely = model.score(YES_NO, '', (said, 'never'))
    assert likely and 0 < likely[0] <= 1 and likely[1] == 0
    engine.close()


def test_choice_by_a_schema(url: str) -> None:
    with_schema = OpenAISettings(url, typed='json_schema')
    engine = load_engine(EngineSettings('openai', options=with_schema))
    typed = replace(YES_NO, max_new_tokens=200)
    *_, last = engine.generate(typed)
    assert last.verdict and typed.decided(last.verdict) in ('yes', 'no', 'unclear')
    assert engine._language_model._wishes.ways[0] == 'json_schema'
    engine.close()


def test_too_long_a_question(url: str) -> None:
    engine = load_engine(EngineSettings('openai', options=OpenAISettings(url, retries=0)))
    with pytest.raises(ContextError, match=str(CONTEXT)):
        engine.answer(replace(QUESTION, question='word ' * CONTEXT))
    assert engine.context == CONTEXT
    turns = (Turn('word ' * CONTEXT, 'yes'), Turn('b?', 'no'))
    assert engine.fit(replace(QUESTION, turns=turns)).dropped_turns == 1
    engine.close()


def test_server_that_wants_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(*map(str, tiny_llama()), 'secret')
    settings = EngineSettings('openai', options=OpenAISettings(served.url, retries=0))
    with pytest.raises(BackendUnavailableError, match='401'):
        load_engine(settings).answer(QUESTION)
    monkeypatch.setenv('OPENAI_API_KEY', 'secret')
    engine = load_engine(settings)
    assert engine.answer(QUESTION)
    engine.close()
    served.close()


def test_model_without_vision() -> None:
    served = Served(str(tiny_llama().model), '', '')
    engine = load_engine(EngineSettings('openai', options=OpenAISettings(served.url, retries=0)))
    image = engine.encode(picture(3))
    with pytest.raises(ModelFileError, match='shows its model no pictures') as caught:
        engine.answer(replace(QUESTION, images=(image,)))
    assert '--mmproj' in caught.value.remedy
    engine.close()
    served.close()


def test_node(url: str) -> None:
    with asked_node(backend='openai', openai__base_url=url) as (_, robot):
        robot.publish(picture(4))
        response = robot.ask(question='what do you see?', max_new_tokens=20)
    assert response.success and response.answer, response.error_msg
    assert response.stats.model == 'tiny'
