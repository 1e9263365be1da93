# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The node as its users meet it: over ROS, with the scripted and the embedded model."""

from __future__ import annotations

from collections.abc import Callable
import threading
import time

from action_msgs.msg import GoalStatus
from bars import timing, within
from builtin_interfaces.msg import Duration
import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from robot import PATIENCE, Robot, wait_until
from vlm_npu_ros.demo.questions import random_question
from vlm_npu_ros.demo.scenes import random_scene, render, Scene, SceneObject
from vlm_npu_ros.engine.backends.scripted import ScriptedLanguageModel
from vlm_npu_ros.engine.types import GenerationRequest
from vlm_npu_ros.msg import ErrorCode, Sentence
from vlm_npu_ros.node import ask_server
from vlm_npu_ros.node.ask import Stage
from vlm_npu_ros.node.vlm_node import VlmNode
from vlm_npu_ros.srv import Ask as AskService

MakeNode = Callable[..., VlmNode]
SLOW = {'scripted__answers': ['one two three four five six'], 'scripted__decode_rate': 0.05}


def test_answers_by_service_about_the_newest_frame(active_node: MakeNode, robot: Robot) -> None:
    active_node(scripted__answers=['a red ball'])
    frame = robot.publish()
    response = robot.ask(question='what do you see?')
    assert response.success and response.error_code == ErrorCode.NONE
    assert response.answer == 'a red ball'
    assert response.header == frame.header
    assert 0 < response.frame_age.sec + response.frame_age.nanosec / 1e9 < 30
    assert response.finish_reason == 'eos'
    assert response.stats.backend == response.stats.model == 'scripted'
    assert response.stats.new_tokens == 3
    assert response.stats.image_tokens in (0, 64)  # 0 = read ahead


def test_an_answer_that_cannot_be_sent_is_the_only_one(
    active_node: MakeNode, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    active_node(scripted__answers=['a red ball'])
    robot.publish()
    spoilt = threading.Event()

    def spoil(result: AskService.Response, _: object) -> None:
        result.answer = '\ud800'  # no message holds that
        spoilt.set()

    with monkeypatch.context() as patch:
        patch.setattr(ask_server, 'fill_choice', spoil)
        robot.ask_later(question='is lost')
        assert spoilt.wait(PATIENCE)
    assert robot.ask(question='what do you see?').answer == 'a red ball'
    assert robot.ask(question='').error_code == ErrorCode.BAD_REQUEST


def test_partial_answers_make_up_the_answer(active_node: MakeNode, robot: Robot) -> None:
    active_node(scripted__answers=['one two three'])
    frame = robot.publish()
    response = robot.ask(question='count')
    pieces = robot.partials_of(response.request_id)
    assert [p.sequence for p in pieces] == list(range(len(pieces)))
    assert ''.join(p.delta for p in pieces) == response.answer
    assert [p.done for p in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].finish_reason == 'eos'
    assert all(p.header == frame.header for p in pieces)


def test_action_gives_feedback_and_result(active_node: MakeNode, robot: Robot) -> None:
    # Slowly: rclpy's client drops feedback that it handles after the message of the goal's end.
    active_node(scripted__answers=['one two'], scripted__decode_rate=1.0)
    robot.publish()
    feedback: list[tuple[str, str]] = []
    goal = robot.send_goal(
        lambda m: feedback.append((m.feedback.stage, m.feedback.partial_answer)),
        question='count',
    )
    outcome = robot.result_of(goal)()
    assert outcome.status == GoalStatus.STATUS_SUCCEEDED
    assert outcome.result.answer == 'one two'
    wait_until(lambda: ('generating', 'one') in feedback)
    stages = [stage for stage, _ in feedback]
    assert stages == sorted(stages, key=[s.value for s in Stage].index)


def test_embedded_model_sees_the_scene(active_node: MakeNode, robot: Robot) -> None:
    active_node(backend='onnx')
    right = 0
    for seed in range(10):
        rng = np.random.default_rng((77, seed))
        scene = random_scene(rng)
        question = random_question(scene, rng, 'colour')
        frame = robot.publish(render(scene))
        response = robot.ask(question=question.text, not_before=frame.header.stamp)
        assert response.success, response.error_msg
        assert response.header.stamp == frame.header.stamp
        right += response.answer == question.answer
    assert right >= 9


@pytest.mark.parametrize(
    ('request_fields', 'code', 'words'),
    [
        ({'question': '  \n'}, ErrorCode.BAD_REQUEST, 'empty'),
        ({'question': 'x' * 20_001}, ErrorCode.BAD_REQUEST, '20001'),
        ({'camera': 'rear'}, ErrorCode.BAD_REQUEST, 'rear'),
        ({'timeout': Duration(sec=-1)}, ErrorCode.BAD_REQUEST, 'timeout'),
        ({'answer_type': 9}, ErrorCode.BAD_REQUEST, 'answer_type'),
        ({'choices': ['a', 'b']}, ErrorCode.BAD_REQUEST, 'choices'),
        ({'system_prompt': 'x' * 4001}, ErrorCode.BAD_REQUEST, '4001'),
        ({'question': '@nothing'}, ErrorCode.BAD_REQUEST, 'prompts has none'),
        ({'answer_type': 4, 'num_frames': 2}, ErrorCode.BAD_REQUEST, 'LOCATE'),
        ({'json_schema': '{}'}, ErrorCode.BAD_REQUEST, 'answer_type is not JSON'),
        ({'answer_type': 5, 'json_schema': '{"type": 7}'}, ErrorCode.BAD_REQUEST, 'JSON Schema'),
        ({'max_new_tokens': 100_000}, ErrorCode.CONTEXT_EXCEEDED, 'context'),
        ({'conversation_id': 'c' * 101}, ErrorCode.BAD_REQUEST, 'conversation_id'),
        ({'new_conversation': True}, ErrorCode.BAD_REQUEST, 'conversation_id is empty'),
        ({'answer_type': 2, 'choices': ['a']}, ErrorCode.BAD_REQUEST, '2 to 64'),
        ({'answer_type': 2, 'choices': ['a', ' A ']}, ErrorCode.BAD_REQUEST, 'twice'),
        ({'answer_type': 2, 'choices': ['a', '?!']}, ErrorCode.BAD_REQUEST, 'a letter or a digit'),
        ({'answer_type': 2, 'choices': ['a', 'Unclear']}, ErrorCode.BAD_REQUEST, 'always'),
        ({'min_confidence': 1.5}, ErrorCode.BAD_REQUEST, 'min_confidence'),
        ({'min_confidence': float('nan')}, ErrorCode.BAD_REQUEST, 'min_confidence'),
        ({'question': '<clear>'}, ErrorCode.BAD_REQUEST, '~/conversations'),
        ({'camera': 'camera,camera'}, ErrorCode.BAD_REQUEST, 'twice'),
        ({'window': Duration(sec=1)}, ErrorCode.BAD_REQUEST, 'num_frames'),
        (
            {'num_frames': 2, 'window': Duration(sec=11)},
            ErrorCode.BAD_REQUEST, 'history_seconds',
        ),
    ],
)
def test_bad_request_ends_in_a_typed_error(
    active_node: MakeNode, robot: Robot, request_fields: dict[str, object], code: int, words: str
) -> None:
    active_node()
    robot.publish()
    response = robot.ask(**{'question': 'what?', **request_fields})
    assert not response.success
    assert response.error_code == code
    assert words in response.error_msg
    assert response.finish_reason == 'error'
    assert response.choice_index == response.CHOICE_NONE
    assert robot.ask(question='still there?').success


def test_role_and_named_prompts(
    active_node: MakeNode, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[GenerationRequest] = []
    generate = ScriptedLanguageModel.generate
    monkeypatch.setattr(
        ScriptedLanguageModel, 'generate',
        lambda model, request, stop: (asked.append(request), generate(model, request, stop))[1],
    )
    node = active_node(prompts__describe='What do you see?', system_prompt='You are a guard.')
    robot.publish()
    assert robot.ask(question='@describe').success
    node.set_parameters([
        Parameter('system_prompt', value=''), Parameter('prompts.describe', value='What now?'),
    ])
    assert robot.ask(question=' @describe ').success
    assert robot.ask(question='mail me @home', system_prompt='You are a cook.').success
    assert [(r.question, r.system_prompt) for r in asked] == [
        ('What do you see?', 'You are a guard.'), ('What now?', ''),
        ('mail me @home', 'You are a cook.'),
    ]
    response = robot.ask(question='@desribe')
    assert response.error_code == ErrorCode.BAD_REQUEST
    assert 'choose one of describe' in response.error_msg


def test_json_answers(active_node: MakeNode, robot: Robot) -> None:
    active_node(scripted__answers=[
        'It is {"colour": "red"}.', '{"colour": 7}', 'Sorry: {"colour": "blue"}', 'no', 'red!',
    ])
    robot.publish()
    asked = {
        'answer_type': AskService.Request.JSON,
        'json_schema': '{"required": ["colour"], "properties": {"colour": {"type": "string"}}}',
    }
    response = robot.ask(question='which colour?', **asked)
    assert (response.success, response.answer) == (True, '{"colour": "red"}')
    assert response.choice_index == response.CHOICE_NONE
    outcome = robot.result_of(robot.send_goal(question='which colour?', **asked))()
    assert (outcome.result.success, outcome.result.answer) == (True, '{"colour": "blue"}')
    assert outcome.result.stats.new_tokens == 5  # of both answers
    response = robot.ask(question='which colour?', **asked)
    assert (response.error_code, response.answer) == (ErrorCode.BAD_ANSWER, 'red!')
    assert 'not the JSON that was asked for' in response.error_msg


@pytest.mark.parametrize('by_action', [False, True])
def test_typed_answers(active_node: MakeNode, robot: Robot, by_action: bool) -> None:
    active_node(backend='onnx')
    box = SceneObject('box', 'red', 'left', near=True, x=0.18, scale=1.0)
    robot.publish(render(Scene((box,), 'floor', 0.4, 1.0, 0.0, 0.0, 1)))

    def by_goal(**goal: object) -> object:
        return robot.result_of(robot.send_goal(**goal))().result

    ask = by_goal if by_action else robot.ask
    clear = ask(question='is the path clear?', answer_type=1)
    assert (clear.choice_index, clear.choice) == (0, 'yes'), clear.answer
    assert 0.5 < clear.confidence <= 1 and clear.success
    assert clear.decided_by == 'probability'
    assert clear.finish_reason == 'stop'
    colour = ask(question='what colour is the box?', answer_type=2, choices=['Blue', 'Red'])
    assert (colour.choice_index, colour.choice) == (1, 'Red'), colour.answer
    ball = ask(question='what colour is the ball?', answer_type=2, choices=['Blue', 'Red'])
    assert (ball.choice_index, ball.choice) == (-1, 'unclear'), ball.answer
    sure = ask(question='what colour is the box?', answer_type=2, choices=['Blue', 'Red'],
               min_confidence=1.0)
    assert (sure.choice, sure.success) == ('unclear', True)
    count = ask(question='how many boxes are there?', answer_type=3)
    assert (count.number, count.choice, count.decided_by) == (1.0, '1', 'probability')
    text = ask(question='is the path clear?')
    assert (text.choice_index, text.choice) == (-2, '')


def test_typed_answer_ends_sooner_than_text(active_node: MakeNode, robot: Robot) -> None:
    # Qwen3-VL 2B on an RK3588, see its profile; an answer of 44 words, as it likes to give.
    said = 'Yes, the path ahead looks clear. ' + 'The floor is free and well lit. ' * 5 + 'Go on.'
    active_node(
        scripted__answers=[said],
        scripted__prefill_rate=302.0,
        scripted__decode_rate=14.9,
        scripted__image_tokens=196,
    )
    robot.publish()
    text = robot.ask(question='is the path clear?')
    typed = robot.ask(question='is the path clear?', answer_type=1)
    assert (text.answer, typed.choice) == (said, 'yes')
    assert text.stats.new_tokens >= 3 * typed.stats.new_tokens
    assert text.stats.total_seconds > typed.stats.total_seconds


def test_sentences_are_published_as_they_end(active_node: MakeNode, robot: Robot) -> None:
    node = active_node(scripted__answers=['One box. Two balls, 3.5 m away! Bye'])
    got: list[Sentence] = []
    robot.node.create_subscription(Sentence, '/vlm/sentence', got.append, 10)
    wait_until(lambda: node.count_subscribers('/vlm/sentence') > 0)
    robot.publish()
    response = robot.ask(question='what?')
    wait_until(lambda: any(sentence.done for sentence in got))
    assert [sentence.text for sentence in got] == ['One box.', 'Two balls, 3.5 m away!', 'Bye']
    assert [sentence.sequence for sentence in got] == [0, 1, 2]
    assert {sentence.request_id for sentence in got} == {response.request_id}
    assert [sentence.finish_reason for sentence in got] == ['', '', 'eos']


def test_no_frame_yet(active_node: MakeNode, robot: Robot) -> None:
    active_node()
    response = robot.ask(question='what?', timeout=Duration(nanosec=200_000_000))
    assert response.error_code == ErrorCode.NO_FRAME
    assert "'camera'" in response.error_msg and '/camera/image_raw' in response.error_msg
    assert '1 publisher, but nothing comes' in response.error_msg
    assert response.finish_reason == 'error'


def test_stale_frame_names_camera_and_age_and_heals(active_node: MakeNode, robot: Robot) -> None:
    node = active_node()
    robot.publish(age=100.0)
    wait_until(lambda: node._feeds['camera'].frame is not None)
    short = Duration(nanosec=500_000_000)
    response = robot.ask(question='what?', timeout=short)
    assert response.error_code == ErrorCode.STALE_FRAME
    assert "'camera'" in response.error_msg and '100.' in response.error_msg
    assert robot.ask(question='what?', max_age=Duration(sec=200)).success
    robot.publish()
    assert robot.ask(question='what?').success


def test_not_before_waits_for_the_frame(active_node: MakeNode, robot: Robot) -> None:
    active_node(encode_rate=0.001)  # only the first frame is encoded by itself
    robot.publish()
    assert robot.ask(question='first').success
    stages: list[str] = []
    waiting = threading.Event()

    def on_feedback(message: object) -> None:
        stages.append(message.feedback.stage)  # type: ignore[attr-defined]
        waiting.set()

    now = robot.node.get_clock().now().to_msg()
    goal = robot.send_goal(on_feedback, question='what?', not_before=now)
    assert waiting.wait(30)
    assert stages[0] == 'waiting_for_frame'
    frame = robot.publish()
    outcome = robot.result_of(goal)()
    assert outcome.result.header.stamp == frame.header.stamp
    stats = outcome.result.stats
    assert 0 < stats.frame_wait_seconds <= stats.first_token_seconds <= stats.total_seconds < 60
    assert stats.memory_bytes > 2**20


@timing
def test_cached_embedding_costs_the_question_nothing(active_node: MakeNode, robot: Robot) -> None:
    node = active_node(scripted__encode_seconds=0.3)
    robot.publish()
    feed = node._feeds['camera']
    wait_until(lambda: feed.frame is not None)
    stats = robot.ask(question='what?').stats
    assert stats.encode_seconds == stats.frame_wait_seconds == 0.0
    assert stats.first_token_seconds < within(0.3)


@timing
def test_cancel_ends_the_goal_at_once(active_node: MakeNode, robot: Robot) -> None:
    active_node(**SLOW)
    robot.publish()
    generating = threading.Event()
    goal = robot.send_goal(
        lambda m: m.feedback.partial_answer and generating.set(), question='count'
    )
    assert generating.wait(30)
    started = time.monotonic()
    robot.cancel(goal)
    outcome = robot.result_of(goal)()
    assert time.monotonic() - started < within(1.5)  # the next word would take 20 s
    assert outcome.status == GoalStatus.STATUS_CANCELED
    assert outcome.result.error_code == ErrorCode.CANCELLED
    assert outcome.result.finish_reason == 'cancelled'
    assert outcome.result.answer == 'one'
    assert robot.partials_of(outcome.result.request_id)[-1].finish_reason == 'cancelled'


def test_timeout_ends_the_answer_and_frees_the_engine(active_node: MakeNode, robot: Robot) -> None:
    active_node(**SLOW)
    robot.publish()
    response = robot.ask(question='count', timeout=Duration(sec=2))
    assert response.error_code == ErrorCode.TIMEOUT
    assert response.finish_reason == 'timeout'
    assert response.answer == 'one'
    assert robot.ask(question='count', max_new_tokens=1).finish_reason == 'length'


def test_full_queue_is_busy_at_once(active_node: MakeNode, robot: Robot) -> None:
    node = active_node(queue_size=1, **SLOW)
    robot.publish()
    running = threading.Event()
    goal = robot.send_goal(lambda m: m.feedback.partial_answer and running.set(), question='a')
    assert running.wait(30)
    waiting = robot.send_goal(question='b')
    wait_until(lambda: node._queue.depth == 1)
    response = robot.ask(question='c')
    assert response.error_code == ErrorCode.BUSY
    robot.cancel(waiting)
    robot.cancel(goal)
    assert robot.result_of(waiting)().result.error_code == ErrorCode.CANCELLED


def test_questions_of_many_callers_are_all_answered(active_node: MakeNode, robot: Robot) -> None:
    active_node(queue_size=50, scripted__answers=['one two three four'])
    robot.publish()
    answers = [robot.ask_later(question=f'question {i}') for i in range(40)]
    responses = [answer() for answer in answers]
    assert all(r.answer == 'one two three four' for r in responses)
    assert len({r.request_id for r in responses}) == 40
    for response in responses:
        pieces = robot.partials_of(response.request_id)
        assert [p.sequence for p in pieces] == list(range(len(pieces)))


def test_bad_frames_are_skipped_and_the_good_one_is_kept(
    active_node: MakeNode, robot: Robot
) -> None:
    node = active_node(encode_rate=100.0)
    good = robot.publish()
    assert robot.ask(question='what?').success
    feed = node._feeds['camera']
    for bad, fields in enumerate(
        ({'encoding': 'nonsense'}, {'height': 0}, {'data': b'short'}, {'width': 10_000}), start=1
    ):
        robot.publish(**fields)
        wait_until(lambda bad=bad: feed.counts.bad == bad)
    assert robot.ask(question='what?').header.stamp == good.header.stamp


def test_inactive_node_says_so_and_comes_back(active_node: MakeNode, robot: Robot) -> None:
    node = active_node()
    assert node.trigger_deactivate() is TransitionCallbackReturn.SUCCESS
    response = robot.ask(question='what?')
    assert response.error_code == ErrorCode.INACTIVE
    assert '/vlm' in response.error_msg
    goal = robot.send_goal(question='what?')
    outcome = robot.result_of(goal)()
    assert outcome.status == GoalStatus.STATUS_ABORTED
    assert outcome.result.error_code == ErrorCode.INACTIVE
    assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
    robot.publish()
    assert robot.ask(question='what?').success


def test_deactivation_ends_the_questions_on_their_way(active_node: MakeNode, robot: Robot) -> None:
    node = active_node(**SLOW)
    robot.publish()
    running = threading.Event()
    first = robot.send_goal(lambda m: m.feedback.partial_answer and running.set(), question='a')
    assert running.wait(30)
    second = robot.send_goal(question='b')
    assert node.trigger_deactivate() is TransitionCallbackReturn.SUCCESS
    for goal in (first, second):
        result = robot.result_of(goal)().result
        assert result.error_code == ErrorCode.INACTIVE


def test_cleanup_removes_the_interfaces_and_configure_brings_them_back(
    active_node: MakeNode, robot: Robot
) -> None:
    node = active_node()
    for _ in range(3):
        node.trigger_deactivate()
        node.trigger_cleanup()
        wait_until(lambda: not robot.service.service_is_ready())
        node.autostart()
        robot.publish()
        assert robot.ask(question='what?').success


@pytest.mark.parametrize(
    'parameters',
    [
        {'backend': 'onnx', 'model': 'unknown'},
        {'backend': 'onnx', 'encoder_path': '/nowhere.onnx'},
        {'cameras': ['a', 'a']},
        {'cameras': ['not a name']},
        {'camera__transport': 'pigeon'},
    ],
)
def test_failed_configure_leaves_an_unconfigured_node(
    make_node: MakeNode, parameters: dict[str, object]
) -> None:
    node = make_node(**parameters)
    assert node.trigger_configure() is TransitionCallbackReturn.FAILURE
    changes = [Parameter('backend', value='scripted'), Parameter('cameras', value=['front'])]
    assert all(result.successful for result in node.set_parameters(changes))
    assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS


@timing
def test_goal_is_accepted_quickly_while_generating(active_node: MakeNode, robot: Robot) -> None:
    active_node(scripted__decode_rate=1.0, scripted__answers=['a b c ' * 99])
    robot.publish()
    running = threading.Event()
    robot.send_goal(lambda m: running.set(), question='long')
    assert running.wait(30)
    times = []
    for _ in range(50):
        started = time.monotonic()
        robot.send_goal(question='more')
        times.append(time.monotonic() - started)
    assert np.median(times) < within(0.02)


def test_release_answers_the_questions_first(active_node: MakeNode, robot: Robot) -> None:
    node = active_node(**SLOW)
    robot.publish()
    running = threading.Event()
    goal = robot.send_goal(lambda m: m.feedback.partial_answer and running.set(), question='a')
    assert running.wait(30)
    result = robot.result_of(goal)
    waiting = [robot.ask_later(question=f'b{i}') for i in range(3)]
    wait_until(lambda: node._queue and node._queue.depth == 3)
    node.release()
    assert [answer().error_code for answer in waiting] == [ErrorCode.INACTIVE] * 3
    assert result().result.error_code == ErrorCode.INACTIVE


@pytest.mark.parametrize(('parameter', 'topic'), [
    ('camera.topic', ''), ('camera.topic', 'not a topic'), ('camera.topic', '/a//b'),
    ('camera.depth', 'not a topic'), ('camera.camera_info', '1a'), ('battery', '/a//b'),
])
def test_topic_that_is_none_fails_configure(
    make_node: MakeNode, parameter: str, topic: str
) -> None:
    node = make_node(**{parameter.replace('.', '__'): topic})
    assert node.trigger_configure() is TransitionCallbackReturn.FAILURE
    with pytest.raises(ValueError, match=parameter):  # else it is a traceback in the log
        assert node.parameters.cameras() and node.parameters.battery


def test_failed_activation_goes_back_to_unconfigured_and_heals(
    make_node: MakeNode, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_node()
    node.trigger_configure()

    def no_memory(*_: object) -> None:
        raise MemoryError('no thread can be started')

    with monkeypatch.context() as patch:
        patch.setattr('vlm_npu_ros.node.vlm_node.FrameEncoder.start', no_memory)
        assert node.trigger_activate() is TransitionCallbackReturn.ERROR
    assert node.state == 'unconfigured'
    node.autostart()
    robot.publish()
    assert robot.ask(question='what?').success
