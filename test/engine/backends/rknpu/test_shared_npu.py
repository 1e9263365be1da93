# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Two programs on one NPU: the simulated models of a board, and the detector of docs/board.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import json
from pathlib import Path
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import simulated
from simulated.board import rknn_tree, use
from vlm_npu_ros.engine.backends.rknpu.encoder import RknnEncoder
from vlm_npu_ros.engine.backends.rknpu.language_model import RkllmLanguageModel
from vlm_npu_ros.engine.backends.rknpu.library import RkllmLibrary
from vlm_npu_ros.engine.backends.rknpu.runtime import RuntimeLibrary
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.backends.rknpu.shared_npu import SharedNpu
from vlm_npu_ros.engine.errors import BackendUnavailableError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.models import load_profile, ModelProfile
from vlm_npu_ros.engine.types import Chunk, FinishReason, GenerationRequest, Sampling

TEST = Path(simulated.__path__[0]).parent
PATIENCE = 60.0  # seconds
PAGE = (TEST.parent / 'docs' / 'board.md').read_text(encoding='utf-8')
DETECTOR = next(code for code in re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL))
# Holds the NPU again and again, for a millisecond each; tells from when on it has waited and when
# it has held it, in CLOCK_MONOTONIC.
BUSY = """
import json, sys, time
npu, spans = Npu(sys.argv[1]), []
print('ready', flush=True)
sys.stdin.readline()
while len(spans) < int(sys.argv[2]):
    wanted = time.monotonic()
    with npu:
        started = time.monotonic()
        time.sleep(0.001)
        spans.append((wanted, started, time.monotonic()))
print(json.dumps(spans), flush=True)
"""
# Holds the NPU until it is killed.
STUCK = """
import sys
with Npu(sys.argv[1]):
    print('ready', flush=True)
    sys.stdin.readline()
"""


@contextmanager
def detector(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, '-c', DETECTOR + code, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:
        try:
            assert child.stdout and child.stdout.readline() == 'ready\n'
            yield child
        finally:
            child.kill()


@pytest.fixture
def lock(tmp_path: Path) -> str:
    return str(tmp_path / 'rknpu')


@pytest.fixture
def encoder(
    tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RknnEncoder]:
    use(monkeypatch, rknn_tree(tmp_path / 'board'))
    profile = load_profile(str(TEST / 'simulated' / 'demo_rknpu.yaml'))
    made = RknnEncoder(TEST / 'data' / 'demo_encoder.rknn', profile, lock=lock)
    yield made
    made.close()


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (96, 128, 3), np.uint8)


def held_by(encoder: RknnEncoder, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Note when the encoder's runtime runs."""
    spans, run = [], encoder._session.run

    def timed(pixels: np.ndarray) -> list[np.ndarray]:
        started = time.monotonic()
        result = run(pixels)
        spans.append((started, time.monotonic()))
        return result

    monkeypatch.setattr(encoder._session, 'run', timed)
    return spans


def test_programs_take_turns(
    encoder: RknnEncoder, lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 40
    ours = held_by(encoder, monkeypatch)
    with detector(BUSY, lock, count) as child:
        assert child.stdin and child.stdout
        child.stdin.write('go\n')
        child.stdin.flush()
        for seed in range(count):
            encoder.encode(picture(seed))
        theirs = [tuple(span) for span in json.loads(child.stdout.readline())]
    assert (len(ours), len(theirs)) == (count, count)
    spans = sorted([*ours, *((start, end) for _, start, end in theirs)])
    for before, after in zip(spans, spans[1:], strict=False):
        assert before[1] <= after[0], 'both at once'
    # While the detector waits, we get it twice at most, unless it is held back before it can ask.
    passed = sorted(sum(wanted < start < got for start, _ in ours) for wanted, got, _ in theirs)
    assert passed[3 * count // 4] <= 2, passed


def test_program_that_is_killed_frees_the_npu(encoder: RknnEncoder, lock: str) -> None:
    done = threading.Event()
    with detector(STUCK, lock) as child:
        thread = threading.Thread(target=lambda: (encoder.encode(picture(1)), done.set()))
        thread.start()
        assert not done.wait(0.2)
        child.kill()
        assert done.wait(PATIENCE)
        thread.join()


@pytest.mark.parametrize('cancel', [False, True])
def test_answer_waits_for_the_other_program(
    cancel: bool, identified: Callable[[str], RuntimeLibrary], model_file: Path,
    profile: ModelProfile, lock: str,
) -> None:
    model = RkllmLanguageModel(
        RkllmLibrary(identified('1.3.1')), model_file, profile, context=512, image_size=128,
        sampling=Sampling(), settings=RknpuSettings(base_domain_id=1, cpu_mask=0xF0, lock=lock),
    )
    asked = GenerationRequest('is it near?', ())
    cancelled, done = Cancellation(), threading.Event()
    expected = list(model.generate(asked, Cancellation()))
    chunks: list[Chunk] = []

    def ask() -> None:
        chunks.extend(model.generate(asked, cancelled))
        done.set()

    with detector(STUCK, lock) as child:
        thread = threading.Thread(target=ask)
        thread.start()
        assert not done.wait(0.2) and not chunks
        if cancel:
            cancelled.set()
            assert done.wait(PATIENCE)
        child.kill()
        assert done.wait(PATIENCE)
        thread.join()
    model.close()
    if cancel:
        assert [(c.text, c.finish_reason) for c in chunks] == [('', FinishReason.CANCELLED)]
    else:
        assert [c.text for c in chunks] == [c.text for c in expected]


def test_lock_without_a_file_holds_nothing() -> None:
    npu = SharedNpu('')
    with npu.held(), npu.held():
        pass
    npu.close()


def test_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match='rknpu.lock'):
        SharedNpu(str(tmp_path / 'nowhere' / 'rknpu'))
