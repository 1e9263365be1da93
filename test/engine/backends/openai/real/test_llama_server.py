# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
A real llama.cpp server with a tiny model of random weights.

`make test-llama-server` runs this: VLM_NPU_ROS_LLAMA names a Python that has
llama-cpp-python[server] and gguf.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
import os
from pathlib import Path
import socket
import subprocess
import threading
import time
from urllib.error import URLError
from urllib.request import urlopen

from asked_node import asked_node
import numpy as np
import pytest
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.errors import BackendUnavailableError, ContextError, RequestError
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import FinishReason, GenerationRequest, Sampling, Turn

PYTHON = os.environ.get('VLM_NPU_ROS_LLAMA', '')
pytestmark = pytest.mark.skipif(not PYTHON, reason='run by make test-llama-server')

MAKE = Path(__file__).parents[5] / 'tools' / 'llama_server' / 'make_gguf.py'
CONTEXT = 512
STARTED = 60.0  # seconds
QUESTION = GenerationRequest('what do you see?', (), max_new_tokens=20)
YES_NO = replace(QUESTION, choices=('yes', 'no'))


@pytest.fixture(scope='module')
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp('llama')
    model = folder / 'tiny.gguf'
    subprocess.run([PYTHON, MAKE, model], check=True)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    address = f'http://127.0.0.1:{port}/v1'
    with (folder / 'log').open('w') as log:
        server = subprocess.Popen(
            [PYTHON, '-m', 'llama_cpp.server', '--model', str(model), '--model_alias', 'tiny',
             '--n_ctx', str(CONTEXT), '--logits_all', 'True', '--port', str(port)],
            stdout=log, stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(server, address)
        yield address
    finally:
        server.terminate()
        server.wait(10)
        print((folder / 'log').read_text()[-3000:])


def _wait_for(server: subprocess.Popen[bytes], address: str) -> None:
    end = time.monotonic() + STARTED
    while time.monotonic() < end and server.poll() is None:
        try:
            urlopen(f'{address}/models', timeout=1).close()
            return
        except URLError:
            threading.Event().wait(0.1)
    raise AssertionError('the server did not start')


@pytest.fixture(scope='module')
def engine(url: str) -> Iterator[LocalEngine]:
    engine = load_engine(EngineSettings('openai', options=OpenAISettings(url, retries=0)))
    yield engine
    engine.close()


def test_answer_streams(engine: LocalEngine) -> None:
    assert engine.model_name == 'tiny'
    *pieces, last = engine.generate(QUESTION)
    assert len(pieces) > 1 and ''.join(piece.text for piece in pieces)
    assert last.finish_reason in (FinishReason.LENGTH, FinishReason.EOS)
    assert last.figures and last.figures.prompt_tokens > 5
    assert 1 < last.figures.new_tokens <= 20


def test_same_seed_same_answer(engine: LocalEngine) -> None:
    drawn = replace(QUESTION, sampling=Sampling(1.0, 40, 0.9, seed=7))
    assert engine.answer(drawn) == engine.answer(drawn)
    assert engine.answer(QUESTION) == engine.answer(QUESTION)


def test_dialogue_is_read(engine: LocalEngine) -> None:
    *_, short = engine.generate(QUESTION)
    *_, long = engine.generate(replace(QUESTION, turns=(Turn('a ball?', 'yes'), Turn('b?', 'no'))))
    assert short.figures and long.figures
    assert long.figures.prompt_tokens > short.figures.prompt_tokens


def test_cancel(engine: LocalEngine) -> None:
    generation = engine.generate(replace(QUESTION, max_new_tokens=400))
    next(generation)
    generation.cancel()
    cancelled = time.monotonic()
    *_, last = generation
    assert last.finish_reason is FinishReason.CANCELLED
    assert generation.join(30)
    ended = time.monotonic()
    assert engine.answer(QUESTION)  # the next one is answered
    print(f'ended after {ended - cancelled:.4f} s, next answer {time.monotonic() - ended:.2f} s')


def test_probability_of_a_choice(url: str) -> None:
    engine = load_engine(EngineSettings('openai', options=OpenAISettings(url, typed='logprobs')))
    model = engine._language_model  # random weights never say yes: what they do say counts
    *_, last = engine.generate(YES_NO)
    assert last.verdict
    said = next(filter(None, (token.text.strip() for token in model._tokens)))
    likely = model.score(YES_NO, '', (said, 'never'))
    assert likely and 0 < likely[0] <= 1 and likely[1] == 0
    engine.close()


def test_way_that_the_server_lacks_is_passed_over(url: str) -> None:
    with_schema = OpenAISettings(url, typed='json_schema')
    engine = load_engine(EngineSettings('openai', options=with_schema))
    with pytest.raises(RequestError, match='validation error'):
        engine.answer(YES_NO)
    engine.close()


def test_too_long_a_question(engine: LocalEngine) -> None:
    with pytest.raises(ContextError, match=str(CONTEXT)):
        engine.answer(replace(QUESTION, question='word ' * CONTEXT))
    assert engine.context == CONTEXT
    turns = (Turn('word ' * CONTEXT, 'yes'), Turn('b?', 'no'))
    assert engine.fit(replace(QUESTION, turns=turns)).dropped_turns == 1


def test_model_without_vision(engine: LocalEngine) -> None:
    image = engine.encode(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(BackendUnavailableError, match='answered 500'):
        engine.answer(replace(QUESTION, images=(image,)))


def test_node(url: str) -> None:
    with asked_node(backend='openai', openai__base_url=url) as (_, robot):
        robot.publish()
        response = robot.ask(question='what do you see?')
    assert not response.success  # it cannot see
    assert 'answered 500' in response.error_msg
