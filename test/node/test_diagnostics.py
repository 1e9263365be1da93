# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What /diagnostics tells, and when it warns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import math
import os
import queue
import signal

from diagnostic_msgs.msg import DiagnosticStatus
from doctor import Doctor
import pytest
from rclpy.parameter import Parameter
from robot import PATIENCE, Robot, wait_until
from sensor_msgs.msg import BatteryState
from vlm_npu_ros.node.vlm_node import VlmNode

MakeNode = Callable[..., VlmNode]
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def value(status: DiagnosticStatus, key: str) -> str:
    """Return the value of the key that begins so."""
    return next(pair.value for pair in status.values if pair.key.startswith(key))


@pytest.fixture
def doctor(robot: Robot) -> Doctor:
    return Doctor(robot)


def test_camera_warns_until_a_frame_is_there_and_when_it_is_old(
    active_node: MakeNode, robot: Robot, doctor: Doctor
) -> None:
    node = active_node(cameras=['camera', 'rear'])
    values = doctor.wait_for('camera rear', lambda s: s.level == WARN)
    assert values['age of the newest embedding, s'] == 'none'
    robot.publish()
    doctor.wait_for('camera camera', lambda s: value(s, 'encoded per second') == '1.0')
    values = doctor.wait_for('camera camera', lambda s: s.level == OK)
    assert values['frames kept'] == '1'
    node.set_parameters([Parameter('max_age', value=0.1)])
    doctor.wait_for('camera camera', lambda s: s.level == WARN and 'No frame arrives' in s.message)
    robot.publish(age=100.0)
    doctor.wait_for('camera camera', lambda s: s.level == WARN and 'max_age' in s.message)
    robot.publish(encoding='nonsense')
    doctor.wait_for('camera camera', lambda s: s.level == WARN and 'not be read' in s.message)


def test_those_of_several_robots_differ(active_node: MakeNode, doctor: Doctor) -> None:
    for namespace in 'left', 'fleet/right':
        active_node(namespace=namespace, backends=['scripted', 'onnx'])
    for name in '/left/vlm', '/fleet/right/vlm':
        for part in 'engine', 'backend scripted', 'backend onnx', 'camera camera':
            assert doctor.status_for(f'{name}: {part}', lambda s: True).hardware_id


def test_engine_tells_how_much_is_read_ahead(
    active_node: MakeNode, robot: Robot, doctor: Doctor
) -> None:
    active_node(scripted__prefill_rate=640.0, read_ahead_rate=100.0)
    robot.publish()
    values = doctor.wait_for('engine', lambda s: 0.1 <= float(value(s, 'time spent')) < 5)
    assert values['reading ahead'] == 'on'
    assert values['questions whose frame was read ahead'] == '0 of 0'
    stats = robot.ask(question='what is it?').stats
    assert (stats.prompt_tokens, stats.read_ahead_tokens, stats.image_tokens) == (3, 64, 0)
    doctor.wait_for('engine', lambda s: value(s, 'questions whose') == '1 of 1')


def test_engine_tells_why_nothing_is_read_ahead(active_node: MakeNode, doctor: Doctor) -> None:
    active_node(read_ahead='off')
    values = doctor.wait_for('engine', lambda s: True)
    assert values['reading ahead'] == 'off: it was loaded without read_ahead'


def test_nothing_is_read_ahead_while_all_questions_have_a_role(
    active_node: MakeNode, doctor: Doctor
) -> None:
    node = active_node(system_prompt='You are a guard.')
    told = 'off: the parameter system_prompt is set'
    doctor.wait_for('engine', lambda s: value(s, 'reading ahead').startswith(told))
    node.set_parameters([Parameter('system_prompt', value=' ')])
    doctor.wait_for('engine', lambda s: value(s, 'reading ahead') == 'on')


def test_newer_frame_that_a_question_wants_ends_the_reading(
    active_node: MakeNode, robot: Robot
) -> None:
    active_node(scripted__prefill_rate=0.01, encode_rate=0.1)
    robot.publish()
    stages: queue.SimpleQueue[str] = queue.SimpleQueue()
    goal = robot.send_goal(
        lambda message: stages.put(message.feedback.stage), question='and now?',
        not_before_now=True,
    )
    assert stages.get(timeout=PATIENCE) in ('waiting_for_frame', 'encoding')
    robot.publish()  # the encode thread reads, for two hours
    while stages.get(timeout=PATIENCE) != 'prefill':
        pass
    robot.cancel(goal)


def test_engine_tells_what_it_does(active_node: MakeNode, robot: Robot, doctor: Doctor) -> None:
    active_node(scripted__answers=['one two three'], scripted__decode_rate=50.0)
    robot.publish()
    assert robot.ask(question='count', conversation_id='tour').success
    values = doctor.wait_for('engine', lambda s: s.level == OK and value(s, 'dialogues') == '1')
    assert 0 < float(values['tokens per second']) < 60
    assert values['backend'] == values['model'] == 'scripted'
    assert values['restarts'] == '0'
    assert int(values['memory of the node, MiB']) > 20


def test_engine_that_restarts_is_an_error(
    active_node: MakeNode, robot: Robot, doctor: Doctor
) -> None:
    node = active_node(isolation='process', max_age=600.0)
    robot.publish()
    assert robot.ask(question='what?').success
    memory = 'memory of the engine, MiB'  # not before its process has told it, once a second
    values = doctor.wait_for('engine', lambda s: memory in (pair.key for pair in s.values))
    assert int(values[memory]) > 9
    # One that comes back only after a while: what it should load is gone.
    node._engine._settings = replace(node.parameters.engines[0], backend='nothing')
    os.kill(node._engine.pid, signal.SIGKILL)
    values = doctor.wait_for('engine', lambda s: s.level == ERROR and 'nothing' in s.message)
    assert int(values['restarts']) > 0
    (node._engine._settings,) = node.parameters.engines
    doctor.wait_for('engine', lambda s: s.level == OK)
    assert robot.ask(question='what?').success


def test_nothing_is_read_ahead_while_the_battery_is_low(
    active_node: MakeNode, robot: Robot, doctor: Doctor
) -> None:
    active_node(battery='/power', battery_threshold=0.5)
    battery = robot.node.create_publisher(BatteryState, '/power', 10)
    wait_until(lambda: battery.get_subscription_count() > 0)
    for charge, told in (
        (0.42, 'off: the battery is at 42%, below battery_threshold, 50%'), (math.nan, 'off: the'),
        (0.5, 'on'),
    ):
        battery.publish(BatteryState(percentage=charge))
        doctor.wait_for('engine', lambda s, t=told: value(s, 'reading ahead').startswith(t))
