# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Shows scenes to the demo's camera and asks about them, as somebody else's program would."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
import time

from builtin_interfaces.msg import Time
from demo_answers import DemoAnswer
import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from vlm_npu_ros.client import Answer, AskFields, VlmClient
from vlm_npu_ros.client.fields import fill
from vlm_npu_ros.client.messages import make_answer, to_seconds
from vlm_npu_ros.demo.questions import SceneQuestion
from vlm_npu_ros.demo.scenes import Scene
from vlm_npu_ros.demo.truth import Truth
from vlm_npu_ros.engine.conversions import to_rgb
from vlm_npu_ros.msg import PartialAnswer
from vlm_npu_ros.srv import Ask

_START_SECONDS = 60.0
_ANSWER_SECONDS = 60.0
_MESSAGE_SECONDS = 15.0
_STATE_SECONDS = 0.5  # a node that is just starting may not be able to answer
_AUTOSTART_SECONDS = 10.0  # it begins to configure itself long before
_LOCATE_ATTEMPTS = 3
_POLL = 0.1  # seconds between looks at what sends no notice: the graph, processes, signals


class NoAnswerError(Exception):
    """Something over ROS did not come in time."""


class SceneDriver:
    """
    Shows scenes, asks about them, and hears what is published meanwhile; a context manager.

    check: called while something is waited for; raises to end that.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._truth: Truth | None = None
        self._newest = Image()
        self._pieces: dict[str, list[PartialAnswer]] = defaultdict(list)
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._vlm = VlmClient(context=self._context)
        self._node = node = rclpy.create_node('scene_driver', context=self._context)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._set_scene = node.create_publisher(String, 'scene_camera/set_scene', 10)
        node.create_subscription(String, 'scene_camera/scene', self._on_truth, latched)
        # Reliable like the demo's camera: with best effort, every image can be lost for a while.
        node.create_subscription(Image, 'camera/image_raw', self._on_frame, QoSProfile(depth=1))
        node.create_subscription(PartialAnswer, 'vlm/partial_answer', self._on_piece, 1000)
        self._service = node.create_client(Ask, 'vlm/ask')
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)

    def __enter__(self) -> SceneDriver:
        return self

    def __exit__(self, *_: object) -> None:
        self._vlm.close()
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def wait_for_camera(self) -> None:
        """Wait until the camera can be told what to show and its images arrive."""
        self._until(
            lambda: self._set_scene.get_subscription_count() > 0 and len(self._newest.data) > 0,
            'The camera', _START_SECONDS,
        )

    def wait_for_vlm(self) -> None:
        """Wait until the vlm node is active; raise NoAnswerError if it cannot be configured."""
        deadline, seen = time.monotonic() + _START_SECONDS, 0.0
        while not (status := self._vlm.status(_STATE_SECONDS)).ready:
            now = time.monotonic()
            seen = seen or (now if status.state else 0.0)
            if status.state == 'unconfigured' and now > seen + _AUTOSTART_SECONDS:
                raise NoAnswerError('The vlm node could not be configured.')
            if now > deadline:
                raise NoAnswerError(f'The vlm node is not active after {_START_SECONDS:.0f} s.')
            self._spin_once()
        self._until(
            lambda: self._service.service_is_ready()
            and self._node.count_publishers('vlm/partial_answer') > 0,
            'The service of the vlm node', _MESSAGE_SECONDS,
        )

    def show(self, scene: Scene) -> Truth:
        """Let the camera show a scene; return what it publishes about it."""
        self._set_scene.publish(String(data=Truth(scene, Time(), '').to_json()))
        self._until(
            lambda: self._truth is not None and self._truth.scene == scene,
            'The scene', _MESSAGE_SECONDS,
        )
        assert self._truth
        return self._truth

    def frame_of(self, truth: Truth) -> np.ndarray:
        """Wait for a picture of this scene from the camera: uint8, RGB."""
        self._until(
            lambda: to_seconds(self._newest.header.stamp) >= to_seconds(truth.stamp),
            'An image of the scene', _MESSAGE_SECONDS,
        )
        return to_rgb(self._newest)

    def ask(
        self, way: str, question: SceneQuestion, truth: Truth, on_text: Callable[[str], None]
    ) -> DemoAnswer:
        """Ask by service or by action; on_text gets the answer so far, from ~/partial_answer."""
        fields: AskFields = {'not_before': truth.stamp, 'timeout': _ANSWER_SECONDS / 2}
        known = set(self._pieces)

        def show() -> None:
            for key in self._pieces.keys() - known:
                on_text(''.join(piece.delta for piece in self._pieces[key]))

        if way == 'action':
            future = self._vlm.ask_async(question.text, check=False, **fields)
            future.add_done_callback(lambda _: self._executor.wake())
            self._until(future.done, 'The answer', _ANSWER_SECONDS, show)
            answer = future.result()
        else:
            request = Ask.Request(question=question.text)
            fill(request, fields)
            call = self._service.call_async(request)
            self._until(call.done, 'The answer', _ANSWER_SECONDS, show)
            answer = make_answer(call.result())
        pieces = self._pieces[answer.request_id]
        if answer.request_id:  # the pieces come on a topic of their own, which may be later
            self._until(
                lambda: bool(pieces) and pieces[-1].done, 'The last piece', _MESSAGE_SECONDS
            )
        return DemoAnswer(way, question, truth, answer, tuple(pieces))

    def locate(self, things: str, truth: Truth) -> tuple[Answer, bytes]:
        """Ask where things are; return the answer and the JPEG of `~/annotated`, if it has one."""
        seen: list[CompressedImage] = []
        topic = 'vlm/annotated'
        view = self._node.create_subscription(CompressedImage, topic, seen.append, 10)
        self._until(lambda: self._node.count_publishers(topic) > 0, topic, _MESSAGE_SECONDS)
        # On a busy machine, the depth may be late, or the node knows nothing of the view yet.
        for _ in range(_LOCATE_ATTEMPTS):
            seen.clear()
            future = self._vlm.ask_async(things, check=False, locate=True, not_before=truth.stamp)
            self._until(future.done, 'The answer', _ANSWER_SECONDS)
            answer = future.result()
            if not answer.ok:
                break
            with suppress(NoAnswerError):
                self._until(lambda: bool(seen), 'The picture', _MESSAGE_SECONDS)
            if seen and all(place.point for place in answer.places):
                break
        if answer.ok and not seen:
            raise NoAnswerError('The picture did not come in time.')
        self._node.destroy_subscription(view)
        return answer, b''.join(bytes(message.data) for message in seen[-1:])

    def wait(self) -> None:
        """Wait until `check` raises."""
        while True:
            self._spin_once()

    def _until(
        self,
        condition: Callable[[], bool],
        what: str,
        seconds: float,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait for a condition; `meanwhile` is called after every message."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise NoAnswerError(f'{what} did not come in time.')
            self._spin_once()
            meanwhile()

    def _spin_once(self) -> None:
        self._check()
        self._executor.spin_once(timeout_sec=_POLL)

    def _on_truth(self, message: String) -> None:
        self._truth = Truth.from_json(message.data)

    def _on_frame(self, message: Image) -> None:
        self._newest = message

    def _on_piece(self, message: PartialAnswer) -> None:
        self._pieces[message.request_id].append(message)
