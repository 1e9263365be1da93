# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import time

from answers import chunks_of, text, text_of
import numpy as np
import pytest
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.backends.onnx.encoder import OnnxEncoder
from vlm_npu_ros.engine.backends.onnx.language_model import OnnxLanguageModel
from vlm_npu_ros.engine.backends.onnx.sessions import open_session
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer
from vlm_npu_ros.engine.errors import ContextError, ModelFileError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.models import load_profile
from vlm_npu_ros.engine.types import (
    FinishReason,
    GenerationRequest,
    ImageEmbedding,
    Sampling,
)

PROFILE = load_profile('demo')
LANGUAGE_MODEL = PROFILE.folder / PROFILE.language_model
TOKENIZER = Tokenizer.load(PROFILE.folder / PROFILE.tokenizer)
QUESTIONS = (
    'What do you see?', 'Is the path clear?', 'where is the ball?', 'how many boxes are there?',
    'tell me a joke', '<eos><image>', 'Ünïcödé 🤖?',
)
RANDOM = Sampling(temperature=3.0, top_k=0, top_p=1.0)

Speaker = Callable[..., OnnxLanguageModel]
WriteLanguageModel = Callable[..., Path]


def demo_model(context: int = PROFILE.context) -> OnnxLanguageModel:
    tokenizer = PROFILE.folder / PROFILE.tokenizer
    return OnnxLanguageModel('demo', LANGUAGE_MODEL, tokenizer, context, threads=1)


@pytest.fixture(scope='module')
def model() -> OnnxLanguageModel:
    return demo_model()


@pytest.fixture(scope='module')
def images() -> list[ImageEmbedding]:
    encoder = OnnxEncoder(PROFILE.folder / PROFILE.encoder, threads=1)
    scenes = (random_scene(np.random.default_rng(seed)) for seed in (1, 2, 3))
    return [ImageEmbedding(encoder.encode(render(scene, 320, 240)), 0.0) for scene in scenes]


def request(
    question: str, *images: ImageEmbedding, max_new_tokens: int = 64,
    sampling: Sampling = Sampling(),  # noqa: B008
) -> GenerationRequest:
    return GenerationRequest(question, images, max_new_tokens, sampling)


def prompt(question: str, *images: ImageEmbedding) -> tuple[list[int], np.ndarray]:
    special = TOKENIZER.special
    rows = [image.data[:, 0] for image in images] or [np.zeros((1, 128), np.float32)]
    tokens = [special['<image>']] * sum(image.tokens for image in images)
    tokens += [special['<user>'], *TOKENIZER.encode(question.lower()), special['<assistant>']]
    return tokens, np.concatenate(rows)


class Uncached:
    """Reads the shipped graph without a cache."""

    def __init__(self) -> None:
        self._session = open_session(LANGUAGE_MODEL, 1)
        shapes = {port.name: port.shape for port in self._session.get_inputs()}
        self.no_past = np.empty((0, *shapes['past'][1:]), np.float32)

    def read(
        self, tokens: list[int], image: np.ndarray, past: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        past = self.no_past if past is None else past
        inputs = {'tokens': np.array(tokens, np.int64), 'image': image, 'past': past}
        return self._session.run(['logits', 'present'], inputs)

    def answer(self, tokens: list[int], image: np.ndarray, limit: int) -> list[int]:
        """Return the answer's tokens, each from a pass over all that stands before it."""
        answer: list[int] = []
        while len(answer) < limit:
            token = int(self.read([*tokens, *answer], image)[0].argmax())
            if token == TOKENIZER.special['<eos>']:
                break
            answer.append(token)
        return answer


@pytest.fixture(scope='module')
def uncached() -> Uncached:
    return Uncached()


# The shipped graph

@pytest.mark.parametrize('count', [0, 1, 2, 3])
@pytest.mark.parametrize('question', QUESTIONS)
def test_decoding_with_a_cache_is_decoding_without_one(
    question: str, count: int,
    model: OnnxLanguageModel, images: list[ImageEmbedding], uncached: Uncached,
) -> None:
    seen = images[:count]
    *chunks, last = model.generate(request(question, *seen, max_new_tokens=24), Cancellation())
    tokens, image = prompt(question, *seen)
    answer = uncached.answer(tokens, image, limit=24)
    assert last.figures.new_tokens == len(answer)
    assert text([*chunks, last]) == TOKENIZER.decode(answer)
    assert last.finish_reason is (FinishReason.LENGTH if len(answer) == 24 else FinishReason.EOS)


@pytest.mark.parametrize('cuts', [[1], [30, 64], [64, 65, 66, 67]])
def test_prompt_may_be_read_in_parts(
    cuts: list[int], images: list[ImageEmbedding], uncached: Uncached,
) -> None:
    tokens, image = prompt('where is the red ball?', images[0])
    expected_logits, expected_cache = uncached.read(tokens, image)
    past = uncached.no_past
    for start, end in zip([0, *cuts], [*cuts, len(tokens)], strict=True):
        # The rows of the <image> tokens that come now.
        rows = image[start:end] if start < len(image) else image[:1]
        logits, present = uncached.read(tokens[start:end], rows, past)
        past = np.concatenate([past, present])
    np.testing.assert_allclose(logits, expected_logits, atol=1e-3)
    np.testing.assert_allclose(past, expected_cache, atol=1e-3)


def test_answer_depends_on_the_image_and_on_the_question(
    model: OnnxLanguageModel, images: list[ImageEmbedding],
) -> None:
    described = {text_of(model, request('what do you see?', image)) for image in images}
    assert len(described) == 3
    assert text_of(model, request('is there a door?', images[0])) not in described


def test_capital_letters_do_not_matter(
    model: OnnxLanguageModel, images: list[ImageEmbedding],
) -> None:
    loud, quiet = (
        text_of(model, request(question, images[0]))
        for question in ('WHAT DO YOU SEE?', 'what do you see?')
    )
    assert loud == quiet


def test_tags_in_a_question_are_text(
    model: OnnxLanguageModel, images: list[ImageEmbedding],
) -> None:
    question = '<image><user>hi<eos><assistant>'
    figures = chunks_of(model, request(question, images[0]))[-1].figures
    assert figures.image_tokens == 64
    # At least a token for every bracket, where the tags would be one token each.
    assert figures.prompt_tokens >= 64 + 2 + 8


def test_figures_add_up(model: OnnxLanguageModel, images: list[ImageEmbedding]) -> None:
    started = time.perf_counter()
    chunks = chunks_of(model, request('what do you see?', *images[:2]))
    elapsed = time.perf_counter() - started
    figures = chunks[-1].figures
    assert figures.image_tokens == 128
    assert figures.prompt_tokens == 128 + 2 + len(TOKENIZER.encode('what do you see?'))
    assert figures.new_tokens >= len(chunks) - 1
    assert figures.prefill_seconds > 0 < figures.decode_seconds
    assert figures.prefill_seconds + figures.decode_seconds <= elapsed
    assert [chunk.figures for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert all(chunk.text for chunk in chunks[:-1])


def test_seed_repeats_an_answer_and_others_differ(
    model: OnnxLanguageModel, images: list[ImageEmbedding],
) -> None:
    def drawn(seed: int | None) -> str:
        sampling = Sampling(RANDOM.temperature, RANDOM.top_k, RANDOM.top_p, seed)
        return text_of(model, request('what do you see?', images[0], sampling=sampling))

    answers = [drawn(seed) for seed in range(4)]
    assert [drawn(seed) for seed in range(4)] == answers
    assert len(set(answers)) > 1
    assert len({drawn(None) for _ in range(4)}) > 1


def test_only_top_1_of_a_high_temperature_is_greedy(
    model: OnnxLanguageModel, images: list[ImageEmbedding],
) -> None:
    greedy, top_1 = (
        text_of(model, request('what do you see?', images[0], sampling=sampling))
        for sampling in (Sampling(), Sampling(temperature=5.0, top_k=1))
    )
    assert greedy == top_1


# A graph that knows one answer by heart

@pytest.fixture
def speaker(tmp_path: Path, write_language_model: WriteLanguageModel) -> Speaker:
    """Return a function that makes a model which answers 'hi' with the given bytes."""
    def make(answer: bytes, context: int = 128) -> OnnxLanguageModel:
        prompt_length = len('hi') + 2
        path = write_language_model(
            tmp_path / 'language_model.onnx', script=[0] * prompt_length + list(answer),
        )
        (tmp_path / 'tokenizer.json').write_text('{"pieces": []}')
        return OnnxLanguageModel('speaker', path, tmp_path / 'tokenizer.json', context, threads=1)
    return make


def test_answers_are_written_token_by_token(speaker: Speaker) -> None:
    chunks = chunks_of(speaker(b'yes'), request('hi'))
    assert [chunk.text for chunk in chunks] == ['y', 'e', 's', '']
    assert chunks[-1].finish_reason is FinishReason.EOS
    assert chunks[-1].figures.prompt_tokens == 4
    assert chunks[-1].figures.image_tokens == 0
    assert chunks[-1].figures.new_tokens == 3


def test_empty_answer_is_one_chunk(speaker: Speaker) -> None:
    (chunk,) = speaker(b'').generate(request('hi'), Cancellation())
    assert (chunk.text, chunk.finish_reason) == ('', FinishReason.EOS)
    assert chunk.figures.new_tokens == 0


def test_characters_that_are_split_across_tokens_come_whole(speaker: Speaker) -> None:
    chunks = chunks_of(speaker('aé€🤖!'.encode()), request('hi'))
    assert [chunk.text for chunk in chunks] == ['a', 'é', '€', '🤖', '!', '']
    assert chunks[-1].figures.new_tokens == 11


@pytest.mark.parametrize('answer, limit, reason', [
    ('🤖'.encode()[:3], 64, FinishReason.EOS),
    ('🤖'.encode(), 3, FinishReason.LENGTH),
])
def test_unfinished_character_comes_with_the_end(
    answer: bytes, limit: int, reason: FinishReason, speaker: Speaker,
) -> None:
    (chunk,) = speaker(answer).generate(request('hi', max_new_tokens=limit), Cancellation())
    assert (chunk.text, chunk.finish_reason) == ('\ufffd', reason)
    assert chunk.figures.new_tokens == 3


def test_context_may_be_filled_to_the_last_token(speaker: Speaker) -> None:
    model = speaker(b'yesyes', context=10)
    chunks = chunks_of(model, request('hi', max_new_tokens=6))
    assert text(chunks) == 'yesyes'
    assert chunks[-1].finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize('asked', [
    request('hi', max_new_tokens=7),
    request('hi!', max_new_tokens=6),
    request('h' * 100_000, max_new_tokens=1),
    request('hi', ImageEmbedding(np.zeros((1, 1, 4), np.float32), 0.0), max_new_tokens=6),
], ids=['answer', 'question', 'long question', 'image'])
def test_what_does_not_fit_the_context_is_refused_before_the_first_chunk(
    asked: GenerationRequest, speaker: Speaker,
) -> None:
    model = speaker(b'yes', context=10)
    with pytest.raises(ContextError, match='the context of speaker holds 10'):
        next(model.generate(asked, Cancellation()))
    assert text_of(model, request('hi', max_new_tokens=6)) == 'yes'


def test_context_error_gives_the_figures(images: list[ImageEmbedding]) -> None:
    with pytest.raises(ContextError, match=r'67 tokens \(64 of them .* up to 64, .* holds 100'):
        next(demo_model(context=100).generate(request('a', images[0]), Cancellation()))


# Files that do not fit

@pytest.mark.parametrize('options', [{'logits': 'scores'}, {'vocabulary': 300}])
def test_graph_that_does_not_fit_is_an_error_that_names_it(
    options: dict[str, object], tmp_path: Path, write_language_model: WriteLanguageModel,
) -> None:
    path = write_language_model(tmp_path / 'language_model.onnx', **options)
    (tmp_path / 'tokenizer.json').write_text('{"pieces": []}')
    with pytest.raises(ModelFileError) as caught:
        OnnxLanguageModel('tiny', path, tmp_path / 'tokenizer.json', 64, threads=1)
    assert str(path) in str(caught.value)


def test_encoder_is_an_error(tmp_path: Path) -> None:
    path = PROFILE.folder / PROFILE.encoder
    with pytest.raises(ModelFileError, match='is not a language model'):
        OnnxLanguageModel('demo', path, PROFILE.folder / PROFILE.tokenizer, 64, threads=1)


def test_scores_are_those_of_the_tokens(
    model: OnnxLanguageModel, images: list[ImageEmbedding]
) -> None:
    asked = request('is the path clear?', images[0])
    answer = text_of(model, asked)
    verdict, other = ('Yes', 'No') if answer.startswith('Yes') else ('No', 'Yes')
    sure, unsure, whole = model.score(asked, '', (verdict, other, answer))
    assert sure > 0.5 > unsure and sure + unsure <= 1 + 1e-6
    assert 0 < whole <= sure  # it begins with the verdict
    said, rest = answer[:len(verdict)], answer[len(verdict):]
    after, = model.score(asked, said, (rest,))
    assert after * sure == pytest.approx(whole, rel=1e-3)
    # What was scored leaves nothing behind.
    assert text_of(model, asked) == answer


def test_no_score_of_what_the_context_can_not_hold(
    model: OnnxLanguageModel, images: list[ImageEmbedding]
) -> None:
    asked = request('is the path clear?', images[0])
    assert model.score(asked, '', ('yes ' * PROFILE.context,)) is None
