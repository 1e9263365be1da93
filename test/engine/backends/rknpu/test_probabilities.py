# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Probabilities on the simulated NPU: equal to those of the embedded model, or none at all.

Every way that a runtime is known or feared to go wrong ends in the next way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simulated
from simulated.board import board_tree, use
from simulated.weights import write_head, write_model
from vlm_npu_ros.demo.questions import PLACE, random_question
from vlm_npu_ros.demo.scenes import COLOURS, random_scene, render
from vlm_npu_ros.engine.backends.onnx.encoder import OnnxEncoder
from vlm_npu_ros.engine.backends.onnx.language_model import OnnxLanguageModel
from vlm_npu_ros.engine.backends.rknpu.inputs import Inputs
from vlm_npu_ros.engine.backends.rknpu.language_model import RkllmLanguageModel
from vlm_npu_ros.engine.backends.rknpu.model_checks import _probabilities
from vlm_npu_ros.engine.backends.rknpu.notes import Notes
from vlm_npu_ros.engine.backends.rknpu.proof import picture
from vlm_npu_ros.engine.backends.rknpu.row import Row, RowError
from vlm_npu_ros.engine.backends.rknpu.runtime import RuntimeLibrary
from vlm_npu_ros.engine.backends.rknpu.scorer import Way
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.errors import BackendCrashedError
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.isolated import IsolatedEngine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.model_files.lm_head import LmHead
from vlm_npu_ros.engine.models import load_profile, ModelProfile
from vlm_npu_ros.engine.process import StageLimits
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.trials import trial
from vlm_npu_ros.engine.types import (
    DecidedBy,
    GenerationRequest,
    ImageEmbedding,
    Verdict,
    YES_NO,
)

DEMO = load_profile('demo')
PATIENCE = 60.0  # seconds; only a broken test waits this long
SAME = 0.02  # of a probability
VERSIONS = ('1.1.4', '1.2.0', '1.2.1b1', '1.2.3', '1.3.0', '1.3.1')
# What makes each way the first one that works.
FOR = {
    Way.ANSWER: {},
    Way.LOGITS: {'LOGITS_ONCE': '1'},
    Way.HIDDEN: {'LOGITS_FAIL': '1'},
    Way.OFF: {'LOGITS_FAIL': '1', 'HIDDEN_FAIL': '1'},
}

Load = Callable[..., RkllmLanguageModel]
Faults = Callable[..., None]


@pytest.fixture(autouse=True)
def slack(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let no way be too slow on a busy machine; return a function that sets what it may take."""
    def set_slack(seconds: float) -> None:
        monkeypatch.setattr('vlm_npu_ros.engine.backends.rknpu.proof._SLACK', seconds)

    set_slack(PATIENCE)
    return set_slack


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Return a function that sets what the runtime does wrong from now on."""
    path = tmp_path / 'faults'
    monkeypatch.setenv('SIMNPU_FAULTS', str(path))

    def set_faults(**values: str) -> None:
        path.write_text(''.join(f'SIMRKLLM_{k}={v}\n' for k, v in values.items()))

    set_faults()
    return set_faults


@pytest.fixture(scope='module')
def encoder() -> OnnxEncoder:
    return OnnxEncoder(DEMO.folder / DEMO.encoder, threads=1)


@pytest.fixture(scope='module')
def onnx(encoder: OnnxEncoder) -> LocalEngine:
    folder = DEMO.folder
    return LocalEngine(encoder, OnnxLanguageModel(
        'demo', folder / DEMO.language_model, folder / DEMO.tokenizer, 512, threads=1,
        instructions=DEMO.instructions,
    ))


@pytest.fixture(scope='module')
def head_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_model(tmp_path_factory.mktemp('model') / 'with_head.rkllm')
    write_head(path)
    return path


@pytest.fixture
def prove(load: Load, head_file: Path, encoder: OnnxEncoder) -> Load:
    """Return a function that loads the model and lets it find its way."""
    def prove(version: str = '1.3.1', **options: object) -> RkllmLanguageModel:
        model = load(version, head_file, **options)
        image = ImageEmbedding(encoder.encode(picture()), 0.0)
        model.prove(image, LmHead.load(head_file), lambda event: None)
        return model

    return prove


@pytest.fixture(scope='module')
def asked(onnx: LocalEngine) -> list[tuple[GenerationRequest, Verdict]]:
    """Return typed questions, and what the embedded model decides for."""
    requests = []
    for seed in (0, 3, 5):
        rng = np.random.default_rng((23, seed))
        scene = random_scene(rng)
        image = onnx.encode(render(scene, 320, 240))
        for kind, choices in (
            ('exists', YES_NO), ('path_clear', YES_NO), ('colour', tuple(COLOURS)),
            ('count', tuple('1234')), ('where', tuple(PLACE.values())),
        ):
            try:
                question = random_question(scene, rng, kind).text
            except ValueError:  # no such question about this scene
                continue
            requests.append(GenerationRequest(question, (image,), 32, choices=choices))
    return [(request, verdict_of(onnx, request)) for request in requests]


def verdict_of(engine: Engine, request: GenerationRequest) -> Verdict:
    *_, last = engine.generate(request)
    assert last.verdict
    return last.verdict


def engine_of(model: RkllmLanguageModel, encoder: OnnxEncoder) -> LocalEngine:
    return LocalEngine(encoder, model)


def test_probabilities_are_those_of_the_embedded_model(
    prove: Load, faults: Faults, encoder: OnnxEncoder,
    asked: list[tuple[GenerationRequest, Verdict]],
) -> None:
    for version in VERSIONS:
        for way, wrong in FOR.items():
            faults(**wrong)
            model = prove(version)
            # Before 1.2.0 there are no logits.
            expected = Way.HIDDEN if version < '1.2' and way is not Way.OFF else way
            assert model.scorer.way is expected, (version, model.probabilities)
            engine, sure = engine_of(model, encoder), 0
            for request, verdict in asked if version in ('1.2.3', '1.3.1') else asked[:4]:
                found = verdict_of(engine, request)
                if expected is Way.OFF:
                    assert found.probability is None
                    assert found.index in (verdict.index, None)
                    continue
                assert found.index == verdict.index, (version, way, request.question)
                assert found.decided_by is verdict.decided_by
                assert (found.probability is None) == (verdict.probability is None)
                if found.probability is not None and verdict.probability is not None:
                    assert abs(found.probability - verdict.probability) < SAME
                    sure += 1
            assert sure > 2 or expected is Way.OFF
            assert model.scorer.way is expected  # it still is
            model.close()


def test_first_token_stands_for_a_choice_where_only_one_row_comes(
    prove: Load, faults: Faults, encoder: OnnxEncoder,
    asked: list[tuple[GenerationRequest, Verdict]],
) -> None:
    faults(**FOR[Way.HIDDEN], HIDDEN_ONE='1')
    engine, alike = engine_of(prove(), encoder), 0
    for request, verdict in asked:
        found = verdict_of(engine, request)
        assert found.index in (verdict.index, None)
        is_shared = request.choices == tuple(PLACE.values()) and verdict.index is not None and (
            sum(c[:2] == request.choices[verdict.index][:2] for c in request.choices) > 1)
        alike += is_shared
        assert (found.probability is None) == (verdict.probability is None or is_shared)
    assert alike


# What goes wrong from the start: the switches, and the way that is left.
FROM_THE_START = {
    'rows that are not all there': ({'LOGITS_LOST': '5'}, Way.ANSWER),
    'only the last row': ({'LOGITS_ONE': '1', 'HIDDEN_ONE': '1'}, Way.ANSWER),
    'the last row is missing': ({'LOGITS_LOST': '-1'}, Way.HIDDEN),
    'one result, and no end': ({'LOGITS_ONCE': '1'}, Way.LOGITS),
    'no logits': ({'LOGITS_NULL': '1'}, Way.HIDDEN),
    'nothing comes until it is aborted': ({'LOGITS_SILENT': '1'}, Way.HIDDEN),
    'the mode is refused': ({'LOGITS_FAIL': '1'}, Way.HIDDEN),
    'not numbers': ({'LOGITS_NAN': '1'}, Way.HIDDEN),
    'rows in reverse': ({'LOGITS_REVERSED': '1'}, Way.HIDDEN),
    'rows of the question before': ({'LOGITS_STALE': '1'}, Way.HIDDEN),
    'it jitters': ({'LOGITS_NOISE': '0.05'}, Way.ANSWER),
    'it jitters much': ({'LOGITS_NOISE': '60'}, Way.HIDDEN),
    'it takes long': ({'LOGITS_SECONDS': '2'}, Way.HIDDEN),
    'it becomes slow where nothing is cleared': ({'UNCLEARED_SECONDS': '2'}, Way.ANSWER),
    'only one state': ({'LOGITS_FAIL': '1', 'HIDDEN_ONE': '1'}, Way.HIDDEN),
    'the end of it is missing': ({'LOGITS_FAIL': '1', 'HIDDEN_ONCE': '1'}, Way.HIDDEN),
    'no states': ({'LOGITS_FAIL': '1', 'HIDDEN_NULL': '1'}, Way.OFF),
    'states before the norm': ({'LOGITS_FAIL': '1', 'HIDDEN_RAW': '1'}, Way.OFF),
    'states of the question before': ({'LOGITS_FAIL': '1', 'HIDDEN_STALE': '1'}, Way.OFF),
    'states in reverse': ({'LOGITS_FAIL': '1', 'HIDDEN_REVERSED': '1'}, Way.OFF),
    'no states until it is aborted': ({'LOGITS_FAIL': '1', 'HIDDEN_SILENT': '1'}, Way.OFF),
}


def test_what_goes_wrong_from_the_start_leaves_the_next_way(
    prove: Load, faults: Faults, encoder: OnnxEncoder, monkeypatch: pytest.MonkeyPatch,
    asked: list[tuple[GenerationRequest, Verdict]], slack: Callable[[float], None],
) -> None:
    monkeypatch.setattr('vlm_npu_ros.engine.backends.rknpu.proof._SPARE', 1.0)
    for name, (wrong, left) in FROM_THE_START.items():
        faults(**wrong)
        slack(1.5 if 'LOGITS_SECONDS' in wrong else PATIENCE)
        model = prove('1.2.3')
        assert model.scorer.way is left, (name, model.probabilities)
        assert (left is Way.ANSWER) == (model.scorer.why == ''), name
        engine = engine_of(model, encoder)
        for request, verdict in asked[:3]:
            assert verdict_of(engine, request).index in (verdict.index, None), name
        model.close()


def test_logits_of_several_batches_are_refused(
    prove: Load, monkeypatch: pytest.MonkeyPatch,
) -> None:
    make = Inputs.load

    def with_batches(*args: object) -> object:
        param = make(*args)
        param.extend_param.n_batch = 2
        return param

    monkeypatch.setattr(Inputs, 'load', with_batches)
    assert prove('1.3.1').scorer.way is Way.HIDDEN


# What goes wrong only later, when a way is in use.
LATER = {
    Way.ANSWER: (
        'LOGITS_ONCE', 'LOGITS_NULL', 'LOGITS_SILENT', 'LOGITS_FAIL', 'LOGITS_NAN',
        'LOGITS_REVERSED', 'LOGITS_STALE',
    ),
    Way.LOGITS: ('LOGITS_NULL', 'LOGITS_SILENT', 'LOGITS_FAIL', 'LOGITS_NAN', 'LOGITS_STALE'),
    Way.HIDDEN: (
        'HIDDEN_NULL', 'HIDDEN_SILENT', 'HIDDEN_FAIL', 'HIDDEN_NAN', 'HIDDEN_STALE',
        'HIDDEN_REVERSED',
    ),
}


def test_what_goes_wrong_later_decides_nothing_and_is_given_up(
    prove: Load, faults: Faults, encoder: OnnxEncoder, monkeypatch: pytest.MonkeyPatch,
    asked: list[tuple[GenerationRequest, Verdict]],
) -> None:
    monkeypatch.setattr('vlm_npu_ros.engine.backends.rknpu.proof._SPARE', 0.2)
    typed = [each for each in asked if each[0].choices == YES_NO]
    for way, switches in LATER.items():
        faults(**FOR[way])
        model = prove('1.3.1')
        engine = engine_of(model, encoder)
        for switch in switches:
            model.scorer.way, model.scorer._failures = way, 0
            faults(**FOR[way], **{switch: '1'})
            for request, verdict in typed[:4]:
                found = verdict_of(engine, request)
                assert found.index in (verdict.index, None), (way, switch)
            if switch not in ('LOGITS_STALE', 'HIDDEN_STALE'):  # which is right now and then
                assert model.scorer.way is Way.OFF, (way, switch)
                assert '3 times in a row' in model.probabilities
                # The words decide, as if nothing had been tried.
                assert found.decided_by in (DecidedBy.WORDS, DecidedBy.NOTHING)
        model.close()


def test_a_model_that_thinks_or_begins_otherwise_is_not_mistaken(
    prove: Load, encoder: OnnxEncoder, monkeypatch: pytest.MonkeyPatch,
    asked: list[tuple[GenerationRequest, Verdict]],
) -> None:
    engine = engine_of(prove(), encoder)
    request, _ = asked[0]
    for answer, index, is_sure in (
        ('<think>is it?</think>yes, it is.', 0, False),
        ('yes', 0, True),
        ('**no**, it is not.', 1, True),
        ('well, perhaps yes.', None, False),
    ):
        monkeypatch.setenv('SIMRKLLM_ANSWER', answer)
        found = verdict_of(engine, request)
        assert found.index in (index, None), answer
        assert (found.probability is not None) == is_sure, answer
        assert not is_sure or found.index == index and found.probability > 0.9, answer


def test_dialogues_go_on_behind_a_typed_question(
    prove: Load, onnx: LocalEngine, encoder: OnnxEncoder,
    asked: list[tuple[GenerationRequest, Verdict]],
) -> None:
    engine = engine_of(prove(), encoder)
    request, verdict = asked[0]
    first = replace(request, keep=True)
    assert verdict_of(engine, first).index == verdict.index
    # What is not typed, and what follows, is as it was.
    plain = replace(request, choices=())
    assert engine.answer(plain) == onnx.answer(plain)
    assert verdict_of(engine, replace(request, sampling=replace(
        request.sampling, temperature=0.01))).probability is None


def test_first_tokens_are_learnt_once_and_kept(
    load: Load, profile: ModelProfile, head_file: Path, encoder: OnnxEncoder, cache: Path,
    asked: list[tuple[GenerationRequest, Verdict]], monkeypatch: pytest.MonkeyPatch,
) -> None:
    untold = replace(profile, first_tokens=None)
    said: list[str] = []

    def learning() -> RkllmLanguageModel:
        model = load('1.3.1', head_file, untold)
        model.prove(ImageEmbedding(encoder.encode(picture()), 0.0), None, lambda event: None)
        ask = model.scorer.tokens._ask

        def obey(question: str) -> tuple[int, str]:
            said.append(question)
            monkeypatch.setenv('SIMRKLLM_ANSWER', question.rpartition(' ')[2])
            token = ask(question)
            monkeypatch.delenv('SIMRKLLM_ANSWER')
            return token

        model.scorer.tokens._ask = obey  # the demo model does not know what a word is
        return model

    # The demo model capitalises what it says first.
    request, verdict = next(each for each in asked if each[1].probability)
    for _ in range(2):
        assert verdict_of(engine_of(learning(), encoder), request).index in (verdict.index, None)
    other = YES_NO[1 - (verdict.index or 0)].capitalize()
    assert said == [f'Reply with exactly this word: {other}']
    assert Notes(head_file, '1.3.1').tokens.keys() == {other}


def test_word_that_the_model_does_not_say_stays_unknown(
    load: Load, profile: ModelProfile, head_file: Path,
) -> None:
    tokens = load('1.3.1', head_file, replace(profile, first_tokens={'up': 5})).scorer.tokens
    assert tokens.of('up and away') == 5
    assert tokens.of('maybe') is None
    assert tokens.of('maybe', learn=True) is None  # the demo model says something else
    assert tokens.of(' no', learn=True) is None  # only the beginning of an answer can be learnt


def test_row_that_no_model_can_have_meant_is_refused() -> None:
    good = np.linspace(-5, 5, 50, dtype=np.float32)
    head = LmHead({}, np.array([7, 9], np.int32), np.eye(2, 50, dtype=np.float32))
    for values, with_head, words in (
        (None, None, 'nothing came'),
        (np.full(50, np.nan, np.float32), None, 'not finite'),
        (np.zeros(50, np.float32), None, 'the same for all'),
        (good[:20], head, 'not those that the LM head takes'),
    ):
        with pytest.raises(RowError, match=words):
            Row(values, with_head)
    row = Row(good)
    row.check(49)
    row.check(48)  # as good as equal
    with pytest.raises(RowError, match='another token'):
        row.check(40)
    assert row.probability(50) is None and sum(row.probabilities) == pytest.approx(1)
    states = Row(np.array([3, 1, *[0] * 48], np.float32), head)
    assert states.probability(7) == pytest.approx(1 / (1 + np.exp(-2)))
    with pytest.raises(RowError, match='lacks the token'):
        states.check(8)


def test_way_that_killed_a_process_is_not_tried_again(
    prove: Load, head_file: Path, encoder: OnnxEncoder,
) -> None:
    for way, left in (('logits', Way.HIDDEN), ('hidden', Way.OFF)):
        note = Notes(head_file, '1.3.1').died(way)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
        model = prove('1.3.1')
        assert model.scorer.way is left
        assert f'crashed or hung; delete {note}' in model.probabilities


def test_models_are_loaded_where_no_notes_can_be_kept(
    prove: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    model = prove('1.3.1')
    assert model.scorer.way is Way.OFF and 'cannot be written' in model.probabilities


def test_doctor_tells_what_was_found_out(prove: Load, head_file: Path) -> None:
    notes = Notes(head_file, '1.3.1')
    settings = EngineSettings('rknpu', options=RknpuSettings())
    assert 'not tried yet' in _probabilities(notes, settings).found
    prove('1.3.1').scorer.keep()
    check = _probabilities(notes, settings)
    assert (check.level, check.found) == ('ok', 'logits, with the answer')
    hidden = notes.died('hidden')
    hidden.touch()
    check = _probabilities(notes, settings)
    assert check.level == 'warn' and f'rm {hidden}' in check.remedy
    with trial(hidden):  # a node is trying it just now
        assert _probabilities(notes, settings).level == 'ok'
    off = EngineSettings('rknpu', options=RknpuSettings(probabilities='off'))
    assert 'rknpu.probabilities is off' in _probabilities(notes, off).found


def test_settings_and_files_can_rule_ways_out(
    prove: Load, load: Load, profile: ModelProfile, encoder: OnnxEncoder, faults: Faults,
) -> None:
    no_template = replace(profile, template=None)
    assert prove('1.3.1', profile=no_template).scorer.way is Way.LOGITS
    faults(LOGITS_FAIL='1')
    model = load('1.3.1')
    model.prove(ImageEmbedding(encoder.encode(picture()), 0.0), None, lambda event: None)
    assert model.scorer.way is Way.OFF
    assert 'vlm-npu convert head' in model.probabilities
    assert RknpuSettings().probabilities == 'auto'


def test_crash_and_hang_leave_the_engine_with_the_next_way(
    identified: Callable[..., RuntimeLibrary], head_file: Path, tmp_path: Path, faults: Faults,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, board_tree(tmp_path / 'board'))
    folder = Path(simulated.__path__[0])
    engine = IsolatedEngine(
        EngineSettings(
            'rknpu', str(folder / 'demo_rknpu.yaml'),
            str(folder.parent / 'data' / 'demo_encoder.rknn'), str(head_file),
            options=RknpuSettings(library=str(identified('1.2.3').path)),
        ),
        limits=StageLimits(),
    )
    faults(PREFILL_RATE='150')  # so that a busy machine makes no way twice as slow as an answer
    engine.load()
    faults()
    rng = np.random.default_rng(3)
    scene = random_scene(rng)
    image = engine.encode(render(scene, 320, 240))
    request = GenerationRequest('is the path clear?', (image,), 32, choices=YES_NO)
    try:
        first = verdict_of(engine, request)
        assert first.decided_by is DecidedBy.PROBABILITY
        # A crash at a question leaves logits out; then the proof of hidden states hangs.
        faults(LOGITS_SEGV='1', HIDDEN_HANG='1')
        monkeypatch.setattr(StageLimits, 'trial', 2.0)
        with pytest.raises(BackendCrashedError):
            engine.answer(request)
        second = verdict_of(engine, request)
        assert second.decided_by in (DecidedBy.WORDS, DecidedBy.NOTHING)
        assert second.index in (first.index, None)
    finally:
        engine.close()
