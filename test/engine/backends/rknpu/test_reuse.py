# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Reading ahead on an NPU: the proof that it works, and runtimes that fail it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from answers import text_of
from fuzz.fuzzing import FULL
import numpy as np
import pytest
from same_answers import Walk
import simulated
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.backends.base import VisionEncoder
from vlm_npu_ros.engine.backends.onnx.encoder import OnnxEncoder
from vlm_npu_ros.engine.backends.rknpu.language_model import RkllmLanguageModel
from vlm_npu_ros.engine.backends.rknpu.reuse import pictures
from vlm_npu_ros.engine.backends.rknpu.runtime import RuntimeLibrary
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.isolated import IsolatedEngine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.models import load_profile
from vlm_npu_ros.engine.process import StageLimits
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import GenerationFigures, GenerationRequest, ImageEmbedding

VERSIONS = ('1.2.1', '1.2.3', '1.3.0', '1.3.1')  # that count what they read
DEMO = load_profile('demo')
QUESTION = 'what do you see?'

Load = Callable[..., RkllmLanguageModel]


@pytest.fixture(scope='module')
def encoder() -> VisionEncoder:
    assert DEMO.folder
    return OnnxEncoder(DEMO.folder / DEMO.encoder, threads=1)


@pytest.fixture(scope='module')
def images(encoder: VisionEncoder) -> list[ImageEmbedding]:
    draw = np.random.default_rng(5)
    scenes = [render(random_scene(draw), 320, 240) for _ in range(4)]
    return [ImageEmbedding(encoder.encode(scene), 0.0) for scene in scenes]


@pytest.fixture
def proved(load: Load, encoder: VisionEncoder) -> Load:
    """Return a function that loads a model and lets it prove what it can."""
    def proved(version: str) -> RkllmLanguageModel:
        model = load(version)
        first, second = (ImageEmbedding(encoder.encode(p), 0.0) for p in pictures())
        model.prove_reuse(first, second, lambda event: None)
        return model
    return proved


def ask(
    model: RkllmLanguageModel, image: ImageEmbedding, question: str = QUESTION
) -> tuple[str, GenerationFigures]:
    chunks = list(model.generate(GenerationRequest(question, (image,), 20), Cancellation()))
    figures = chunks[-1].figures
    assert figures
    return ''.join(chunk.text for chunk in chunks), figures


def prepare(model: RkllmLanguageModel, image: ImageEmbedding) -> GenerationFigures:
    return model.prepare((image,), Cancellation())


@pytest.mark.parametrize('version', ['1.1.4', '1.2.0', '1.2.1b1'])
def test_runtimes_that_do_not_count_do_not_read_ahead(version: str, proved: Load) -> None:
    able = proved(version).read_ahead
    assert (able.possible, able.why) == (
        False, 'runtimes before 1.2.1 do not count what they read')


def test_without_the_proof_nothing_is_read_ahead(
    load: Load, images: list[ImageEmbedding]
) -> None:
    model = load('1.2.3')
    assert model.read_ahead.why == 'it was loaded without read_ahead'
    for _ in range(2):
        assert ask(model, images[0])[1].prompt_tokens > 64


@pytest.mark.parametrize('version', VERSIONS)
def test_what_was_read_ahead_is_not_read_again(
    version: str, proved: Load, images: list[ImageEmbedding], load: Load
) -> None:
    model, plain = proved(version), load(version)
    assert model.read_ahead.possible and model.read_ahead.unasked, model.read_ahead
    for image in (*images, images[0]):
        read = prepare(model, image)
        assert (read.image_tokens, read.new_tokens) == (64, 0)
        assert prepare(model, image).prompt_tokens == 0
        for question in (QUESTION, 'is there a red ball?', QUESTION):
            answer, figures = ask(model, image, question)
            assert answer == ask(plain, image, question)[0]
            assert (figures.image_tokens, figures.read_ahead_tokens) == (0, 64)
            assert 0 < figures.prompt_tokens < 32
    assert text_of(model, GenerationRequest('hello', (), 5))
    assert ask(model, images[0])[1].prompt_tokens > 64  # the text has displaced it


FAILURES = [
    ({'NO_REUSE': 1}, 'tokens again that it held'),
    ({'REUSE_KEEPS_QUESTION': 1}, 'answer'),
    ({'REUSE_ANY_IMAGE': 1, 'CLEAR_KEEPS': 1}, 'has not read a picture that was new to it'),
    ({'NO_PREFILL_TOKENS': 1}, 'does not count the tokens'),
    ({'ANSWER': 'I see something'}, 'says the same of two test pictures'),
    ({'ERROR_AT': 2}, 'reported an error'),
]


@pytest.mark.parametrize('version', ['1.2.3', '1.3.1'])
def test_runtimes_that_fail_the_proof(
    version: str, proved: Load, monkeypatch: pytest.MonkeyPatch, images: list[ImageEmbedding],
    load: Load,
) -> None:
    plain = load(version)
    expected = [ask(plain, image)[0] for image in images]
    for faults, why in FAILURES:
        with monkeypatch.context() as faulty:
            for name, value in faults.items():
                faulty.setenv(f'SIMRKLLM_{name}', str(value))
            model = proved(version)
            assert not model.read_ahead.possible and why in model.read_ahead.why, faults
            if 'ANSWER' not in faults and 'ERROR_AT' not in faults:
                faulty.delenv('SIMRKLLM_CLEAR_KEEPS', raising=False)
                assert [ask(model, image)[0] for image in images] == expected, faults


def test_runtime_that_crashes_in_the_proof_answers_without_reading_ahead(
    identified: Callable[..., RuntimeLibrary], model_file: Path, faults: Path,
) -> None:
    folder = Path(simulated.__path__[0])
    encoder = folder.parent / 'data' / 'demo_encoder.rknn'
    options = RknpuSettings(library=str(identified('1.2.3').path), probabilities='off')
    faults.write_text('SIMRKLLM_REUSE_SEGV=1\n')
    engine = IsolatedEngine(EngineSettings(
        'rknpu', str(folder / 'demo_rknpu.yaml'), str(encoder), str(model_file), read_ahead=True,
        options=options,
    ), limits=StageLimits())
    try:
        engine.load()
        assert not engine.read_ahead.possible
        assert 'crashed or hung; delete ' in engine.read_ahead.why
        image = engine.encode(pictures()[0])
        for _ in range(2):
            assert engine.answer(GenerationRequest(QUESTION, (image,), 20))
    finally:
        engine.close()


@pytest.mark.parametrize('fault', ['STALE_IMAGE', 'REUSE_ANY_IMAGE', 'REUSE_BY_POINTER'])
def test_no_answer_is_about_the_picture_before(
    fault: str, proved: Load, load: Load, monkeypatch: pytest.MonkeyPatch,
    images: list[ImageEmbedding],
) -> None:
    plain = load('1.2.3')
    expected = [ask(plain, image)[0] for image in images]
    assert len(set(expected)) > 1
    monkeypatch.setenv(f'SIMRKLLM_{fault}', '1')
    model = proved('1.2.3')
    assert model.read_ahead.possible
    for image, answer in [*zip(images, expected, strict=True)] * 2:
        prepare(model, image)
        said, figures = ask(model, image)
        assert (said, figures.read_ahead_tokens) == (answer, 64)


def test_runtime_that_stops_to_reuse_is_noticed_at_its_runs(
    proved: Load, images: list[ImageEmbedding], monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault, why in (('NO_REUSE', 'tokens again that it held'), ('NO_PREFILL_TOKENS', 'count')):
        model = proved('1.3.0')
        prepare(model, images[0])
        with monkeypatch.context() as faulty:
            faulty.setenv(f'SIMRKLLM_{fault}', '1')
            for _ in range(2):
                assert model.read_ahead.possible
                figures = ask(model, images[0])[1]
                assert (figures.image_tokens, figures.read_ahead_tokens) == (64, 0)
        assert not model.read_ahead.possible and why in model.read_ahead.why
        assert prepare(model, images[1]).prompt_tokens > 64  # asked for all the same, it does


@pytest.mark.parametrize('ignores', ['0', '1'])
def test_reading_that_is_broken_off_leaves_nothing_behind(
    ignores: str, proved: Load, load: Load, images: list[ImageEmbedding],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, model = load('1.2.3'), proved('1.2.3')
    expected = [ask(plain, image)[0] for image in images[:2]]
    monkeypatch.setenv('SIMRKLLM_PREFILL_RATE', '640')  # 0.1 s for an image
    monkeypatch.setenv('SIMRKLLM_ABORT_IGNORES_PREFILL', ignores)
    with ThreadPoolExecutor() as pool:
        for image, answer in zip((*images[:2], images[1]), (*expected, expected[1]), strict=True):
            cancelled = Cancellation()
            reading = pool.submit(model.prepare, (images[0],), cancelled)
            cancelled.set()
            reading.result(30)
            assert ask(model, image)[0] == answer


@pytest.mark.parametrize('version', ['1.2.3', '1.3.0', '1.3.1'])
def test_answers_are_the_same(
    version: str, proved: Load, load: Load, encoder: VisionEncoder
) -> None:
    model = proved(version)
    scenes = 100 if FULL else 5
    walk = Walk(LocalEngine(encoder, load(version)), LocalEngine(encoder, model), seed=1)
    walk.go(scenes)
    assert walk.seen['answers'] > scenes and walk.seen['read ahead'], walk.seen
    assert model.read_ahead.possible
