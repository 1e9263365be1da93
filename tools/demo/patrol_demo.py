# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
A patrol over ROS: a simulated robot, five places, questions with known answers, a report.

Where the robot arrives, the camera sees another scene.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
import sys
from typing import TYPE_CHECKING

from geometry_msgs.msg import PoseStamped
from nodes import DemoFailedError, running
import numpy as np
import rclpy
from rclpy.signals import SignalHandlerOptions
from scene_driver import SceneDriver
from simulated_robot import SimulatedRobot
from vlm_npu_ros.client import VlmClient
from vlm_npu_ros.demo.questions import PLACE, random_question
from vlm_npu_ros.demo.scenes import COLOURS, random_scene, Scene
from vlm_npu_ros.nav.camera import MissionCamera
from vlm_npu_ros.nav.mission import make_pose, Mission, Question, Waypoint
from vlm_npu_ros.nav.patrol.main import FAULT, INTERRUPTED, missing_packages, run_and_save
from vlm_npu_ros.nav.patrol.patrol import Patrol
from vlm_npu_ros.nav.patrol.report import Report

if TYPE_CHECKING:
    from vlm_npu_ros.nav.patrol.screen import PatrolScreen

_CAMERA_SECONDS = 15.0
_PLACES = (
    ('loading dock', 1.0, 0.5, 0.0),
    ('corridor', 4.0, 1.0, 0.4),
    ('storage room', 6.5, 3.0, 1.6),
    ('charging station', 3.0, 3.5, 3.1),
    ('entrance', 0.5, 2.5, -1.6),
)


@dataclass(frozen=True)
class Place:
    """A waypoint, the scene that is there, and the true answers to its questions."""

    waypoint: Waypoint
    scene: Scene
    truths: tuple[str, ...]


def main() -> int:
    """Run the demo; return 0 if all waypoints were reached and all answers are right."""
    args = _parse()
    missing = missing_packages('rich')
    if missing:
        sys.exit(f'The demo needs more: {missing}')
    from vlm_npu_ros.nav.patrol.screen import PatrolScreen

    screen = PatrolScreen()
    try:
        with running(screen.say) as driver:
            driver.wait_for_camera()
            driver.wait_for_vlm()
            problem = _patrol(places(args.seed), args.output, driver, screen)
    except KeyboardInterrupt:
        return INTERRUPTED
    except DemoFailedError as error:
        problem = str(error)
    if problem:
        print(f'The demo failed: {problem}', file=sys.stderr)
    return 1 if problem else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='demo-patrol',
        description='Let a simulated robot patrol five places and ask the demo model about them.',
    )
    parser.add_argument(
        '--output', type=Path, default=Path('demo_output', 'patrol'), metavar='FOLDER',
        help='of report.json, report.html and the pictures (default: demo_output/patrol)',
    )
    parser.add_argument('--seed', type=int, default=1, help='of scenes and questions (default: 1)')
    return parser.parse_args()


def places(seed: int) -> list[Place]:
    """Draw the scenes at the five places, and questions about them."""
    rng = np.random.default_rng(seed)
    return [_place(rng, *where) for where in _PLACES]


def _place(rng: np.random.Generator, name: str, x: float, y: float, yaw: float) -> Place:
    scene = _scene(rng)
    questions, truths = [], []
    for question, truth in (_clear(scene, rng), _choice(scene, rng), _description(scene, rng)):
        questions.append(question)
        truths.append(truth)
    waypoint = Waypoint(name, make_pose('map', x, y, yaw), tuple(questions))
    return Place(waypoint, scene, tuple(truths))


def _scene(rng: np.random.Generator) -> Scene:
    """Draw a scene with a thing whose shape no other one has, to ask about."""
    while True:
        scene = random_scene(rng)
        if any(len(scene.of(thing.shape)) == 1 for thing in scene.objects):
            return scene


def _clear(scene: Scene, rng: np.random.Generator) -> tuple[Question, str]:
    """Ask for yes or no; a path that is not clear is an alarm."""
    asked = random_question(scene, rng, 'path_clear', held_out=True)
    truth = 'no' if scene.blocking else 'yes'
    return Question(asked.text, {'yes_no': True}, 'yes'), truth


def _choice(scene: Scene, rng: np.random.Generator) -> tuple[Question, str]:
    """Ask what colour a thing is, or where."""
    thing = next(thing for thing in scene.objects if len(scene.of(thing.shape)) == 1)
    if rng.random() < 0.5:
        colours = tuple(COLOURS)
        return Question(f'what colour is the {thing.shape}?', {'choices': colours}), thing.colour
    choices = tuple(PLACE.values())
    return Question(f'where is the {thing.shape}?', {'choices': choices}), PLACE[thing.side]


def _description(scene: Scene, rng: np.random.Generator) -> tuple[Question, str]:
    asked = random_question(scene, rng, 'describe', held_out=True)
    return Question(asked.text), asked.answer


def _patrol(
    route: Sequence[Place], output: Path, driver: SceneDriver, screen: PatrolScreen
) -> str:
    scenes = iter([place.scene for place in route])

    def arrive(_: PoseStamped) -> None:
        driver.show(next(scenes))

    mission = Mission('Evening patrol', tuple(place.waypoint for place in route))
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        with MissionCamera(reliability='reliable') as camera, VlmClient() as vlm:
            camera.wait_for_frame(_CAMERA_SECONDS)
            patrol = Patrol(mission, SimulatedRobot(arrive), vlm, camera, progress=screen)
            status = run_and_save(patrol, output, screen.say)
    finally:
        rclpy.try_shutdown()
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    if status == FAULT:
        return 'there is no report'
    return _verdict(route, patrol.report, screen)


def _verdict(route: Sequence[Place], report: Report, screen: PatrolScreen) -> str:
    """Compare with what is true; return what is wrong, or ''."""
    asked = [
        (answered, truth)
        for place, visit in zip(route, report.waypoints, strict=True)
        for answered, truth in zip(visit.answers, place.truths, strict=False)
    ]
    wrong = [
        f'{answered.question!r}: {answered.error or said!r}, true is {truth!r}'
        for answered, truth in asked
        if (said := answered.choice or answered.answer.strip()) != truth
    ]
    right, total = len(asked) - len(wrong), sum(len(place.truths) for place in route)
    screen.say(f'{right} of {total} answers are right.')
    return '' if right == total else '; '.join(wrong) or report.summary


if __name__ == '__main__':
    sys.exit(main())
