# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The program of tools/bench: that each benchmark gives its figures, whatever they are."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
from program import run
import pytest

TOOLS = Path(__file__).resolve().parents[1] / 'tools' / 'bench'
BENCH = TOOLS / 'bench.py'
pytestmark = pytest.mark.timeout(300)
PATIENCE = 270.0  # seconds; only a broken test waits this long
BENCHMARKS = {  # some of what each measures
    'first_token': 'SmolVLM2-256M: goal and feedback',
    'read_ahead': 'SmolVLM2-256M: frame is being read, slowest',
    'streaming': 'feedback, 1000 chunks/s: arrived',
    'round_trip': 'ask by action',
    'camera_load': '1080p JPEG at 30 Hz: CPU',
    'preprocessing': 'nv12',
    'video': '8 frames: first token',
    'typed': 'tokens of the embedded model',
    'growth': '16 clients: answers',
    'memory': 'rknpu, simulated: child',
    'embedded': 'tokens a second',
}


@pytest.mark.parametrize(('name', 'figure'), BENCHMARKS.items(), ids=list(BENCHMARKS))
def test_a_benchmark_gives_its_figures(name: str, figure: str, tmp_path: Path) -> None:
    values, drawn = tmp_path / 'figures.json', tmp_path / 'figures.png'
    done = run(
        BENCH, '--short', '--only', name, '--json', str(values), '--plot', str(drawn),
        patience=PATIENCE,
    )
    assert done.returncode in (0, 1), done.stderr
    assert not done.stderr
    pairs = json.loads(values.read_text())[name]
    assert figure in [pair['name'] for pair in pairs]
    assert all(len(pair['ours']) == len(pair['reference']) > 0 for pair in pairs)
    assert (done.returncode == 0) == all(pair['passed'] for pair in pairs)
    assert ('MISSED' in done.stdout) == (done.returncode == 1)
    assert cv2.imread(str(drawn)) is not None


def test_help_names_every_benchmark() -> None:
    done = run(BENCH, '--help', patience=PATIENCE)
    assert done.returncode == 0
    assert all(name in done.stdout for name in BENCHMARKS)


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.syspath_prepend(str(TOOLS))
    import pairs

    return SimpleNamespace(**vars(pairs))


@pytest.mark.parametrize(('compared', 'bar', 'figure', 'passed'), [
    ('cost', 1.5, 2.0, False),
    ('cost', 2.0, 2.0, True),
    ('share', 2.1, 2.0, False),
    ('share', 1.9, 2.0, True),
    ('gain', 0.6, 0.5, False),
    ('gain', 0.5, 0.5, True),
    ('added', 4.9, 5.0, False),
    ('added', 5.0, 5.0, True),
    ('added', None, 5.0, True),
])
def test_bars(
    pairs: SimpleNamespace, compared: str, bar: float | None, figure: float, passed: bool
) -> None:
    pair = pairs.Pair('', '', 'ms', (10.0, 99.0, 10.0), (5.0, 1.0, 5.0), compared, bar)
    assert (pair.figure, pair.passed) == (figure, passed)
    assert pair.row()['verdict'] == ('' if bar is None else 'ok' if passed else 'MISSED')


def test_measures_take_turns(pairs: SimpleNamespace) -> None:
    order: list[str] = []

    def measure(name: str) -> str:
        order.append(name)
        return f'{name}{len(order)}'

    rounds = pairs.alternate(3, lambda: measure('a'), lambda: measure('b'))
    assert ''.join(order) == 'abbaab'
    assert rounds == [('a1', 'a4', 'a5'), ('b2', 'b3', 'b6')]
