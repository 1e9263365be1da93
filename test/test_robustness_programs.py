# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The programs of tools/robustness: in short, as a person runs them, and their judgement."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
import re
from types import SimpleNamespace
from typing import Any

from builtin_interfaces.msg import Time
from program import run
import pytest
from std_msgs.msg import Header

TOOLS = Path(__file__).resolve().parents[1] / 'tools' / 'robustness'
pytestmark = pytest.mark.timeout(300)
PATIENCE = 270.0  # seconds; only a broken test waits this long
QUICK = {'segv_token', 'hang_encode', 'hang_token', 'kill'}


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Return the modules of the programs, which lie in no package."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import faults
    import pictures
    import processes
    import soak
    import table

    return SimpleNamespace(
        faults=faults, pictures=pictures, processes=processes, soak=soak, table=table
    )


def test_what_matters_most_breaks_and_is_whole_again(tmp_path: Path) -> None:
    figures = tmp_path / 'figures.json'
    done = run(
        TOOLS / 'faults.py', '--quick', '--markdown', '--json', str(figures), patience=PATIENCE
    )
    outcomes = json.loads(figures.read_text())['outcomes']
    assert {(o['name'], o['way']) for o in outcomes} == {
        (name, way) for name in QUICK for way in ('service', 'action')
    }
    for outcome in outcomes:
        assert outcome['restarts'] == 1, done.stdout + done.stderr
        # How fast it is, is not tested here: a machine may be busier than when it was measured.
        assert set(outcome['missed']) <= {'slow'}, done.stdout + done.stderr
        assert outcome['recovery'] < 30
    assert done.returncode == any(outcome['missed'] for outcome in outcomes)
    ends = {o['name']: o['ended_by'] for o in outcomes}
    assert ends['kill'] == ends['segv_token'] == ends['hang_token'] == {'BACKEND_CRASHED': 1}
    assert done.stdout.count('\n| ') == len(outcomes) + 1


def test_a_short_soak_with_crashes(tmp_path: Path) -> None:
    figures = tmp_path / 'figures.json'
    done = run(
        TOOLS / 'soak.py', '--minutes', '0.3', '--crash-every', '5', '--json', str(figures),
        patience=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    values = {row['figure']: row['value'] for row in json.loads(figures.read_text())['figures']}
    assert int(values['answered']) > 10
    assert int(values['crashes']) >= 2
    # A machine that is silent for a second for other reasons looks like one more.
    assert int(values['restarts']) >= int(values['crashes'])


def test_goals_are_measured() -> None:
    done = run(TOOLS / 'goals.py', '--goals', '20', patience=PATIENCE)
    assert done.returncode in (0, 1), done.stderr  # how fast they are is not tested here
    rows = [line for line in done.stdout.splitlines() if re.search(r' 20 +\d', line)]
    assert len(rows) == 9, done.stdout


def test_clients_and_pages_at_once() -> None:
    pytest.importorskip('fastapi')
    pytest.importorskip('httpx')
    done = run(TOOLS / 'web_load.py', '--seconds', '2', '--clients', '8', '--pages', '3',
               patience=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize('program', ['faults.py', 'goals.py', 'soak.py'])
def test_help(program: str) -> None:
    done = run(TOOLS / program, '--help', patience=PATIENCE)
    assert done.returncode == 0
    assert '--json FILE' in done.stdout


# --- judgement ---


def came(question: str, frame: str, answer: str, **more: Any) -> SimpleNamespace:
    header = Header(frame_id=frame, stamp=Time(sec=more.get('stamp', 5)))
    result = SimpleNamespace(answer=answer, header=header, success=more.get('success', True))
    return SimpleNamespace(
        done=more.get('done', True), question=question, shown=more.get('shown', ''),
        not_before=Time(sec=more.get('not_before', 0)), result=result,
    )


def test_an_answer_is_right_for_its_own_picture_and_question_alone(modules: Any) -> None:
    oracle, questions = modules.pictures.Oracle(64, 48, 2), modules.pictures.QUESTIONS
    one, other = map(modules.pictures.frame_id, oracle.scenes)
    right = oracle._answers[one, questions[0]]
    assert oracle.judge(came(questions[0], one, right)) == 'right'
    assert oracle.judge(came(questions[0], one, right, shown=one, not_before=5)) == 'right'
    assert oracle.judge(came(questions[0], one, right[:5], success=False)) == 'right'
    assert oracle.judge(came(questions[0], '', '', success=False)) == 'right'
    assert oracle.judge(came(questions[0], one, right[:5])) == 'wrong'
    assert oracle.judge(came(questions[0], one, '')) == 'wrong'
    assert oracle.judge(came(questions[0], one, 'I do not know.')) == 'wrong'
    assert oracle.judge(came(questions[1], one, right)) == 'swapped'
    assert oracle.judge(came(questions[0], other, right)) == 'swapped'
    assert oracle.judge(came(questions[0], other, right[:12], success=False)) != 'wrong'
    assert oracle.judge(came(questions[0], one, right, shown=other)) == 'other picture'
    assert oracle.judge(came(questions[0], one, right, not_before=6)) == 'other picture'
    assert oracle.judge(came(questions[0], one, right, done=False)) == 'lost'


@pytest.mark.parametrize(('change', 'missed'), [
    ({}, []),
    ({'is_alive': False}, ['dead']),
    ({'ended_by': {'answer': 1}}, ['code']),
    ({'ended_by': {'UNKNOWN': 1}}, ['code']),
    ({'next_is_right': False, 'recovery': None}, ['next']),
    ({'recovery': 2.6}, ['slow']),
    ({'recovery': 2.4}, []),
    ({'recovery': 2.4, 'load': 0.0}, ['slow']),
    ({'lost': 1}, ['lost']),
    ({'swapped': 1}, ['swapped']),
    ({'restarts': None}, ['restarts']),
    ({'restarts': 2}, ['restarts']),
    ({'deaths': 0, 'restarts': 0}, ['deaths']),
])
def test_bars_of_faults(modules: Any, change: dict[str, Any], missed: list[str]) -> None:
    faults = modules.faults
    outcome = faults.Outcome(
        name='kill', way='action', ended_by={'BACKEND_CRASHED': 1}, seconds=0.1,
        next_is_right=True, next_ended_by='answer', recovery=1.0, load=0.5, lost=0, swapped=0,
        is_alive=True, deaths=1, restarts=1,
    )
    assert list(faults._missed(faults.FAULTS['kill'], replace(outcome, **change))) == missed


def soaked(modules: Any, **growth: float) -> Any:
    first = {'node': 1e8, 'child': 1e8, 'files': 20, 'segments': 20, 'threads': 9, 'zombies': 0}
    samples = [
        modules.processes.Sample(
            time=6.0 * t, **{k: v * (1 + growth.get(k, 0) * t / 100) for k, v in first.items()}
        )
        for t in range(101)
    ]
    return modules.soak.Run(
        seconds=600.0, asks=[], verdicts=[], reordered=0, deaths=[], crashes=[], failed=[],
        restarts=0, frame_rates=[30.0], samples=samples,
    )


@pytest.mark.parametrize(('growth', 'missed'), [
    ({}, []),
    ({'node': 0.08}, []),  # 2.8 % of both between the windows
    ({'node': 0.1}, ['memory with child, MiB']),
    ({'child': 0.1}, ['memory with child, MiB']),
    ({'files': 0.1}, ['open files']),
    ({'segments': 0.1}, ['segments of shared memory']),
])
def test_bars_of_growth(modules: Any, growth: dict[str, float], missed: list[str]) -> None:
    rows = soaked(modules, **growth).levels()
    assert [row['of the node'] for row in rows if row['verdict'] == 'MISSED'] == missed


def test_a_short_run_does_not_judge_memory(modules: Any) -> None:
    run = replace(soaked(modules, node=0.5, files=0.5), seconds=299.0)
    verdicts = {row['of the node']: row['verdict'] for row in run.levels()}
    assert (verdicts['memory with child, MiB'], verdicts['open files']) == ('', 'MISSED')


def ended(by: str, at: float, timeout: float = 20.0, cancelled: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        ended_by=by, ended=at, done=True, timeout=timeout, cancelled=cancelled
    )


def test_bars_of_what_came_back(modules: Any) -> None:
    good = [
        ended('answer', 1.5), ended('answer', 3.0), ended('TIMEOUT', 3.0, timeout=0.5),
        ended('CANCELLED', 3.0, cancelled=True), ended('BACKEND_CRASHED', 3.0),
    ]
    run = replace(soaked(modules), asks=good, verdicts=['right'] * len(good), deaths=[1.0, 2.0])
    rows = {row['figure']: row['value'] for row in run.rows()}
    assert not [row for row in run.rows() if row['verdict'] == 'MISSED']
    assert rows['answered'] == '2'
    assert (rows['recovery, median'], rows['recovery, longest']) == ('0.75 s', '1.00 s')
    bad = [
        ended('answer', 1.0), ended('TIMEOUT', 1.0), ended('CANCELLED', 1.0),
        ended('UNKNOWN', 1.0), SimpleNamespace(done=False, ended=None),
    ]
    verdicts = ['swapped', 'right', 'wrong', 'right', 'lost']
    run = replace(run, asks=bad, verdicts=verdicts, reordered=1, failed=['killed with -9'])
    assert {row['figure']: row['value'] for row in run.rows() if row['verdict'] == 'MISSED'} == {
        'ended by another error': '1 CANCELLED, 1 TIMEOUT, 1 UNKNOWN', 'lost': '1',
        'wrong, swapped or about another picture': '2', 'pieces lost or out of order': '1',
        'crashes that did not come': '1', 'crashes without a right answer after': '2',
    }


def test_tables(modules: Any) -> None:
    rows = [{'fault': 'kill', 'lost': '0'}, {'fault': 'a', 'lost': '10'}]
    assert modules.table.text(rows, markdown=False) == (
        'fault  lost\n-----  ----\nkill   0\na      10'
    )
    assert modules.table.text(rows, markdown=True) == (
        '| fault | lost |\n| ----- | ---- |\n| kill  | 0    |\n| a     | 10   |'
    )
