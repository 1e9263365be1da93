# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Dialogues and questions about several frames, over ROS, with the embedded model."""

from __future__ import annotations

from collections.abc import Callable
import functools
import threading

from builtin_interfaces.msg import Duration
import numpy as np
from rclpy.qos import QoSProfile
from rclpy.time import Time
from robot import PATIENCE, Robot, wait_for, wait_until
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import GenerationRequest, Turn
from vlm_npu_ros.msg import ErrorCode
from vlm_npu_ros.node.vlm_node import VlmNode
from vlm_npu_ros.srv import Conversations

MakeNode = Callable[..., VlmNode]
# No frame may be lost or be too old on a busy machine.
ONNX = {'backend': 'onnx', 'image_reliability': 'reliable', 'max_age': 600.0}
FOLLOW_UPS = (
    'what do you see?', 'what colour is it?', 'where is it?', 'is it near?', 'and the ball?',
    'how many boxes are there?', 'is the path clear?', 'what is on the left?', 'and on the right?',
    'is there a person?', 'what is nearest?',
)


def scene(seed: int) -> np.ndarray:
    return render(random_scene(np.random.default_rng((9, seed))), 320, 240)


def alone(picture: np.ndarray) -> list[str]:
    """Return the answers of a dialogue about this picture with nobody else around."""
    engine = load_engine(EngineSettings(threads=1))
    image, turns = engine.encode(picture), ()
    for question in FOLLOW_UPS:
        request = GenerationRequest(question, (image,), 40, turns=turns, keep=True)
        turns += (Turn(question, engine.answer(engine.fit(request).request)),)
    return [turn.answer for turn in turns]


def listed(robot: Robot, **request: object) -> Conversations.Response:
    client = robot.node.create_client(Conversations, '/vlm/conversations')
    assert client.wait_for_service(PATIENCE)
    return wait_for(client.call_async(Conversations.Request(**request)))


def test_interleaved_dialogues_answer_as_each_would_alone(
    active_node: MakeNode, robot: Robot,
) -> None:
    active_node(**ONNX, max_new_tokens=40)
    pictures = {'a': scene(1), 'b': scene(2)}
    answers: dict[str, list[str]] = {'a': [], 'b': []}
    stamps = {}
    for i, question in enumerate(FOLLOW_UPS):
        for id_, picture in pictures.items():
            frame = robot.publish(picture)
            fields = {'not_before': frame.header.stamp} if i == 0 else {}
            response = robot.ask(question=question, conversation_id=id_, **fields)
            assert response.success, response.error_msg
            answers[id_].append(response.answer)
            stamps.setdefault(id_, response.header.stamp)
            # The dialogue goes on about its own frame, however many came since.
            assert response.header.stamp == stamps[id_]
    assert answers == {id_: alone(picture) for id_, picture in pictures.items()}


def test_follow_up_reads_the_new_words_only(active_node: MakeNode, robot: Robot) -> None:
    active_node(**ONNX)
    robot.publish(scene(3))
    first = robot.ask(question='what do you see?', conversation_id='a')
    second = robot.ask(question='where is it?', conversation_id='a')
    read = first.stats.prompt_tokens + first.stats.read_ahead_tokens
    assert (second.stats.image_tokens, second.stats.read_ahead_tokens) == (0, 0)
    assert 0 < second.stats.prompt_tokens < 12 < 64 < read
    assert second.stats.encode_seconds == 0


def test_new_look_begins_anew_about_the_present_view(active_node: MakeNode, robot: Robot) -> None:
    active_node(**ONNX)
    first = robot.publish(scene(4))
    asked = {'conversation_id': 'a', 'not_before': first.header.stamp}
    assert robot.ask(question='what do you see?', **asked).header.stamp == first.header.stamp
    for words in ('<image> what do you see?', '<clear>what do you see?'):
        frame = robot.publish(scene(5))
        again = robot.ask(
            question=words, conversation_id='a', not_before=frame.header.stamp
        )
        assert again.header.stamp == frame.header.stamp
        assert again.dropped_turns == 1
        assert again.stats.prompt_tokens + again.stats.read_ahead_tokens > 64
    frame = robot.publish(scene(5))
    new = robot.ask(
        question='and?', conversation_id='a', new_conversation=True,
        not_before=frame.header.stamp,
    )
    assert new.header.stamp == frame.header.stamp


def test_oldest_turns_are_dropped_and_that_is_said(active_node: MakeNode, robot: Robot) -> None:
    active_node(
        scripted__answers=['one two three four'], scripted__image_tokens=10,
        conversation_tokens=40,
    )
    robot.publish()
    dropped = [
        robot.ask(question='a b c d e f', conversation_id='a').dropped_turns for _ in range(5)
    ]
    assert dropped == [0, 0, 0, 1, 1]  # 10 + 6, then 10 more each time


def test_dialogues_are_listed_and_forgotten(active_node: MakeNode, robot: Robot) -> None:
    active_node(scripted__answers=['two words'], scripted__image_tokens=10, conversations=3)
    frame = robot.publish()
    for id_ in ('a', 'b', 'c', 'a', 'd'):
        assert robot.ask(question='what is it?', conversation_id=id_).success
    kept = listed(robot).conversations
    assert [c.conversation_id for c in kept] == ['d', 'a', 'c']
    assert [c.turns for c in kept] == [1, 2, 1]
    assert kept[1].tokens == 10 + 2 * (3 + 2)
    assert kept[0].header == frame.header
    assert listed(robot, clear=['a', 'x']).cleared == 1
    assert listed(robot, clear_all=True).cleared == 2
    assert not listed(robot).conversations


def test_cancelled_question_is_not_remembered(active_node: MakeNode, robot: Robot) -> None:
    active_node(scripted__answers=['one two three'], scripted__decode_rate=0.01)
    robot.publish()
    written = threading.Event()

    def on_feedback(message: object) -> None:
        if message.feedback.partial_answer:  # type: ignore[attr-defined]
            written.set()

    goal = robot.send_goal(on_feedback, question='count', conversation_id='a')
    result = robot.result_of(goal)
    assert written.wait(PATIENCE)
    robot.cancel(goal)
    result()
    assert not listed(robot).conversations


def film(robot: Robot, node: VlmNode, pictures: list[np.ndarray], period: float) -> None:
    """Publish pictures whose stamps are a period apart and end now, each when the last is in."""
    feed, end = node._feeds['camera'], robot.node.get_clock().now().nanoseconds
    for i, picture in enumerate(pictures):
        stamp = Time(nanoseconds=end - round((len(pictures) - 1 - i) * period * 1e9)).to_msg()
        robot.publish(picture, header=Header(stamp=stamp))
        wait_until(functools.partial(lambda i: feed.counts.encoded > i, i))


def test_frames_of_the_last_seconds_are_answered_from_the_cache(
    active_node: MakeNode, robot: Robot,
) -> None:
    period = 0.05
    node = active_node(**ONNX, encode_rate=100.0, history_rate=6.0)
    film(robot, node, [scene(i // 25) for i in range(100)], period)
    encoded = node._feeds['camera'].counts.encoded
    response = robot.ask(question='what has changed?', num_frames=4, window=Duration(sec=4))
    assert response.success, response.error_msg
    assert response.stats.encode_seconds == 0
    assert node._feeds['camera'].counts.encoded == encoded
    assert response.stats.image_tokens == 4 * 64
    seconds = [stamp.sec + stamp.nanosec / 1e9 for stamp in response.frame_stamps]
    np.testing.assert_allclose(np.diff(seconds), 8 / 6, atol=period)  # 8 periods of the cache
    assert response.header.stamp == response.frame_stamps[-1]


def test_too_many_frames_are_thinned_out_and_that_is_said(
    active_node: MakeNode, robot: Robot,
) -> None:
    # 40 frames of 196 tokens in a context of 4096, with room for an answer of 256.
    node = active_node(
        scripted__image_tokens=196, encode_rate=100.0, history_rate=10.0, max_new_tokens=256,
        image_reliability='reliable', max_age=600.0,
    )
    film(robot, node, [np.full((48, 64, 3), i, np.uint8) for i in range(45)], 0.1)
    response = robot.ask(question='what happened?', num_frames=40, window=Duration(sec=4))
    assert response.success, response.error_msg
    assert len(response.frame_stamps) == 19
    assert response.note.startswith('19 of 40 frames: the context of 4096 tokens')
    assert response.stats.image_tokens == 19 * 196


def test_fewer_frames_than_asked_are_used_and_that_is_said(
    active_node: MakeNode, robot: Robot,
) -> None:
    active_node()
    robot.publish()
    response = robot.ask(question='what happened?', num_frames=4)
    assert response.success, response.error_msg
    assert len(response.frame_stamps) == 1
    assert response.note.startswith('1 of 4 frames')


def test_one_question_about_two_cameras(active_node: MakeNode, robot: Robot) -> None:
    active_node(**ONNX, cameras=['front', 'rear'])
    publishers = [
        robot.node.create_publisher(Image, f'{name}/image_raw', QoSProfile(depth=10))
        for name in ('front', 'rear')
    ]
    for publisher, seed in zip(publishers, (1, 2), strict=True):
        wait_until(functools.partial(lambda p: p.get_subscription_count() > 0, publisher))
        picture = scene(seed)
        message = Image(encoding='rgb8', height=240, width=320, step=960)
        message.data = picture.tobytes()
        message.header.stamp = robot.node.get_clock().now().to_msg()
        publisher.publish(message)
    response = robot.ask(question='what do you see?', camera='front, rear')
    assert response.success, response.error_msg
    assert response.stats.image_tokens == 128
    assert len(response.frame_stamps) == 2
    refused = robot.ask(question='what?', camera='front,rear', num_frames=2)
    assert refused.error_code == ErrorCode.BAD_REQUEST
