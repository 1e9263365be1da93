# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The engine in its own process: the same answers, and what its crashes leave behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
import errno
import gc
import os
from pathlib import Path
import queue
import re
import signal
import subprocess
import sys
import threading
import time

from bars import timing, within
import numpy as np
import psutil
import pytest
import simulated
from vlm_npu_ros.demo.questions import random_question
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.backends.scripted import ScriptedSettings
from vlm_npu_ros.engine.errors import (
    BackendCrashedError,
    InactiveError,
    ModelFileError,
)
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.isolated import IsolatedEngine
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.process import EngineProcess, StageLimits
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import GenerationRequest, Turn

SIMULATED = Path(simulated.__path__[0])
ONNX = EngineSettings(threads=1)
SLOW = EngineSettings(
    'scripted', options=ScriptedSettings(decode_rate=0.2, answers=('one two three four',))
)


class Started:
    """An isolated engine, and what it tells."""

    def __init__(self, settings: EngineSettings) -> None:
        self.lines: list[str] = []
        self.changes: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.engine = IsolatedEngine(
            settings,
            limits=StageLimits(),
            log=self.lines.append,
            on_change=self.changes.put,
        )


@pytest.fixture
def start() -> Iterator[Callable[..., Started]]:
    """Return a function that starts an engine; none of them may leave anything behind."""
    before = set(psutil.Process().children())
    started: list[Started] = []

    def start_one(settings: EngineSettings, load: bool = True) -> Started:
        started.append(Started(settings))
        if load:
            started[-1].engine.load()
        return started[-1]

    yield start_one
    for one in started:
        one.engine.close()
        one.engine.close()
    assert set(psutil.Process().children()) == before
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {'engine', 'engine log', 'supervisor'}


@pytest.fixture
def rknpu(files: Path) -> EngineSettings:
    return EngineSettings(
        backend='rknpu',
        model=str(SIMULATED / 'demo_rknpu.yaml'),
        encoder_path=str(SIMULATED.parent / 'data' / 'demo_encoder.rknn'),
        language_model_path=str(files / 'demo.rkllm'),
        options=RknpuSettings(library=str(files / '1.2.3' / 'librkllmrt.so')),
    )


def scene(seed: int) -> tuple[np.ndarray, str]:
    rng = np.random.default_rng((9, seed))
    scene = random_scene(rng)
    return render(scene, 640, 360), random_question(scene, rng).text.replace('<', '')


def ask(engine: Engine, picture: np.ndarray, question: str) -> str:
    request = GenerationRequest(question, (engine.encode(picture),), 64)
    return ''.join(chunk.text for chunk in engine.generate(request))


def test_same_answers_embeddings_and_counts_as_without(start: Callable[..., Started]) -> None:
    isolated, plain = start(ONNX).engine, load_engine(ONNX)
    assert isolated.model_name == plain.model_name
    assert isolated.context == plain.context
    for seed in range(10):
        picture, question = scene(seed)
        requests = [
            GenerationRequest(question, (engine.encode(picture), engine.encode(picture[:, ::-1])),
                              30, turns=(Turn('what do you see?', 'I see ' + 40 * 'a ball '),))
            for engine in (isolated, plain)
        ]
        assert isolated.tokens(requests[0]) == plain.tokens(requests[1])
        fitted = isolated.fit(requests[0], 120), plain.fit(requests[1], 120)
        assert fitted[0].images == fitted[1].images
        assert fitted[0].dropped_turns == fitted[1].dropped_turns
        chunks = [list(engine.generate(fit.request))
                  for engine, fit in zip((isolated, plain), fitted, strict=True)]
        assert [(c.text, c.finish_reason) for c in chunks[0]] == \
            [(c.text, c.finish_reason) for c in chunks[1]]
        embedding = requests[0].images[0]
        assert embedding.data.shape == requests[1].images[0].data.shape
        assert np.isnan(embedding.data).all()  # nobody can compute with what is not there


def test_signal_to_all_processes_is_left_to_the_parent(start: Callable[..., Started]) -> None:
    started = start(ONNX)
    engine, (picture, question) = started.engine, scene(1)
    right, pid = ask(engine, picture, question), engine.pid
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
        assert ask(engine, picture, question) == right
    assert engine.pid == pid and engine.restarts == 0


def test_missing_file_fails_the_load_with_its_reason(start: Callable[..., Started]) -> None:
    started = start(replace(ONNX, encoder_path='/nowhere.onnx'), load=False)
    with pytest.raises(ModelFileError, match='/nowhere.onnx'):
        started.engine.load()


def test_file_that_cannot_be_looked_at_fails_the_load_with_its_reason(
    start: Callable[..., Started]
) -> None:
    for name in (300 * 'x', 'no\0file'):
        with pytest.raises(ModelFileError, match='no model file'):
            start(replace(ONNX, encoder_path=name), load=False).engine.load()


def test_picture_for_a_child_that_has_ended_tells_how_it_did() -> None:
    process = EngineProcess(
        EngineSettings('scripted'), StageLimits(), progress=lambda event: None,
        log=lambda line: None, released=deque())
    process.wait_until_ready()
    os.kill(process.pid, signal.SIGKILL)
    process.wait_until_ended()
    with pytest.raises(BackendCrashedError, match='SIGKILL'):
        process.encode(1, np.zeros((4, 4, 3), np.uint8))


def expect_hang(engine: IsolatedEngine, factor: float) -> None:
    """Shorten the limits of the child that runs now; the next one may take its time to start."""
    assert engine._process
    engine._process._limits = StageLimits(factor)


@pytest.mark.parametrize('fault, words', [
    ('SIMRKLLM_PREFILL_SEGV@once=1', 'SIGSEGV while reading the prompt'),
    ('SIMRKLLM_SEGV_AT@once=3', 'SIGSEGV while (writing|reading the prompt)'),
    ('SIMRKLLM_PREFILL_HANG@once=1', 'hung while reading the prompt'),
    ('SIMRKLLM_HANG_AT@once=3', 'hung while writing'),
])
def test_crash_or_hang_ends_the_answer_and_the_next_is_right(
    fault: str, words: str, start: Callable[..., Started], rknpu: EngineSettings, faults: Path
) -> None:
    started = start(rknpu)
    engine = started.engine
    picture, question = scene(1)
    request = GenerationRequest(question, (engine.encode(picture),), 64)
    right = ''.join(chunk.text for chunk in engine.generate(request))
    faults.write_text(fault + '\n')
    if 'HANG' in fault:
        expect_hang(engine, 0.15)
    with pytest.raises(BackendCrashedError, match=words):
        list(engine.generate(request))
    # The picture that was encoded before the crash still answers.
    assert ''.join(chunk.text for chunk in engine.generate(request)) == right
    assert engine.restarts == 1
    assert re.search(words, started.changes.get(timeout=60))
    assert started.changes.get(timeout=60) == ''
    assert engine.failure == ''


@pytest.mark.parametrize('fault, words', [
    ('SIMRKNN_SEGV@once=1', 'SIGSEGV while (writing and )?encoding'),
    ('SIMRKNN_HANG@once=1', 'hung while encoding'),
])
def test_crash_or_hang_of_the_encoder(
    fault: str, words: str, start: Callable[..., Started], rknpu: EngineSettings, faults: Path
) -> None:
    engine = start(rknpu).engine
    picture, question = scene(2)
    right = ask(engine, picture, question)
    faults.write_text(fault + '\n')
    if 'HANG' in fault:
        expect_hang(engine, 0.05)
    with pytest.raises(BackendCrashedError, match=words):
        engine.encode(picture)
    assert ask(engine, picture, question) == right


def test_crash_at_load_tells_what_native_code_said(
    start: Callable[..., Started], rknpu: EngineSettings, faults: Path
) -> None:
    faults.write_text('SIMRKLLM_INIT_SEGV@once=1\n')
    started = start(rknpu, load=False)
    with pytest.raises(BackendCrashedError, match='SIGSEGV while loading'):
        started.engine.load()


def test_crash_that_comes_again_at_the_proof_ends_the_load(
    start: Callable[..., Started], rknpu: EngineSettings, faults: Path
) -> None:
    faults.write_text('SIMRKLLM_PREFILL_SEGV=1\n')  # at ordinary runs, which nothing leaves out
    engine = start(rknpu, load=False).engine
    too_late = threading.Timer(100, engine.close)
    too_late.start()
    with pytest.raises(BackendCrashedError, match='SIGSEGV while trying a test picture'):
        engine.load()
    too_late.cancel()


def test_failing_restart_is_tried_again(
    start: Callable[..., Started], rknpu: EngineSettings, faults: Path
) -> None:
    started = start(rknpu)
    picture, question = scene(3)
    right = ask(started.engine, picture, question)
    faults.write_text('SIMRKLLM_INIT_SEGV@once=1\nSIMRKLLM_INIT_FAIL@once=1\n')
    os.kill(started.engine.pid, signal.SIGKILL)
    reasons = [started.changes.get(timeout=60) for _ in range(4)]
    assert 'SIGKILL' in reasons[0] and 'memory' in reasons[0]
    assert {'SIGSEGV' in reason for reason in reasons[1:3]} == {True, False}
    assert reasons[3] == ''
    assert started.engine.restarts == 3
    assert ask(started.engine, picture, question) == right


def test_restart_without_memory_for_a_process_is_tried_again(
    start: Callable[..., Started], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = start(SLOW)
    popen = subprocess.Popen

    def refused(*arguments: object, **options: object) -> None:
        monkeypatch.setattr(subprocess, 'Popen', popen)
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(subprocess, 'Popen', refused)
    os.kill(started.engine.pid, signal.SIGKILL)
    reasons = [started.changes.get(timeout=30) for _ in range(3)]
    assert 'SIGKILL' in reasons[0] and 'memory' in reasons[1] and reasons[2] == ''


def test_stopped_child_is_noticed_and_replaced(start: Callable[..., Started]) -> None:
    started = start(ONNX)
    os.kill(started.engine.pid, signal.SIGSTOP)
    assert 'no sign of life' in started.changes.get(timeout=60)
    assert started.changes.get(timeout=60) == ''
    assert ask(started.engine, *scene(4))


def test_what_is_printed_is_forwarded(
    start: Callable[..., Started], rknpu: EngineSettings, faults: Path
) -> None:
    started = start(rknpu)
    started.engine.close()  # all has been read then
    assert any('rkllm-runtime version: 1.2.3' in line for line in started.lines)


@timing
def test_pause_ends_what_waits_and_refuses_more(start: Callable[..., Started]) -> None:
    slow = replace(SLOW.options, encode_seconds=2.0, decode_rate=0.0)
    engine = start(replace(SLOW, options=slow)).engine
    errors: queue.SimpleQueue[Exception] = queue.SimpleQueue()

    def encode() -> None:
        try:
            engine.encode(scene(6)[0])
        except InactiveError as error:
            errors.put(error)

    started = time.monotonic()
    waiting = threading.Thread(target=encode)
    waiting.start()
    while not engine._process or not any(j.key for j in list(engine._process._jobs.values())):
        threading.Event().wait(0.001)
    engine.pause()
    waiting.join()
    assert time.monotonic() - started < within(0.9)
    assert isinstance(errors.get(timeout=1), InactiveError)
    with pytest.raises(InactiveError):
        engine.encode(scene(6)[0])
    engine.resume()
    assert ask(engine, *scene(6)) == 'one two three four'
    assert engine.restarts == 0


def test_pause_while_a_picture_is_encoded_again_loses_nothing(
    start: Callable[..., Started],
) -> None:
    options = ScriptedSettings(encode_seconds=1.0, answers=('yes',))
    started = start(EngineSettings('scripted', options=options))
    engine = started.engine
    image = engine.encode(scene(1)[0])
    os.kill(engine.pid, signal.SIGKILL)
    while started.changes.get(timeout=60):
        pass
    process = engine._process
    restoring = threading.Thread(target=lambda: pytest.raises(
        InactiveError, engine.restore, image))
    restoring.start()
    while process and not process._jobs:
        threading.Event().wait(0.001)
    engine.pause()
    restoring.join()
    engine.resume()
    engine.encode(scene(2)[0])  # behind the first one
    assert engine.answer(GenerationRequest('Is it?', (image,), 5)) == 'yes'
    assert engine.restarts == 1


def test_embeddings_that_nobody_needs_are_freed(start: Callable[..., Started]) -> None:
    large = replace(SLOW.options, image_tokens=200_000)  # 2.4 MB
    engine = start(replace(SLOW, options=large)).engine
    picture = scene(7)[0]
    process = psutil.Process(engine.pid)

    def encode_many() -> int:
        for _ in range(60):
            engine.encode(picture)
            gc.collect()
        return process.memory_info().rss

    assert encode_many() > 0
    before = process.memory_info().rss
    assert encode_many() - before < 20 * 2**20  # 144 MB if none was freed


@timing
def test_close_ends_a_load_and_those_who_wait(
    start: Callable[..., Started], rknpu: EngineSettings, faults: Path
) -> None:
    faults.write_text('SIMRKLLM_INIT_HANG=1\n')
    started = start(rknpu, load=False)
    ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def load() -> None:
        try:
            started.engine.load()
        except InactiveError as error:
            ended.put(error)

    thread = threading.Thread(target=load)
    thread.start()
    while not any('simulated runtime' in line for line in started.lines):
        threading.Event().wait(0.001)
        if started.engine._starting and started.engine._starting._child.poll() is not None:
            raise AssertionError('it has ended')
    before = time.monotonic()
    started.engine.close()
    assert time.monotonic() - before < within(2.5)
    thread.join()
    assert isinstance(ended.get(timeout=1), InactiveError)


def test_child_ends_with_its_parent() -> None:
    program = (
        'from vlm_npu_ros.engine.isolated import IsolatedEngine\n'
        'from vlm_npu_ros.engine.loading import EngineSettings\n'
        'from vlm_npu_ros.engine.process import EngineProcess, StageLimits\n'
        'engine = IsolatedEngine(EngineSettings(backend="scripted"), limits=StageLimits())\n'
        'engine.load()\n'
        'print(engine.pid, flush=True)\n'
        'input()\n'
    )
    parent = subprocess.Popen(
        [sys.executable, '-c', program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    assert psutil.wait_procs([child], timeout=60)[1] == []


@timing
def test_handing_a_full_hd_picture_over_is_quick(start: Callable[..., Started]) -> None:
    engine = start(ONNX).engine
    picture = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    extra = []
    for _ in range(30):
        started = time.perf_counter()
        embedding = engine.encode(picture)
        extra.append(time.perf_counter() - started - embedding.encode_seconds)
    print(f'hand-over: median {1000 * np.median(extra):.2f} ms, max {1000 * max(extra):.2f} ms')
    assert np.median(extra) < within(0.003)


@timing
def test_isolation_adds_little_to_the_first_token(start: Callable[..., Started]) -> None:
    at_once = EngineSettings('scripted', options=ScriptedSettings(answers=('one two three',)))
    engines = start(at_once).engine, load_engine(at_once)
    picture = scene(8)[0]
    images = [(engine.encode(picture),) for engine in engines]
    seconds: tuple[list[float], list[float]] = [], []
    for _ in range(200):
        for engine, image, taken in zip(engines, images, seconds, strict=True):
            started = time.perf_counter()
            request = engine.fit(GenerationRequest('what is there?', image)).request
            answer = engine.generate(request)
            next(answer)
            taken.append(time.perf_counter() - started)
            list(answer)
    isolated, plain = (1000 * float(np.median(taken)) for taken in seconds)
    print(f'first token: isolated {isolated:.2f} ms, in this process {plain:.2f} ms')
    assert isolated - plain < within(2)
