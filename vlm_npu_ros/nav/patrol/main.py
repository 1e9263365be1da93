# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Drive a mission with Nav2: ros2 run vlm_npu_ros patrol --mission FILE."""

from __future__ import annotations

import argparse
from collections.abc import Callable
import importlib.util
from pathlib import Path
import signal
import sys

import rclpy
from rclpy.exceptions import InvalidTopicNameException
from rclpy.utilities import remove_ros_args
from rclpy.validate_topic_name import validate_topic_name
from vlm_npu_ros.client import VlmClient, VlmClientError
from vlm_npu_ros.client.names import full_name
from vlm_npu_ros.client.start import start_ros
from vlm_npu_ros.engine.errors import VlmError
from vlm_npu_ros.nav.camera import MissionCamera
from vlm_npu_ros.nav.mission import load_mission, Mission, MissionFileError
from vlm_npu_ros.nav.patrol.files import save
from vlm_npu_ros.nav.patrol.patrol import Patrol
from vlm_npu_ros.nav.patrol.report import Report

_FINE, FAULT, _USE, _INCOMPLETE, _ALARM, INTERRUPTED = 0, 1, 2, 3, 4, 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_CAMERA_SECONDS = 10.0  # that the first frame may take
_EPILOG = f"""\
Ctrl-C cancels the drive and the question, and writes the report of what was done.
A second Ctrl-C exits at once.

exit codes:
  {_FINE:<3}  all reached, all answered, all as expected
  {FAULT:<3}  the mission could not begin, or its report could not be written
  {_USE:<3}  wrong usage, or the mission file cannot be read
  {_INCOMPLETE:<3}  a waypoint was not reached, or a question not answered
  {_ALARM:<3}  an answer is not as expected, or unclear where one was expected
  {INTERRUPTED}  Ctrl-C
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    args = _parser().parse_args(remove_ros_args(['patrol', *arguments])[1:])
    missing = missing_packages('nav2_simple_commander', 'rich')
    if missing:
        return _fail(missing, FAULT)
    try:
        mission = load_mission(args.mission)
    except MissionFileError as error:
        return _fail(str(error), _USE)
    try:
        args.output.mkdir(parents=True, exist_ok=True)  # now, not after the mission
    except OSError as error:
        return _fail(f'the report cannot be written: {error}', FAULT)
    try:
        start_ros(arguments)
        return _drive(mission, args)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (VlmClientError, VlmError) as error:
        return _fail(str(error), FAULT)
    finally:
        rclpy.try_shutdown()


def missing_packages(*modules: str) -> str:
    """Say how to install the modules that are missing; '' if none is."""
    packages = {
        'nav2_simple_commander': 'sudo apt install ros-$ROS_DISTRO-nav2-simple-commander',
        'nav2_msgs': 'sudo apt install ros-$ROS_DISTRO-nav2-msgs',
        'rich': f'sudo apt install python3-rich, or: {sys.executable} -m pip install rich',
    }
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return '; '.join(f'{name} is missing: {packages[name]}' for name in missing)


def _fail(message: str, code: int) -> int:
    print(f'patrol: {message}', file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='patrol',
        description='Drive to waypoints with Nav2, ask a running vlm node there, and report.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--mission', type=Path, required=True, metavar='FILE', help='YAML, see docs/missions.md')
    add('--output', type=Path, default=Path('report'), metavar='FOLDER',
        help='of report.json, report.html and the pictures (default: report)')
    add('--stop-on-failure', action='store_true',
        help='end at a waypoint that is not reached or a question that is not answered')
    add('--node', type=_node, default='vlm',
        help='the vlm node; with a namespace: robot1/vlm (default: vlm)')
    add('--image-topic', type=_topic, default='camera/image_raw', metavar='TOPIC',
        help="of the node's camera, for pictures; '' = no pictures (default: camera/image_raw)")
    add('--image-transport', choices=('raw', 'compressed'), default='raw')
    add('--image-reliability', choices=('best_effort', 'reliable'), default='best_effort')
    add('--localizer', default='amcl', metavar='NODE',
        help='that Nav2 waits for; robot_localization = none (default: amcl)')
    return parser


def _node(text: str) -> str:
    try:
        return full_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _topic(text: str) -> str:
    try:
        if text:
            validate_topic_name(text)
    except InvalidTopicNameException as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _drive(mission: Mission, args: argparse.Namespace) -> int:
    from nav2_simple_commander.robot_navigator import BasicNavigator
    from vlm_npu_ros.nav.patrol.screen import PatrolScreen

    screen = PatrolScreen()
    with (
        MissionCamera(args.image_topic, args.image_transport, args.image_reliability) as camera,
        VlmClient(args.node) as vlm,
    ):
        vlm.wait_until_ready()
        if not camera.wait_for_frame(_CAMERA_SECONDS):
            screen.say(f'No frame comes on {args.image_topic}: see --image-topic', 'yellow')
        navigator = BasicNavigator()
        try:
            screen.say('Waiting for Nav2')
            navigator.waitUntilNav2Active(localizer=args.localizer)
            patrol = Patrol(
                mission, navigator, vlm, camera,
                stop_on_failure=args.stop_on_failure, progress=screen,
            )
            return run_and_save(patrol, args.output, screen.say)
        finally:
            navigator.destroy_node()


def run_and_save(patrol: Patrol, folder: Path, say: Callable[[str], None]) -> int:
    """Run until the end or a signal; write the report in any case; return the exit code."""
    signals: list[int] = []

    def on_signal(number: int, _: object) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)
        patrol.cancel()

    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        patrol.run()
    finally:
        problem = _save(patrol.report, folder)
        for number, handler in before.items():
            signal.signal(number, handler)
    say(f'\n{patrol.report.summary}')
    if problem:
        return _fail(problem, FAULT)
    say(f'Report: {(folder / "report.html").resolve()}')
    return INTERRUPTED if signals else exit_code(patrol.report)


def _save(report: Report, folder: Path) -> str:
    """Save the report; return what went wrong, or ''."""
    try:
        save(report, folder)
    except OSError as error:
        return f'the report cannot be written: {error}'
    return ''


def exit_code(report: Report) -> int:
    """Choose the exit code for a report."""
    if not report.complete:
        return _INCOMPLETE
    return _ALARM if report.alarms else _FINE


if __name__ == '__main__':
    sys.exit(main())
