# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What every language model does, whichever backend it is of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from answers import chunks_of, text, text_of
from chat_server import chat_server, Exchange
import numpy as np
import pytest
import simulated
from simulated import runtime, weights
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.backends.base import LanguageModel
from vlm_npu_ros.engine.backends.onnx.encoder import OnnxEncoder
from vlm_npu_ros.engine.backends.onnx.language_model import OnnxLanguageModel
from vlm_npu_ros.engine.backends.openai.language_model import RemoteLanguageModel
from vlm_npu_ros.engine.backends.openai.models import ServerModel
from vlm_npu_ros.engine.backends.openai.server import Server
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.backends.rknpu.language_model import RkllmLanguageModel
from vlm_npu_ros.engine.backends.rknpu.library import RkllmLibrary
from vlm_npu_ros.engine.backends.rknpu.runtime import identify
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.backends.scripted import ScriptedLanguageModel, ScriptedTimings
from vlm_npu_ros.engine.errors import ContextError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.models import load_profile
from vlm_npu_ros.engine.types import (
    FinishReason,
    GenerationRequest,
    ImageEmbedding,
    Sampling,
    Turn,
)

CONTEXT = 512
DEMO = load_profile('demo')
SIMULATED = Path(simulated.__path__[0])
WORDS = ['I', ' see', ' a', ' red', ' ball']


@dataclass
class Subject:
    """A model, and a question that it answers in some tokens."""

    model: LanguageModel
    request: GenerationRequest


@pytest.fixture(scope='module')
def image() -> ImageEmbedding:
    assert DEMO.folder
    encoder = OnnxEncoder(DEMO.folder / DEMO.encoder, threads=1)
    scene = render(random_scene(np.random.default_rng(0)), 320, 240)
    return ImageEmbedding(encoder.encode(scene), 0.0)


def scripted(_: Path) -> Iterator[LanguageModel]:
    yield ScriptedLanguageModel([''.join(WORDS)], ScriptedTimings(context=CONTEXT))


def onnx(_: Path) -> Iterator[LanguageModel]:
    assert DEMO.folder
    yield OnnxLanguageModel(
        'demo', DEMO.folder / DEMO.language_model, DEMO.folder / DEMO.tokenizer, CONTEXT, 1
    )


def rknpu(folder: Path) -> Iterator[LanguageModel]:
    yield RkllmLanguageModel(
        RkllmLibrary(identify(runtime.build('1.2.3', folder))),
        weights.write_model(folder / 'demo.rkllm'),
        load_profile(str(SIMULATED / 'demo_rknpu.yaml')),
        context=CONTEXT,
        image_size=128,
        sampling=Sampling(),
        settings=RknpuSettings(),
    )


def openai(_: Path) -> Iterator[LanguageModel]:
    with chat_server() as server:
        server.answer = answer_within_the_context
        settings = OpenAISettings(server.url, retries=0)
        yield RemoteLanguageModel(Server(settings, ''), settings, ServerModel('tiny'), CONTEXT)


def answer_within_the_context(exchange: Exchange) -> None:
    """Answer as a server does that has a tokenizer and a context."""
    body: dict[str, Any] = exchange.body
    limit = body.get('max_completion_tokens', body.get('max_tokens'))
    if len(str(body['messages'])) / 4 + limit > CONTEXT:
        return exchange.fail(400, f'the request exceeds the available context size ({CONTEXT})')
    exchange.begin()
    for word in WORDS[:limit]:
        exchange.say(word)
    exchange.end('stop' if limit >= len(WORDS) else 'length', 600, min(limit, len(WORDS)))


MAKERS: list[Callable[[Path], Iterator[LanguageModel]]] = [scripted, onnx, rknpu, openai]


@pytest.fixture(scope='module', params=MAKERS, ids=lambda maker: maker.__name__)
def subject(
    request: pytest.FixtureRequest, image: ImageEmbedding, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Subject]:
    images = () if request.param is openai else (image,)
    asked = GenerationRequest('what do you see?', images, 64)
    for model in request.param(tmp_path_factory.mktemp('model')):
        yield Subject(model, asked)
        model.close()
        model.close()


def test_last_chunk_alone_has_a_reason_and_figures(subject: Subject) -> None:
    for _ in range(3):
        *chunks, last = chunks_of(subject.model, subject.request)
        assert [(c.finish_reason, c.figures) for c in chunks] == [(None, None)] * len(chunks)
        assert all(chunk.text for chunk in chunks) and len(chunks) > 3
        assert last.finish_reason is FinishReason.EOS
        figures = last.figures
        assert figures and figures.new_tokens >= len(WORDS)
        assert figures.prompt_tokens >= figures.image_tokens
        assert min(figures.prefill_seconds, figures.decode_seconds) >= 0


def test_same_question_gets_the_same_answer(subject: Subject) -> None:
    expected = text_of(subject.model, subject.request)
    other = replace(subject.request, question='is there a door?', max_new_tokens=3)
    text_of(subject.model, other)
    assert text_of(subject.model, subject.request) == expected


def test_length_is_limited(subject: Subject) -> None:
    whole = text_of(subject.model, subject.request)
    for limit in (1, 2, 3):
        chunks = chunks_of(subject.model, replace(subject.request, max_new_tokens=limit))
        assert chunks[-1].finish_reason is FinishReason.LENGTH
        assert chunks[-1].figures and chunks[-1].figures.new_tokens == limit
        assert whole.startswith(text(chunks)) and text(chunks) != whole


def test_request_that_does_not_fit_is_refused_before_any_chunk(subject: Subject) -> None:
    expected = text_of(subject.model, subject.request)
    turns = (Turn('what do you see? ' * 200, 'a ball'),)
    for request in (
        replace(subject.request, max_new_tokens=CONTEXT),
        replace(subject.request, question='what do you see? ' * 200),
        replace(subject.request, turns=turns),
    ):
        with pytest.raises(ContextError):
            next(subject.model.generate(request, Cancellation()))
    assert text_of(subject.model, subject.request) == expected


def test_tokens_are_those_of_all_that_is_read(subject: Subject) -> None:
    request = subject.request
    longer = replace(request, question=request.question * 3)
    follow_up = replace(request, turns=(Turn('where is it?', 'on the left'),))
    count = subject.model.tokens(request)
    assert sum(image.tokens for image in request.images) < count < CONTEXT
    assert subject.model.tokens(longer) > count < subject.model.tokens(follow_up)


def test_cancel_before_the_answer(subject: Subject) -> None:
    expected, cancelled = text_of(subject.model, subject.request), Cancellation()
    cancelled.set()
    *chunks, last = subject.model.generate(subject.request, cancelled)
    assert (text([*chunks, last]), last.finish_reason) == ('', FinishReason.CANCELLED)
    assert last.figures
    assert text_of(subject.model, subject.request) == expected


def test_cancel_during_the_answer(subject: Subject) -> None:
    expected, cancelled = text_of(subject.model, subject.request), Cancellation()
    chunks = subject.model.generate(subject.request, cancelled)
    first = next(chunks)
    cancelled.set()
    *rest, last = chunks
    assert last.finish_reason is FinishReason.CANCELLED and last.figures
    said = text([first, *rest, last])
    assert expected.startswith(said) and said != expected
    assert text_of(subject.model, subject.request) == expected


def test_cancel_after_the_answer_does_not_meet_the_next_one(subject: Subject) -> None:
    cancelled = Cancellation()
    expected = text(subject.model.generate(subject.request, cancelled))
    following = subject.model.generate(subject.request, Cancellation())
    first = next(following)
    cancelled.set()
    assert text([first, *following]) == expected


def test_iterator_that_is_closed_early_ends_the_answer(subject: Subject) -> None:
    expected = text_of(subject.model, subject.request)
    subject.model.generate(subject.request, Cancellation())  # never begun
    chunks: Any = subject.model.generate(subject.request, Cancellation())
    next(chunks)
    chunks.close()
    assert text_of(subject.model, subject.request) == expected
