# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The demonstration of a patrol as a person runs it: a program that starts two others."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
import signal
import subprocess
import sys

from patrol_demo import _verdict, places
from program import in_own_domain
import psutil
import pytest
from vlm_npu_ros.demo.scenes import COLOURS
from vlm_npu_ros.nav.patrol.report import Answered, Report, Visit
from vlm_npu_ros.nav.patrol.screen import PatrolScreen

PROGRAM = Path(__file__).resolve().parents[2] / 'tools' / 'demo' / 'patrol_demo.py'
PATIENCE = 100.0  # seconds; only a broken test waits this long


@pytest.fixture
def program(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, PROGRAM], cwd=tmp_path, env=in_own_domain(),
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as program:
        yield program
        program.kill()


def started(program: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return its two processes, once the robot drives."""
    assert program.stdout
    for line in program.stdout:
        if 'loading dock' in line:
            return psutil.Process(program.pid).children()
    raise AssertionError('it does not drive')


def report_in(folder: Path) -> dict:
    assert (folder / 'report.html').stat().st_size > 1000
    return json.loads((folder / 'report.json').read_text())


def test_a_run(program: subprocess.Popen[str], tmp_path: Path) -> None:
    children = started(program)
    output = program.communicate(timeout=PATIENCE)[0]
    assert program.returncode == 0, output
    assert '15 of 15 answers are right' in output
    assert len(children) == 2 and psutil.wait_procs(children, 0)[1] == []
    told = report_in(tmp_path / 'demo_output' / 'patrol')
    answers = [answer for visit in told['waypoints'] for answer in visit['answers']]
    assert [answer['type'] for answer in answers] == ['yes_no', 'choice', 'text'] * 5
    assert {answer['verdict'] for answer in answers} == {'expected', 'unexpected', 'answered'}
    # On a busy machine, a second frame may come between two questions at one place.
    pictures = [{answer['picture'] for answer in visit['answers']} for visit in told['waypoints']]
    assert all(pictures) and len(set().union(*pictures)) == sum(map(len, pictures))


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_all(
    program: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    children = started(program)
    program.send_signal(number)
    output = program.communicate(timeout=PATIENCE)[0]
    assert (program.returncode, 'Traceback' in output) == (130, False), output
    assert psutil.wait_procs(children, 0)[1] == []
    assert report_in(tmp_path / 'demo_output' / 'patrol')['outcome'] == 'cancelled'


def test_true_answers_are_those_of_the_scenes() -> None:
    for place in places(3):
        clear, choice, _ = place.waypoint.questions
        assert place.truths[0] == ('no' if place.scene.blocking else 'yes')
        assert clear.kind == 'yes_no' and clear.expect == 'yes'
        assert place.truths[1] in choice.choices
        if choice.choices == tuple(COLOURS):
            shape = choice.text.split()[-1].rstrip('?')
            (thing,) = place.scene.of(shape)
            assert place.truths[1] == thing.colour


def test_wrong_answers_fail_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    place = places(1)[0]
    answers = [
        Answered(question.text, question.kind, answer=truth, ok=True)
        for question, truth in zip(place.waypoint.questions, place.truths, strict=True)
    ]
    visit = Visit('dock', 'map', 0.0, 0.0, 0.0, True, answers=answers)
    report = Report('test', waypoints=[visit])
    assert _verdict([place], report, PatrolScreen()) == ''
    answers[1].choice = 'pink'
    assert "'pink', true is" in _verdict([place], report, PatrolScreen())
    assert '2 of 3 answers are right' in capsys.readouterr().out
    del visit.answers[1:]
    visit.reached = False
    assert _verdict([place], report, PatrolScreen()) == report.summary
    assert '1 of 3 answers are right' in capsys.readouterr().out
