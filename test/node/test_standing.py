# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Standing questions: their topic, their service, and what they are told."""

from __future__ import annotations

from collections.abc import Callable
import json
import queue
import threading
import time
from typing import Any

from bars import timing, within
import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from robot import PATIENCE, Robot, wait_for, wait_until
from std_srvs.srv import Trigger
from vlm_npu_ros.demo.scenes import render, Scene, SceneObject
from vlm_npu_ros.msg import ErrorCode, StandingAnswer
from vlm_npu_ros.node.vlm_node import VlmNode
from watcher import Watcher

MakeNode = Callable[..., VlmNode]
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
QUESTION = 'is the path clear?'
CALLS = 200


def asking(**settings: Any) -> dict[str, Any]:
    values = {'question': QUESTION, 'period': 0.0, 'max_age': 600.0, **settings}
    parameters = {f'standing__path_clear__{name}': value for name, value in values.items()}
    return {'standing_questions': ['path_clear'], 'encode_rate': 100.0, **parameters}


class Reader:
    """Somebody who reads the answers, by topic and by service."""

    def __init__(self, robot: Robot, name: str = 'path_clear') -> None:
        self._node = robot.node
        self._answers: queue.Queue[StandingAnswer] = queue.Queue()
        self._subscription = self._node.create_subscription(
            StandingAnswer, f'/vlm/standing/{name}', self._answers.put,
            QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL),
        )
        self._service = self._node.create_client(Trigger, f'/vlm/standing/{name}')

    def wait_for_topic(self) -> None:
        """Wait until no answer is missed."""
        wait_until(lambda: self._node.count_publishers(self._subscription.topic_name) > 0)

    def read(self) -> StandingAnswer:
        return self._answers.get(timeout=PATIENCE)

    def trigger(self) -> tuple[bool, str]:
        assert self._service.wait_for_service(PATIENCE)
        response = wait_for(self._service.call_async(Trigger.Request()))
        return response.success, response.message


@pytest.fixture
def reader(robot: Robot) -> Reader:
    return Reader(robot)


def test_answers_are_about_what_is_seen(
    active_node: MakeNode, robot: Robot, reader: Reader
) -> None:
    active_node(backend='onnx', **asking())
    reader.wait_for_topic()
    box = SceneObject('box', 'red', 'middle', near=True, x=0.5, scale=1.0)
    for objects, choice in (((box,), 'no'), ((), 'yes'), ((box,), 'no')):
        frame = robot.publish(render(Scene(objects, 'floor', 0.4, 1.0, 0.0, 0.0, 1)))
        answer = reader.read()
        assert (answer.question, answer.choice) == (QUESTION, choice)
        assert answer.header == frame.header and answer.since == frame.header.stamp
        assert 0.5 < answer.confidence <= 1 and not answer.error_code
        assert answer.frame_age.sec + answer.frame_age.nanosec > 0
        success, message = reader.trigger()
        assert success is (choice == 'yes')
        assert message.startswith(f'{choice}: {answer.answer} (') and message.endswith('s old)')


def test_the_newest_answer_is_latched(active_node: MakeNode, robot: Robot, reader: Reader) -> None:
    active_node(scripted__answers=['no', 'yes'], **asking())
    for _ in range(2):
        robot.publish()
        reader.read()
    late = Reader(robot)
    assert late.read().choice == 'yes'


@timing
def test_service_answers_from_the_cache(
    active_node: MakeNode, robot: Robot, reader: Reader
) -> None:
    active_node(scripted__answers=['yes'], **asking(max_age=600.0))
    robot.publish()
    assert reader.read().choice == 'yes'
    seconds = []
    for _ in range(CALLS):
        started = time.monotonic()
        success, message = reader.trigger()
        seconds.append(time.monotonic() - started)
        assert success, message
    print(f'{CALLS} calls: {1000 * np.median(seconds):.2f} ms, at most '
          f'{1000 * max(seconds):.2f} ms')
    assert np.median(seconds) < within(0.005) and max(seconds) < within(0.5)


@timing
def test_service_does_not_wait_for_a_question(
    active_node: MakeNode, robot: Robot, reader: Reader
) -> None:
    node = active_node(scripted__answers=['yes'], scripted__prefill_rate=1.0, **asking())
    robot.publish()
    wait_until(lambda: node._queue._running is not None)
    started = time.monotonic()
    assert reader.trigger() == (False, 'no answer yet')
    assert time.monotonic() - started < within(2.0)  # the question takes a minute


def test_stale_answer_is_no_success(active_node: MakeNode, robot: Robot, reader: Reader) -> None:
    active_node(scripted__answers=['yes'], timeout=0.2, **asking(max_age=1.5))
    messages: list[str] = []

    def sees() -> bool:
        """Show a frame, and ask about it or the one before."""
        robot.publish()
        success, message = reader.trigger()
        messages.append(message)
        return success

    wait_until(sees)
    while reader.read().error_code:  # until the first frame came
        pass
    while (answer := reader.read()).error_code == 0:
        pass
    assert answer.error_code == ErrorCode.NO_FRAME
    assert (answer.choice, answer.answer) == ('yes', 'yes')  # of the last look
    while (told := reader.trigger())[0]:
        reader.read()  # the error again
    assert told[1].startswith('stale: last looked ')
    wait_until(sees)
    assert messages[-1].startswith('yes: yes (')


def test_camera_that_never_came_is_told(
    active_node: MakeNode, robot: Robot, reader: Reader
) -> None:
    active_node(scripted__answers=['yes'], timeout=0.1, **asking())
    answer = reader.read()
    assert (answer.error_code, answer.choice_index) == (ErrorCode.NO_FRAME, -2)
    success, message = reader.trigger()
    assert not success and '/camera/image_raw' in message


def test_choice_is_confirmed_by_agreeing_looks(
    active_node: MakeNode, robot: Robot, reader: Reader
) -> None:
    said = ['shut', 'open', 'open', 'shut', 'shut', '?', '?']
    active_node(scripted__answers=said, ask_back=False, **asking(
        answer_type='choice', choices=['shut', 'open'], expected='Open', agreeing=2
    ))
    reader.wait_for_topic()
    stamps, answers, triggers = [], [], []
    for _ in said:
        stamps.append(robot.publish().header.stamp)
        answers.append(reader.read())
        triggers.append(reader.trigger())
    assert [a.choice for a in answers] == ['', '', 'open', 'open', 'shut', 'shut', 'unclear']
    assert [a.choice_index for a in answers] == [-2, -2, 1, 1, 0, 0, -1]
    assert [a.answer for a in answers] == said
    since = [answer.since for answer in answers[2:]]
    assert since == [stamps[1], stamps[1], stamps[3], stamps[3], stamps[5]]
    assert [success for success, _ in triggers] == [i in (2, 3) for i in range(7)]
    assert triggers[0][1] == 'no answer yet'


def test_number_has_its_unit_and_range_and_nobody_is_asked_back(
    active_node: MakeNode, robot: Robot, reader: Reader
) -> None:
    said = ['21.5 km', '80 km', 'It is far.', '3 km']  # no answer of these is to a question back
    active_node(scripted__answers=said, **asking(
        question='how far is it?', answer_type='number', unit='km', minimum=-5.0, maximum=50.0,
        never_ask_back=True,
    ))
    reader.wait_for_topic()
    found = []
    for _ in said:
        robot.publish()
        answer = reader.read()
        found.append((answer.answer, answer.choice))
    assert found == list(zip(said, ['21.5', 'unclear', 'unclear', '3'], strict=True))


def test_text_succeeds_while_it_is_fresh(
    active_node: MakeNode, robot: Robot, reader: Reader
) -> None:
    active_node(scripted__answers=['A red box.'], **asking(answer_type='text'))
    assert reader.trigger() == (False, 'no answer yet')
    robot.publish()
    answer = reader.read()
    assert (answer.answer, answer.choice_index, answer.choice) == ('A red box.', -2, '')
    success, message = reader.trigger()
    assert success and message.startswith('A red box. (')


def test_json_is_compared_by_its_value(
    active_node: MakeNode, robot: Robot, reader: Reader
) -> None:
    active_node(
        scripted__answers=['{"a": 1, "b": [2]}', '{"b":[2], "a":1}'],
        **asking(answer_type='json', json_schema='{"type": "object"}', agreeing=2),
    )
    for _ in range(2):
        robot.publish()
        answer = reader.read()
    assert answer.answer == '{"b":[2], "a":1}'
    assert reader.trigger()[1].startswith('{"b":[2], "a":1} (')


@pytest.mark.parametrize('expected', ['', 'no'])
def test_what_is_looked_for_is_seen_or_not(
    active_node: MakeNode, robot: Robot, reader: Reader, expected: str
) -> None:
    cup, moved = (
        json.dumps([{'bbox_2d': [x, 250, x + 250, 750], 'label': 'cup'}]) for x in (250, 500))
    active_node(scripted__answers=[cup, moved, '[]'], **asking(
        question='the cup', answer_type='locate', expected=expected
    ))
    reader.wait_for_topic()
    first = robot.publish().header
    answers, triggers = [reader.read()], [reader.trigger()]
    for _ in range(2):
        frame = robot.publish()
        answers.append(reader.read())
        triggers.append(reader.trigger())
        assert answers[-1].header == frame.header
    boxes = [[place.box.x_offset for place in answer.located] for answer in answers]
    assert boxes == [[16], [32], []]
    since = [answer.since for answer in answers]
    assert since == [first.stamp, first.stamp, frame.header.stamp]
    assert [a.choice_index for a in answers] == [-2] * 3
    assert [success for success, _ in triggers] == (
        [False, False, True] if expected == 'no' else [True, True, False])
    assert [message.partition(' (')[0] for _, message in triggers] == ['cup', 'cup', 'not seen']


@pytest.mark.parametrize('expected', ['unclear', 'no'])
def test_what_is_expected(
    active_node: MakeNode, robot: Robot, reader: Reader, expected: str
) -> None:
    said = {'unclear': 'hm', 'no': 'No.'}[expected]
    active_node(scripted__answers=[said], **asking(expected=expected))
    robot.publish()
    reader.read()
    assert reader.trigger()[0]


def test_watches_share_the_looks_of_a_standing_question(
    active_node: MakeNode, robot: Robot, reader: Reader
) -> None:
    node = active_node(scripted__answers=['yes', 'no'], **asking())
    asked = threading.Semaphore(0)
    assert node._engine
    write = node._engine.write

    def count(*arguments: Any) -> Any:
        asked.release()
        return write(*arguments)

    node._engine.write = count  # type: ignore[method-assign]
    watches = [Watcher(robot).watch(answer_type=1) for _ in range(5)]
    for _ in range(20):
        robot.publish()
        reader.read()
        for watch in watches:
            watch.hear()
    assert all(asked.acquire(blocking=False) for _ in range(20))
    assert not asked.acquire(blocking=False)


def test_inactive_node_says_so(make_node: MakeNode, robot: Robot, reader: Reader) -> None:
    node = make_node(scripted__answers=['yes'], **asking())
    assert node.trigger_configure() is SUCCESS
    for _ in range(2):
        success, message = reader.trigger()
        assert not success and 'activate' in message
        assert node.trigger_activate() is SUCCESS
        assert reader.trigger() == (False, 'no answer yet')
        robot.publish()
        assert reader.read().choice == 'yes'
        assert reader.trigger()[0]
        assert node.trigger_deactivate() is SUCCESS
        assert reader.read().error_code == ErrorCode.INACTIVE
    assert node.trigger_cleanup() is SUCCESS
    wait_until(lambda: not node.count_publishers('/vlm/standing/path_clear'))
    node.set_parameters([Parameter('standing_questions', value=[''])])
    assert node.trigger_configure() is SUCCESS
    assert not node.count_publishers('/vlm/standing/path_clear')


@pytest.mark.parametrize(
    ('settings', 'parameter'),
    [
        ({'question': ' '}, 'standing.path_clear.question'),
        ({'camera': 'rear'}, 'camera'),
        ({'answer_type': 'maybe'}, 'standing.path_clear.answer_type'),
        ({'answer_type': 'choice'}, 'choices'),
        ({'choices': ['a', 'b']}, 'choices'),
        ({'expected': 'perhaps'}, 'standing.path_clear.expected'),
        ({'answer_type': 'text', 'expected': 'yes'}, 'standing.path_clear.expected'),
        ({'answer_type': 'locate', 'expected': 'unclear'}, 'standing.path_clear.expected'),
        ({'region__x': 1.0}, 'standing.path_clear.region'),
        ({'unit': 'm'}, 'unit'),
        ({'answer_type': 'number', 'minimum': 3.0, 'maximum': 2.0}, 'minimum'),
        ({'period': -1.0}, 'standing.path_clear.period'),
        ({'period': 'often'}, 'standing.path_clear.period'),
        ({'agreeing': 0}, 'standing.path_clear.agreeing'),
        ({'min_confidence': 2.0}, 'standing.path_clear.min_confidence'),
    ],
)
def test_settings_that_make_no_sense_fail_configure(
    make_node: MakeNode, capfd: pytest.CaptureFixture[str], settings: dict[str, Any],
    parameter: str,
) -> None:
    node = make_node(**asking(**settings))
    assert node.trigger_configure() is FAILURE
    text = capfd.readouterr().err
    assert parameter in text and 'path_clear' in text and 'Traceback' not in text


@pytest.mark.parametrize('names', [['a', 'a'], ['two words'], ['path-clear'], ['a', '1']])
def test_names_that_are_none_fail_configure(
    make_node: MakeNode, capfd: pytest.CaptureFixture[str], names: list[str]
) -> None:
    node = make_node(standing_questions=names)
    assert node.trigger_configure() is FAILURE
    assert 'standing_questions' in capfd.readouterr().err
