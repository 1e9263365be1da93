# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""llama.cpp in this process, with a tiny model of random weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
import json
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from bars import timing, within
import numpy as np
import pytest
from tiny_llama import llama_settings
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.errors import ContextError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import (
    FinishReason,
    GenerationFigures,
    GenerationRequest,
    ImageEmbedding,
    NOTHING_READ,
    Sampling,
    Turn,
)

TOKENS = 16  # of a tile
CONTEXT = 2048


def scene(seed: int, width: int = 320, height: int = 240) -> np.ndarray:
    return render(random_scene(np.random.default_rng(seed)), width, height)


@pytest.fixture(scope='module')
def engine() -> Iterator[LocalEngine]:
    engine = load_engine(llama_settings(context=CONTEXT))
    yield engine
    engine.close()


def ask(engine: LocalEngine, request: GenerationRequest) -> tuple[str, GenerationFigures]:
    *_, last = chunks = list(engine.generate(request))
    assert last.figures
    return ''.join(chunk.text for chunk in chunks), last.figures


def prompt_tokens(engine: LocalEngine, request: GenerationRequest) -> int:
    """Count the tokens of a prompt, with those that need not be read again."""
    ask(engine, request)
    return int(engine._language_model._read[1])


def question(*images: ImageEmbedding, **more: object) -> GenerationRequest:
    return replace(GenerationRequest('what do you see?', images, max_new_tokens=12), **more)


def test_answer_streams_and_depends_on_the_picture(engine: LocalEngine) -> None:
    assert (engine.model_name, engine.context) == ('tiny', CONTEXT)
    first, second = (engine.encode(scene(seed)) for seed in range(2))
    *pieces, last = engine.generate(question(first))
    assert len(pieces) > 3 and last.finish_reason is FinishReason.LENGTH
    answer = ''.join(chunk.text for chunk in [*pieces, last])
    assert answer == ask(engine, question(first))[0] != ask(engine, question(second))[0]
    drawn = question(first, sampling=Sampling(2.0, 40, 0.9, seed=7))
    assert ask(engine, drawn)[0] == ask(engine, drawn)[0] != answer


def test_pictures_take_no_more_tokens_than_are_counted(engine: LocalEngine) -> None:
    words, most = prompt_tokens(engine, question()), engine.encode(scene(0)).tokens
    for width, height in ((16, 16), (200, 20), (320, 240), (240, 320), (1280, 720), (3000, 4000)):
        image = engine.encode(scene(0, width, height))
        read = prompt_tokens(engine, question(image)) - words
        assert 2 * TOKENS < read < most == image.tokens, (width, height)


def test_dialogue_reads_only_what_is_new(engine: LocalEngine) -> None:
    """Also when a question about another picture came in between."""
    image, other = (engine.encode(scene(seed)) for seed in (2, 3))
    answer, cost = ask(engine, question(image))
    assert cost.prompt_tokens > 2 * TOKENS
    turns = (Turn('what do you see?', answer),)
    follow_up = question(image, turns=turns, question='and then?')
    said, cost = ask(engine, follow_up)
    assert cost.prompt_tokens < 60 and not cost.read_ahead_tokens
    ask(engine, question(other))
    again = replace(follow_up, turns=(*turns, Turn('and then?', said)), question='why?')
    assert ask(engine, again)[1].prompt_tokens < 60


def test_what_is_read_ahead_is_not_read_again(engine: LocalEngine) -> None:
    image = engine.encode(scene(4))
    plain, _ = ask(engine, question(image))
    whole = prompt_tokens(engine, question(image))
    ask(engine, question(engine.encode(scene(5))))
    fresh = engine.encode(scene(4))
    cancelled = Cancellation()
    engine.prepare((fresh,), cancelled)
    assert engine.prepare((fresh,), cancelled) == NOTHING_READ
    text, cost = ask(engine, question(fresh))
    assert text == plain
    assert cost.prompt_tokens < 30
    assert cost.prompt_tokens + cost.read_ahead_tokens == whole
    cancelled.set()
    assert engine.prepare((image,), cancelled) == NOTHING_READ


@timing
def test_cancel(engine: LocalEngine) -> None:
    image, seconds = engine.encode(scene(6)), []
    for _ in range(5):
        generation = engine.generate(question(image, max_new_tokens=1500))
        next(generation)
        started = time.monotonic()
        generation.cancel()
        *_, last = generation
        seconds.append(time.monotonic() - started)
        assert last.finish_reason is FinishReason.CANCELLED
    assert np.median(seconds) < within(0.05)
    assert engine.answer(question())  # the next one is answered


def test_choices_are_decided_by_probabilities(engine: LocalEngine) -> None:
    image = engine.encode(scene(7))
    typed = question(image, choices=('yes', 'no'), ask_back=False)
    *_, last = engine.generate(typed)
    assert last.verdict
    model = engine._language_model  # random weights never say yes: what they do say counts
    said = next(filter(None, (token.text.strip() for token in model._tokens)))
    likely = model.score(typed, '', (said, 'never'))
    assert likely and 0 < likely[0] <= 1 and likely[1] == 0


def test_json_fits_its_schema(engine: LocalEngine) -> None:
    """Whatever the model would like to write: llama.cpp holds it to the schema."""
    image = engine.encode(scene(10))
    properties = {'kind': {'enum': ['box', 'ball']}, 'near': {'type': 'boolean'}}
    schema = {'type': 'object', 'properties': properties, 'required': ['kind', 'near'],
              'additionalProperties': False}
    asked = question(image, schema=json.dumps(schema), max_new_tokens=200)
    answer = json.loads(ask(engine, asked)[0])
    assert answer['kind'] in ('box', 'ball') and isinstance(answer['near'], bool)


def test_text_of_a_user_holds_no_control_tags(engine: LocalEngine) -> None:
    """A control tag is one token, and a media marker would ask for a picture."""
    image = engine.encode(scene(8))
    plain = prompt_tokens(engine, question(image, question='?'))
    for text in ('<row_1_col_1>' * 8, '</s>' * 20, '<__media__> <global-img> <__image__>'):
        read = prompt_tokens(engine, question(image, question=text))
        assert read - plain >= len(text) - 1, text


def test_too_long_a_question(engine: LocalEngine) -> None:
    image = engine.encode(scene(9))
    with pytest.raises(ContextError, match=f'llama.cpp has no room .*{CONTEXT}') as caught:
        engine.answer(question(image, question='word ' * CONTEXT))
    assert 'context' in caught.value.remedy
    turns = (Turn('word ' * CONTEXT, 'yes'), Turn('b?', 'no'))
    assert engine.fit(question(image, turns=turns)).dropped_turns == 1
    pictures = tuple(engine.encode(scene(seed)) for seed in range(20))
    fitted = engine.fit(question(*pictures))
    assert 1 < len(fitted.images) < 20 and engine.answer(fitted.request)


def test_nobody_else_can_ask_it(engine: LocalEngine) -> None:
    address = engine._language_model._server._settings.base_url
    assert address.startswith('http://127.0.0.1:')
    body = json.dumps({'messages': [{'role': 'user', 'content': 'hi'}]}).encode()
    for key in ('', 'Bearer none', 'Bearer '):
        with pytest.raises(HTTPError, match='401'):
            urlopen(Request(f'{address}/chat/completions', body, {
                'Authorization': key, 'Content-Type': 'application/json'}))
