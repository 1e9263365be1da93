# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The gateway of a node: its cameras as models, its state, its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import json
import threading
from typing import Any
import urllib.error
import urllib.request

from asked_node import asked_node
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.srv import ChangeState
import numpy as np
import pytest
from rclpy.context import Context
from robot import Robot, wait_until
from sensor_msgs.msg import CompressedImage
from served import asks, jpeg, PATIENCE, served
from vlm_npu_ros.gateway.node_source import NodeSource
from vlm_npu_ros.nav.background_node import BackgroundNode
from vlm_npu_ros.node.vlm_node import VlmNode

openai = pytest.importorskip('openai')
ANSWERS = ['I see a red box.', 'It is large.', 'Yes, it is.']


@pytest.fixture(scope='module')
def stand() -> Iterator[tuple[VlmNode, Robot, NodeSource, str]]:
    with asked_node(
        scripted__answers=ANSWERS, scripted__image_tokens=16, encode_rate=50.0,
        standing_questions=['red'], standing__red__question='is it red?',
        standing__red__answer_type='yes_no',
    ) as (node, robot):
        source = NodeSource('vlm', node.context)
        with served(source) as url:
            wait_until(lambda: 'camera' in source.cameras)
            yield node, robot, source, url


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f'{url}/v1', api_key='-', max_retries=0)


def post(url: str, body: Any) -> Any:
    """Send JSON; the response is a context manager."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {'Content-Type': 'application/json'})
    return urllib.request.urlopen(request, timeout=PATIENCE)


def test_a_camera_is_a_model(stand: Any) -> None:
    _, robot, source, url = stand
    frame = robot.publish()
    with client(url) as ai:
        assert [m.id for m in ai.models.list()] == ['scripted', 'camera/camera']
        messages: Any = [{'role': 'user', 'content': 'what do you see?'}]
        said = ai.chat.completions.create(model='camera/camera', messages=messages)
        stamp = frame.header.stamp
        assert said.vlm['stamp'] == pytest.approx(stamp.sec + stamp.nanosec / 1e9)
        assert said.vlm['frame_id'] == 'camera_optical_frame'
        assert said.choices[0].message.content in ANSWERS
        stream = ai.chat.completions.create(model='camera/camera', messages=messages, stream=True)
        assert ''.join(c.choices[0].delta.content or '' for c in stream) in ANSWERS


def test_a_dialogue_goes_on_in_the_node(stand: Any) -> None:
    node, robot, _, url = stand
    robot.publish()
    with client(url) as ai:
        said: list[Any] = []
        for question in ('what do you see?', 'is it large?'):
            said.append({'role': 'user', 'content': question})
            reply = ai.chat.completions.create(model='camera/camera', messages=said)
            said.append({'role': 'assistant', 'content': reply.choices[0].message.content})
        (dialogue,) = [d for d in node._conversations.newest_first() if len(d.turns) == 2]
        assert [turn.question for turn in dialogue.turns] == ['what do you see?', 'is it large?']
        # What it does not know, such as an answer that was edited, is told in the question.
        said[1] = {'role': 'assistant', 'content': 'A cone.'}
        said.append({'role': 'user', 'content': 'and now?'})
        ai.chat.completions.create(model='camera/camera', messages=said)
        (told,) = node._conversations.newest_first()[0].turns
        assert told.question.endswith('Q: and now?') and 'A: A cone.' in told.question


def test_what_the_node_refuses_is_told(stand: Any) -> None:
    node, robot, _, url = stand
    robot.publish()
    ask: Any = [{'role': 'user', 'content': 'what?'}]
    with client(url) as ai:
        for model, messages, error, code in (
            ('camera/front', ask, openai.NotFoundError, 'model_not_found'),
            ('camera/camera', [{'role': 'user', 'content': ' '}], openai.BadRequestError,
             'invalid_request'),
        ):
            with pytest.raises(error) as caught:
                ai.chat.completions.create(model=model, messages=messages)
            assert caught.value.code == code


def test_metrics_tell_of_the_node(stand: Any) -> None:
    _, _, source, url = stand
    wait_until(lambda: len(source.state()['parts']) > 1)
    with client(url) as ai:
        ai.models.list()

    def page() -> str:
        return str(urllib.request.urlopen(f'{url}/metrics').read().decode())

    for line in ('vlm_questions_total{end="eos"}', 'vlm_first_token_seconds_bucket',
                 'vlm_queue{part="engine"} 0.0', 'vlm_ready 1.0', 'vlm_open_questions 0.0',
                 'vlm_encoded_per_second{part="camera camera"}'):
        wait_until(lambda line=line: line in page())  # the node tells it now and then


def test_a_page_sets_the_fields_of_a_question_alone(stand: Any) -> None:
    _, _, _, url = stand
    for fields, words in (
        ({'image': '/etc/passwd'}, "'image' is not a field"),
        ({'question': 'a'}, 'not a field'),
        ({'timeout': 'soon'}, "'timeout' is not a field of a question, or cannot"),
        ({'choices': ['a', 1]}, "'choices' is not"),
        ({'max_age': float('inf')}, "'max_age' is not"),
    ):
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(f'{url}/api/ask', {'question': 'what?', 'fields': fields})
        assert caught.value.code == 400
        assert words in json.load(caught.value)['error']['message']


def test_a_watch_that_no_message_can_hold_leaves_the_next_one_alone(stand: Any) -> None:
    _, robot, _, url = stand
    robot.publish()
    for fields, until, words in (
        ({'choices': ['\ud800', 'b']}, '', 'half of a character'),
        ({'camera': '\ud800'}, '', 'half of a character'),
        ({'yes_no': True}, '\ud800', 'until'),
        ({'yes_no': True}, '', '"look"'),
    ):
        body = {'question': 'is it round?', 'fields': fields, 'wish': {'until': until}}
        with post(f'{url}/api/watch', body) as looks:
            assert words in looks.readline().decode(), fields


def test_it_ends_during_a_transition(stand: Any) -> None:
    node = stand[0]
    asked, ended = threading.Event(), threading.Event()

    class Slow(BackgroundNode):
        """Takes its time for a transition."""

        def __init__(self) -> None:
            super().__init__('slow', node.context)
            self._node.create_service(ChangeState, 'slow/change_state', self._change)

        def _change(self, _: Any, response: Any) -> Any:
            asked.set()
            ended.wait(2 * PATIENCE)
            return response

    def ask(url: str) -> None:
        with pytest.raises(OSError):
            post(f'{url}/api/transition', {'name': 'configure'})

    with Slow(), contextlib.ExitStack() as serving:
        source = NodeSource('slow', node.context)
        url = serving.enter_context(served(source))
        wait_until(source._view._change.service_is_ready)
        asking = threading.Thread(target=ask, args=(url,))
        asking.start()
        try:
            assert asked.wait(PATIENCE)
            serving.close()  # fails if the gateway does not end
        finally:
            ended.set()
            asking.join()


@contextlib.contextmanager
def other_node(node: VlmNode) -> Iterator[tuple[NodeSource, Callable[..., None]]]:
    """Make the source of a node /other, and a function that tells which cameras that has."""
    teller = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
    source = NodeSource('other', node.context)

    def tell(*cameras: str) -> None:
        def told() -> bool:
            teller.publish(DiagnosticArray(status=[
                DiagnosticStatus(name=f'/other: camera {camera}', values=[
                    KeyValue(key='topic', value=f'/other/{camera}')])
                for camera in cameras]))
            return source.cameras == cameras

        wait_until(told)

    yield source, tell
    node.destroy_publisher(teller)


def test_a_camera_that_the_node_has_no_more_is_forgotten(stand: Any) -> None:
    with other_node(stand[0]) as (source, tell), served(source):
        tell('front', 'rear')
        tell('rear')


def test_a_camera_that_comes_later_is_seen(stand: Any) -> None:
    node = stand[0]
    with other_node(node) as (source, tell), served(source) as url:
        tell('late')

        def look() -> Any:
            return urllib.request.urlopen(f'{url}/api/cameras/late/picture', timeout=PATIENCE)

        assert look().status == 204
        context = Context()  # of another program: in this one, a topic has one type
        context.init(domain_id=node.context.get_domain_id())
        with BackgroundNode('late_camera', context) as program:
            camera = program._node.create_publisher(CompressedImage, '/other/late', 10)
            message = CompressedImage(data=jpeg())
            message.header.stamp.sec = 1
            program._node.create_timer(0.05, lambda: camera.publish(message))
            wait_until(lambda: look().status == 200)
        context.shutdown()


def test_pictures_of_a_request_are_looked_at(stand: Any) -> None:
    node, robot, _, url = stand
    robot.publish()
    looked: list[Any] = []
    encode = node._engine.encode
    node._engine.encode = lambda rgb: (looked.append(rgb), encode(rgb))[1]
    try:
        with client(url) as ai:
            for model, messages in (
                ('scripted', asks('what?', jpeg((0, 0, 255)), jpeg((255, 0, 0)))),
                ('camera/camera', asks('what?', jpeg((0, 255, 0)))),
            ):
                ai.chat.completions.create(model=model, messages=messages)
            means = [rgb.reshape(-1, 3).mean(0).round().tolist() for rgb in looked]
            for colour in ([254, 0, 0], [0, 0, 254], [0, 255, 1]):
                assert any(np.allclose(mean, colour, atol=3) for mean in means), (colour, means)
            with pytest.raises(openai.BadRequestError) as caught:
                ai.chat.completions.create(
                    model='scripted', messages=asks('what?', b'no picture at all'))
            assert caught.value.code == 'invalid_image'
    finally:
        node._engine.encode = encode
