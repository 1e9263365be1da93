# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The node on a simulated board: every runtime, and what a wrong pairing ends in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import time
from typing import Any

from bars import timing, within
from builtin_interfaces.msg import Duration
from doctor import Doctor
import numpy as np
import pytest
from robot import Robot, wait_until
import simulated
from simulated import runtime, weights
from simulated.board import board_tree, use
from vlm_npu_ros.demo.questions import random_question
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import GenerationRequest, YES_NO
from vlm_npu_ros.msg import ErrorCode
from vlm_npu_ros.node.vlm_node import VlmNode

SIMULATED = Path(simulated.__path__[0])
VERSIONS = ('1.1.4', '1.2.0', '1.2.1b1', '1.2.3', '1.3.0', '1.3.1')

MakeNode = Callable[..., VlmNode]
Asked = tuple[np.ndarray, str, str]


@pytest.fixture(scope='module')
def fifty() -> list[Asked]:
    """Return fifty pictures, a question about each, and the answer of the embedded model."""
    engine = load_engine(EngineSettings(threads=1))
    asked = []
    for seed in range(50):
        rng = np.random.default_rng((5, seed))
        scene = random_scene(rng)
        picture = render(scene, 320, 240)
        question = random_question(scene, rng).text.replace('<', '')
        request = GenerationRequest(question, (engine.encode(picture),), 64)
        asked.append((picture, question, engine.answer(request)))
    return asked


@pytest.fixture(scope='module')
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('board')
    weights.write_model(folder / 'demo.rkllm')
    for version in VERSIONS:
        runtime.build(version, folder)
    return folder


@pytest.fixture
def on_board(
    files: Path, active_node: MakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> MakeNode:
    use(monkeypatch, board_tree(tmp_path))
    monkeypatch.setenv('SIMNPU_FAULTS', str(tmp_path / 'faults'))

    def make(version: str = '1.2.3', **parameters: Any) -> VlmNode:
        return active_node(**{
            'backend': 'rknpu',
            'image_reliability': 'reliable',
            'model': str(SIMULATED / 'demo_rknpu.yaml'),
            'encoder_path': str(SIMULATED.parent / 'data' / 'demo_encoder.rknn'),
            'language_model_path': str(files / 'demo.rkllm'),
            'rknpu__library': str(files / version / 'librkllmrt.so'),
            **parameters,
        })

    return make


@pytest.mark.parametrize('version', VERSIONS)
def test_answers_are_those_of_the_embedded_model(
    version: str, on_board: MakeNode, robot: Robot, fifty: list[Asked],
) -> None:
    on_board(version, max_new_tokens=64)
    for picture, question, answer in fifty:
        frame = robot.publish(picture)
        response = robot.ask(question=question, not_before=frame.header.stamp)
        assert response.success, response.error_msg
        assert response.answer == answer
        assert response.header.stamp == frame.header.stamp
        assert response.stats.backend == 'rknpu'
        assert response.stats.image_tokens in (0, 64)  # 0 = read ahead


def test_answer_that_repeats_itself_says_so(
    on_board: MakeNode, robot: Robot, fifty: list[Asked], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('SIMRKLLM_ANSWER', 'there is a red ball. ')
    monkeypatch.setenv('SIMRKLLM_ENDLESS', '1')
    on_board('1.3.1', max_new_tokens=300)
    robot.publish(fifty[0][0])
    response = robot.ask(question='what do you see?')
    assert response.success, response.error_msg
    assert response.finish_reason == 'repetition'
    assert response.note == 'the answer was cut, because it repeated itself'


def test_diagnostics_tell_how_probabilities_are_had_and_why(
    on_board: MakeNode, robot: Robot, tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    doctor = Doctor(robot)
    (tmp_path / 'faults').write_text('SIMRKLLM_LOGITS_SEGV@once=1')
    on_board('1.3.1')
    told: dict[str, str] = {}

    def is_told(status: Any) -> bool:
        told.update((value.key, value.value) for value in status.values)
        return 'probabilities' in told

    doctor.wait_for('engine', is_told)
    reason = told['probabilities']
    assert reason.startswith('none (logits, with the answer: the runtime crashed or hung; delete ')
    assert 'there is no file with rows of the LM head (vlm-npu convert head)' in reason
    output = capfd.readouterr()
    assert f'Probabilities: {reason}' in output.out + output.err


@pytest.mark.parametrize('version', VERSIONS)
def test_answer_ends_at_the_words_that_decide(
    version: str, on_board: MakeNode, robot: Robot, fifty: list[Asked],
) -> None:
    on_board(version, max_new_tokens=64)
    # Before 1.2.0 there are no logits, and no rows of an LM head lie beside the model.
    way = 'words' if version < '1.2' else 'probability'
    decided = 0
    for picture, question, answer in fifty[:20]:
        frame = robot.publish(picture)
        typed = robot.ask(question=question, answer_type=1, not_before=frame.header.stamp)
        assert typed.success, typed.error_msg
        said = answer.lower().split(',')[0]
        # A word about the speaker, as in "No, I see nothing", leaves it unclear.
        assert typed.choice in ('unclear', said if said in YES_NO else 'unclear')
        assert answer.startswith(typed.answer)
        assert (typed.confidence > 0) == (typed.decided_by == 'probability')
        decided += typed.choice != 'unclear'
        assert (typed.choice == 'unclear') == (typed.decided_by != way)
        # What the runtime still wrote for it is in no other answer.
        assert robot.ask(question=question).answer == answer
    assert decided > 3


def test_error_of_the_runtime_ends_one_question_only(
    on_board: MakeNode, robot: Robot, fifty: list[Asked], tmp_path: Path,
) -> None:
    on_board()
    picture, question, answer = fifty[0]
    robot.publish(picture)
    (tmp_path / 'faults').write_text('SIMRKLLM_ERROR_AT@once=2')
    assert robot.ask(question=question).error_code == ErrorCode.BACKEND_CRASHED
    assert robot.ask(question=question).answer == answer


def test_failed_encoding_is_told_and_the_next_frame_is_seen(
    on_board: MakeNode, robot: Robot, fifty: list[Asked], tmp_path: Path,
) -> None:
    doctor = Doctor(robot)
    node = on_board()
    picture, question, answer = fifty[0]
    (tmp_path / 'faults').write_text('SIMRKNN_NAN=1')
    asked = robot.ask_later(question=question)
    wait_until(lambda: node._queue.depth == 1)  # else the failure is none of its own
    robot.publish(picture)
    response = asked()
    assert response.error_code == ErrorCode.BACKEND_CRASHED
    assert 'not finite' in response.error_msg
    doctor.wait_for('engine', lambda s: s.level == s.ERROR and 'not finite' in s.message)
    (tmp_path / 'faults').unlink()
    frame = robot.publish(picture)
    assert robot.ask(question=question, not_before=frame.header.stamp).answer == answer
    doctor.wait_for('engine', lambda s: s.level == s.OK)


@pytest.mark.parametrize('parameters, reason', [
    ({'model': 'demo'}, 'made for the backend onnx'),
    ({'model': 'auto'}, 'demo'),
    ({'context': 1024}, '1024 tokens, demo-rknpu holds 512'),
    ({'encoder_path': ''}, 'needs the parameters encoder_path'),
    ({'encoder_path': 'swapped.rkllm'}, 'cannot be read'),
    ({'rknpu__library': '/nowhere/librkllmrt.so'}, 'There is no /nowhere/librkllmrt.so'),
    ({'rknpu__runtime_version': '1.3.0'}, 'default parameters lie where'),
    ({'rknpu__runtime_version': '9.9'}, 'Supported are'),
])
def test_what_does_not_fit_fails_configure_with_the_reason(
    parameters: dict[str, Any], reason: str, on_board: MakeNode, robot: Robot,
    capfd: pytest.CaptureFixture[str],
) -> None:
    on_board(**parameters)
    output = capfd.readouterr()
    assert reason in output.out + output.err


def test_what_has_proved_itself_is_not_proved_again_after_a_crash(
    on_board: MakeNode, robot: Robot, fifty: list[Asked], tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    node = on_board()
    picture, question, answer = fifty[0]
    assert node._engine and node._engine.read_ahead.possible
    (tmp_path / 'faults').write_text('SIMRKLLM_SEGV_AT@once=2')
    frame = robot.publish(picture)
    response = robot.ask(question=question, not_before=frame.header.stamp)
    assert response.error_code == ErrorCode.BACKEND_CRASHED
    assert robot.ask(question=question).answer == answer
    assert node._engine.restarts == 1 and node._engine.read_ahead.possible
    output = capfd.readouterr()
    assert (output.out + output.err).count('Reading ahead: proved') == 1


@timing
def test_slow_answer_ends_at_its_timeout_and_the_next_one_is_right(
    on_board: MakeNode, robot: Robot, fifty: list[Asked], tmp_path: Path,
) -> None:
    on_board(max_age=600.0, read_ahead='off')
    picture, question, answer = fifty[0]
    robot.publish(picture)
    assert robot.ask(question=question).answer == answer
    # About 3 s.
    slow = 'SIMRKLLM_PREFILL_RATE=25\nSIMRKLLM_ABORT_IGNORES_PREFILL=1'
    (tmp_path / 'faults').write_text(slow)
    started = time.monotonic()
    response = robot.ask(question=question, timeout=Duration(nanosec=500_000_000))
    assert response.error_code == ErrorCode.TIMEOUT
    assert time.monotonic() - started < within(2.0)  # the runtime is still reading
    (tmp_path / 'faults').unlink()
    assert robot.ask(question=question).answer == answer
