# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Mission files, good and bad."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from vlm_npu_ros.nav.mission import (
    load_mission,
    make_pose,
    MissionFileError,
    parse_mission,
    Question,
    yaw_of,
)

WHOLE = """
name: night watch
frame_id: world
settle: 0.5
waypoints:
  - name: dock
    x: 1
    y: -2.5
    yaw: 1.57
    questions:
      - what do you see?
      - {ask: 'is the gate shut?', yes_no: true, expect: yes, timeout: 20, camera: front}
      - ask: how many pallets?
        choices: [1, 2, many]
        expect: 2
        max_age: 2.0
        max_new_tokens: 8
        min_confidence: 0.8
  - {x: 0.0, y: 0.0, frame_id: odom}
"""


def test_all_that_a_file_can_say(tmp_path: Path) -> None:
    path = tmp_path / 'file.yaml'
    path.write_text(WHOLE)
    mission = load_mission(path)
    assert (mission.name, mission.settle) == ('night watch', 0.5)
    dock, home = mission.waypoints
    assert (dock.name, dock.pose.header.frame_id) == ('dock', 'world')
    position = dock.pose.pose.position
    assert (position.x, position.y, position.z) == (1.0, -2.5, 0.0)
    assert yaw_of(dock.pose) == pytest.approx(1.57)
    assert dock.questions == (
        Question('what do you see?'),
        Question(
            'is the gate shut?', {'yes_no': True, 'timeout': 20.0, 'camera': 'front'}, 'yes'
        ),
        Question(
            'how many pallets?',
            {
                'choices': ('1', '2', 'many'), 'max_age': 2.0, 'max_new_tokens': 8,
                'min_confidence': 0.8,
            },
            '2',
        ),
    )
    assert [question.kind for question in dock.questions] == ['text', 'yes_no', 'choice']
    assert (home.name, home.pose.header.frame_id, home.questions) == ('waypoint 2', 'odom', ())


def test_what_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / 'round.yaml'
    path.write_text('waypoints: [{x: 1, y: 2}]')
    mission = load_mission(path)
    assert (mission.name, mission.settle) == ('round', 0.0)
    assert mission.waypoints[0].pose.header.frame_id == 'map'


@pytest.mark.parametrize('yaw', [0.0, 1.0, -3.0, math.pi / 2])
def test_yaw(yaw: float) -> None:
    assert yaw_of(make_pose('map', 0, 0, yaw)) == pytest.approx(yaw)


def waypoint(question: str) -> str:
    return f'waypoints: [{{x: 1, y: 2, questions: [{question}]}}]'


@pytest.mark.parametrize('text, words', [
    ('', 'the mission: must have fields'),
    ('[1, 2]', 'the mission: must have fields'),
    ('a: [', 'this is not YAML'),
    ('a: 2020-99-99', 'this is not YAML'),
    ('{}', 'waypoints is missing'),
    ('waypoints: []', 'no waypoints'),
    ('waypoints: dock', 'waypoints must be a list'),
    ('waypoints: [dock]', "waypoint 1: must have fields .* 'dock'"),
    ('waypoints: [{x: 1}]', 'waypoint 1: y is missing'),
    ('waypoints: [{name: dock, x: 1}]', r'waypoint 1 \(dock\): y is missing'),
    ('waypoints: [{x: a, y: 1}]', "x must be a number, not 'a'"),
    ('waypoints: [{x: .nan, y: 1}]', 'x must be a number, not nan'),
    ('waypoints: [{x: true, y: 1}]', 'x must be a number, not True'),
    (f'waypoints: [{{x: {10**400}, y: 1}}]', 'x must be a number, not 1000'),
    ('waypoints: [{x: 1, y: 2}]\nsettle: -1', 'the mission: settle must not be negative'),
    ('waypoints: [{x: 1, y: 2, z: 3}]', 'there is no field z'),
    ('waypoints: [{x: 1, y: 2}]\nspeed: 3', 'the mission: there is no field speed'),
    ('waypoints: [{x: 1, y: 2, name: 7}]', 'name must be a text, not 7'),
    (waypoint('7'), 'waypoint 1, question 1: must have fields'),
    (waypoint('""'), 'ask must be a text'),
    (waypoint('{yes_no: true}'), 'ask is missing'),
    (waypoint('{ask: what, yes_no: please}'), 'yes_no must be true or false'),
    (waypoint('{ask: what, choices: red}'), 'choices must be a list'),
    (waypoint('{ask: what, choices: [on, off]}'), 'True is not a choice: write it in quotes'),
    (waypoint('{ask: what, choices: [a, b], yes_no: true}'), 'both'),
    (waypoint('{ask: what, choices: [a, b], expect: c}'), "expect is 'c': .* one of a, b"),
    (waypoint('{ask: what, yes_no: true, expect: maybe}'), 'must be one of yes, no'),
    (waypoint('{ask: what, expect: cat}'), 'given with yes_no or choices only'),
    (waypoint('{ask: what, timeout: -1}'), 'timeout must be from 0'),
    (waypoint('{ask: what, min_confidence: 3}'), 'min_confidence must be from 0 to 1'),
    (waypoint('{ask: what, max_new_tokens: 1.5}'), 'max_new_tokens must be a whole number'),
    (waypoint('{ask: what, json_schema: {default: 2026-01-01}}'), 'json_schema cannot be'),
    (waypoint('{ask: what, answer: yes}'), 'there is no field answer'),
])
def test_bad_files_are_refused_with_the_place(text: str, words: str) -> None:
    with pytest.raises(MissionFileError, match=words):
        parse_mission(text)


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(MissionFileError, match='cannot be read: .*none.yaml'):
        load_mission(tmp_path / 'none.yaml')
    path = tmp_path / 'binary.yaml'
    path.write_bytes(b'\xff\xfe\xff')
    with pytest.raises(MissionFileError, match='cannot be read'):
        load_mission(path)
    path.write_text('waypoints: []')
    with pytest.raises(MissionFileError, match=r'binary.yaml: the mission has no waypoints'):
        load_mission(path)
