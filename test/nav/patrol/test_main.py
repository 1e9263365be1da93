# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The program patrol, with a simulated robot in the place of Nav2's navigator."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
import json
import os
from pathlib import Path
import signal
import sys
from types import ModuleType
from typing import Any

from asked_node import asked_node
from nav.stand_in import mission, Navigator, View, waypoint
import pytest
from vlm_npu_ros.client import VlmClient
from vlm_npu_ros.nav.camera import MissionCamera
from vlm_npu_ros.nav.mission import Question
from vlm_npu_ros.nav.patrol import main as program
from vlm_npu_ros.nav.patrol.main import exit_code, main, run_and_save
from vlm_npu_ros.nav.patrol.patrol import Patrol
from vlm_npu_ros.nav.patrol.report import Answered, Report, Visit

MISSION = """
waypoints:
- name: hall
  x: 1.0
  y: 2.0
  questions:
  - ask: is the door open?
    yes_no: true
    expect: yes
"""
WHAT = Question('what do you see?')


@pytest.fixture
def navigators(monkeypatch: pytest.MonkeyPatch) -> list[Navigator]:
    """Let the program find a navigator; give those that it has made."""
    made: list[Navigator] = []

    def make() -> Navigator:
        made.append(Navigator())
        return made[-1]

    for name in ('nav2_simple_commander', 'nav2_simple_commander.robot_navigator'):
        module: Any = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        module.BasicNavigator = make
        monkeypatch.setitem(sys.modules, name, module)
    return made


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'mission.yaml'
    path.write_text(MISSION)
    return path


@pytest.mark.parametrize('said, status', [('Yes.', 0), ('No.', 4), ('Perhaps.', 4)])
def test_a_run(
    tmp_path: Path, file: Path, navigators: list[Navigator], said: str, status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with asked_node(scripted__answers=[said]) as (_, robot):
        period = robot.node.create_timer(0.1, robot.publish)
        output = tmp_path / 'out'
        arguments = ['--mission', str(file), '--output', str(output), '--ros-args', '-p', 'a:=1']
        assert main(arguments) == status
        period.cancel()
    assert navigators[0].log == ['go 1', 'destroy']
    told = json.loads((output / 'report.json').read_text())
    assert told['mission'] == 'mission' and told['outcome'] == 'completed'
    assert told['waypoints'][0]['answers'][0]['answer'] == said
    assert (output / told['waypoints'][0]['answers'][0]['picture']).exists()
    shown = capsys.readouterr().out
    assert '1 of 1 waypoints reached, 1 of 1 questions answered' in shown
    assert str(output / 'report.html') in shown.replace('\n', '')


def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program.importlib.util, 'find_spec', lambda name: None)
    assert main(['--mission', str(file)]) == 1
    assert 'apt install ros-$ROS_DISTRO-nav2-simple-commander' in capsys.readouterr().err


def test_a_bad_file(
    tmp_path: Path, navigators: list[Navigator], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['--mission', str(tmp_path / 'none.yaml')]) == 2
    assert 'none.yaml' in capsys.readouterr().err


def test_no_node(
    monkeypatch: pytest.MonkeyPatch, file: Path, navigators: list[Navigator],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(VlmClient.wait_until_ready, '__defaults__', (0.2,))
    assert main(['--mission', str(file), '--node', 'eyes']) == 1
    assert 'No node /eyes' in capsys.readouterr().err
    assert not navigators


def test_output_that_can_not_be_written_is_found_before_the_drive(
    tmp_path: Path, file: Path, navigators: list[Navigator], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['--mission', str(file), '--output', str(file)]) == 1
    assert 'the report cannot be written' in capsys.readouterr().err
    assert not navigators


@pytest.mark.parametrize('arguments', [
    [], ['--mission'], ['--mission', 'a', '--what'], ['--mission', 'a', '--node', ''],
    ['--mission', 'a', '--node', 'my node'], ['--mission', 'a', '--node', '~/vlm'],
    ['--mission', 'a', '--image-topic', 'image/'],
])
def test_wrong_use(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['--help'])
    assert ended.value.code == 0
    assert 'exit codes:' in capsys.readouterr().out


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_and_the_report_is_written(
    tmp_path: Path, vlm: VlmClient, camera: MissionCamera, number: signal.Signals
) -> None:
    navigator = Navigator(speed=0.01)

    def on_driving(step: str, _: Any) -> None:
        if step == 'driving':
            os.kill(os.getpid(), number)

    view = View(on=on_driving)
    patrol = Patrol(mission(waypoint('hall', WHAT)), navigator, vlm, camera, progress=view)
    said: list[str] = []
    before = signal.getsignal(number)
    assert run_and_save(patrol, tmp_path, said.append) == 130
    assert signal.getsignal(number) is before
    told = json.loads((tmp_path / 'report.json').read_text())
    assert told['outcome'] == 'cancelled'
    assert said[0].strip() == '0 of 1 waypoints reached, 0 of 0 questions answered.'


def test_a_second_signal_leaves_at_once(
    tmp_path: Path, vlm: VlmClient, camera: MissionCamera
) -> None:
    class Hanging(Navigator):

        def goToPose(self, pose: Any) -> bool:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError('it goes on')

    patrol = Patrol(mission(waypoint('hall', WHAT)), Hanging(), vlm, camera)
    with pytest.raises(KeyboardInterrupt):
        run_and_save(patrol, tmp_path, print)
    assert json.loads((tmp_path / 'report.json').read_text())['outcome'] == 'cancelled'


def test_a_report_that_can_not_be_written(
    tmp_path: Path, vlm: VlmClient, camera: MissionCamera, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'file').write_text('')
    patrol = Patrol(mission(waypoint('hall')), Navigator(), vlm, camera)
    assert run_and_save(patrol, tmp_path / 'file', print) == 1
    assert 'the report cannot be written' in capsys.readouterr().err


@pytest.mark.parametrize('reached, answered, code', [
    (True, Answered('', 'yes_no', ok=True, choice='yes', expect='yes'), 0),
    (True, Answered('', 'yes_no', ok=True, choice='no', expect='yes'), 4),
    (True, Answered('', 'yes_no', ok=True, choice='unclear', expect='yes'), 4),
    (True, Answered('', 'yes_no', ok=True, choice='unclear'), 0),
    (True, Answered('', 'text'), 3),
    (False, Answered('', 'text', ok=True), 3),
])
def test_exit_codes(reached: bool, answered: Answered, code: int) -> None:
    visit = Visit('hall', 'map', 0.0, 0.0, 0.0, reached, answers=[answered])
    assert exit_code(Report('test', waypoints=[visit])) == code
