# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The examples run as they are against the demo, and are short."""

from __future__ import annotations

from collections.abc import Iterator
import json
import os
from pathlib import Path
import re
import subprocess
import sys

from geometry_msgs.msg import Twist
from program import in_own_domain
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robot import Spinner, wait_until
from vlm_npu_ros.client import VlmClient
from vlm_npu_ros.demo.children import Children

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / 'examples'
PATIENCE = 100.0  # seconds; only a broken test waits this long
pytestmark = pytest.mark.timeout(300)  # some run one program after the other
# What each says, with any view of the demo.
SAID = {
    'ask.py': r'I see .*\n\(\d+\.\d s ago\)\n(drive \(yes\)|stop \((no|unclear)\))\n',
    'dialogue.py': r'I see .*\n.+\n',
    'watch_door.py': r'((yes|no|unclear) - .*\n)+yes after \d+ looks \n',
    'behaviour_tree.py': r'drive\n|stay: I see .*\n',
}


@pytest.fixture(scope='module')
def environment() -> Iterator[dict[str, str]]:
    """Run the demo's node and camera in a ROS domain of their own."""
    environment = in_own_domain()
    with Children(environment) as children:
        children.start('vlm_node', 'vlm_npu_ros.node.vlm_node', {
            'backend': 'onnx', 'model': 'demo', 'image_reliability': 'reliable',
        })
        children.start('scene_camera', 'vlm_npu_ros.demo.scene_camera', {
            'scene_period': 1.0, 'reliability': 'reliable',
        })
        yield environment


def run(environment: dict[str, str], *command: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *command], env=environment, text=True, timeout=PATIENCE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_examples_run(environment: dict[str, str]) -> None:
    assert {*SAID, 'locate_and_turn.py'} == {path.name for path in EXAMPLES.glob('*.py')}
    for name, said in SAID.items():
        question = ['is the path clear?'] if name == 'watch_door.py' else []
        told = run(environment, EXAMPLES / name, *question)
        assert re.fullmatch(said, told), f'{name} said {told}'


def test_a_robot_turns_until_a_thing_is_ahead(context: rclpy.Context) -> None:
    places = [[{'label': 'box', 'bbox_2d': [x, 400, x + 200, 600]}] for x in (100, 400)]
    speeds: list[float] = []
    base = Node('base', context=context)
    base.create_subscription(Twist, 'cmd_vel', lambda m: speeds.append(m.angular.z), 10)
    spinner = Spinner(base, SingleThreadedExecutor(context=context))
    with Children(os.environ) as children:
        children.start('vlm_node', 'vlm_npu_ros.node.vlm_node', {
            'backend': 'scripted', 'scripted.answers': [json.dumps(place) for place in places],
            'camera.camera_info': 'camera/camera_info', 'image_reliability': 'reliable',
        })
        children.start(
            'scene_camera', 'vlm_npu_ros.demo.scene_camera', {'reliability': 'reliable'}
        )
        with VlmClient() as vlm:
            vlm.wait_until_ready()

            def is_ahead() -> bool:
                """Ask until its calibration has come, and the next answer is the first one."""
                place, = vlm.locate('the box', not_before='now')
                return place.bearing is not None and abs(place.bearing[0]) < 0.1

            wait_until(is_ahead)
        told = run({**os.environ}, EXAMPLES / 'locate_and_turn.py', 'the box')
        wait_until(lambda: speeds[-1:] == [0.0])
    spinner.close()
    assert re.fullmatch(r'box: .*, \+[1-9]\d degrees\nbox: .*, [+-]0 degrees\n', told), told
    assert set(speeds) == {0.5, 0.0}  # to the left, then it stands


def test_first_programs_of_the_pages_run(environment: dict[str, str]) -> None:
    for page in ROOT / 'README.md', ROOT / 'docs' / 'client.md':
        code = re.search(r'```python\n(.*?)```', page.read_text(encoding='utf-8'), re.DOTALL)
        assert code and re.search(r'\(\d+\.\d s (old|ago)\)', run(environment, '-c', code[1]))


def test_patrol(environment: dict[str, str], tmp_path: Path) -> None:
    module = tmp_path / 'nav2_simple_commander' / 'robot_navigator.py'
    module.parent.mkdir()
    (module.parent / '__init__.py').touch()
    module.write_text('from nav.stand_in import Navigator as BasicNavigator\n')
    paths = [tmp_path, ROOT / 'test', ROOT / 'tools' / 'demo', environment.get('PYTHONPATH', '')]
    told = run(
        {**environment, 'PYTHONPATH': os.pathsep.join(map(str, paths))},
        ROOT / 'scripts' / 'patrol', '--mission', EXAMPLES / 'patrol.yaml',
        '--image-reliability', 'reliable', '--output', tmp_path / 'report',
    )
    assert '2 of 2 waypoints reached, 3 of 3 questions answered' in told


def test_examples_are_short() -> None:
    for path in EXAMPLES.iterdir():
        assert len(path.read_text(encoding='utf-8').splitlines()) < 40, path.name
