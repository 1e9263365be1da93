# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A backend of another package, with settings of its own: nothing in this package knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import sys

import outside
import pytest
from rclpy.parameter import Parameter
from robot import Robot
from vlm_npu_ros.node.vlm_node import VlmNode

MakeNode = Callable[..., VlmNode]


@pytest.fixture(autouse=True)
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    outside.install(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop('echo_backend', None)


def answer(robot: Robot) -> tuple[str, int]:
    """Ask; return what was said, and the process that said it."""
    robot.publish()
    response = robot.ask(question='what?')
    assert response.success, response.error_msg
    said, pid = response.answer.split(' by ')
    return said, int(pid)


def test_it_answers_as_its_parameters_say(active_node: MakeNode, robot: Robot) -> None:
    active_node(
        backend='echo', isolation='none', echo__times=2, echo__voice='loud', echo__words=['hi']
    )
    assert answer(robot) == ('HI HI', os.getpid())


def test_it_answers_in_a_process_of_its_own_by_default(
    active_node: MakeNode, robot: Robot
) -> None:
    active_node(backend='echo', echo__times=3)
    said, pid = answer(robot)
    assert said == 'echo echo echo'
    assert pid != os.getpid()


def test_it_stands_in_for_another_one(active_node: MakeNode, robot: Robot) -> None:
    active_node(
        backends=['openai', 'echo'], openai__base_url='http://127.0.0.1:9/v1', openai__retries=0,
        isolation='none',
    )
    assert answer(robot) == ('echo', os.getpid())


def test_its_settings_are_parameters_with_help_and_limits(make_node: MakeNode) -> None:
    node = make_node()
    times = node.describe_parameter('echo.times')
    assert times.description == 'How often the answer is said. Takes effect at configure.'
    assert [(r.from_value, r.to_value) for r in times.integer_range] == [(1, 9)]
    assert 'echo (repeats itself)' in node.describe_parameter('backend').description
    assert 'process for rknpu, llamacpp, echo,' in node.describe_parameter('isolation').description
    results = node.set_parameters([
        Parameter('echo.times', value=10),
        Parameter('echo.voice', value='shy'),
        Parameter('echo.voice', value='loud'),
    ])
    assert [result.successful for result in results] == [False, False, True]


def test_a_broken_one_leaves_the_others_alone(
    active_node: MakeNode, robot: Robot, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outside.install(tmp_path, 'broken', 'import nothing_of_that_name')
    node = active_node(backend='broken')
    told = capfd.readouterr().err
    assert "The backend 'broken' of the package broken_backend" in told
    assert 'nothing_of_that_name' in told
    node.set_parameters([Parameter('backend', value='echo')])
    node.autostart()
    assert answer(robot)[0] == 'echo'
