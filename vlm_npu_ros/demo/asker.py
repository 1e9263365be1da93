"""Shows scenes to a camera and asks about them, as a program of somebody else's would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import threading
import time
from types import TracebackType
from typing import Any

from builtin_interfaces.msg import Duration, Time
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
import numpy as np
import rclpy
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, qos_profile_sensor_data, QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vlm_npu_ros.action import Ask as AskAction
from vlm_npu_ros.demo.questions import Question
from vlm_npu_ros.demo.scenes import Scene
from vlm_npu_ros.demo.truth import Truth
from vlm_npu_ros.msg import PartialAnswer
from vlm_npu_ros.node.conversions import to_rgb
from vlm_npu_ros.srv import Ask as AskService

START_SECONDS = 60.0
ANSWER_SECONDS = 60.0
_MESSAGE_SECONDS = 15.0
_STATE_SECONDS = 2.0
_POLL = 0.1  # seconds between looks at what gives no notice: the graph, processes, signals


class NoAnswerError(Exception):
    """Something over ROS did not come in time."""


@dataclass(frozen=True)
class Answer:
    """What came back for a question. `pieces` are those of the topic of partial answers."""

    way: str  # 'service' or 'action'
    question: Question
    truth: Truth
    result: Any  # AskService.Response or AskAction.Result, which have the same fields
    pieces: tuple[PartialAnswer, ...]

    @property
    def right(self) -> bool:
        """Return whether it is the one right answer."""
        return self.result.success and self.result.answer.strip() == self.question.answer

    @property
    def fault(self) -> str:
        """Return why this is no answer about the scene that was streamed and came whole, or ''."""
        result = self.result
        if not result.success:
            return f'error {result.error_code}: {result.error_msg}'
        if result.header.frame_id != self.truth.frame_id:
            return f'the answer is about a frame of {result.header.frame_id!r}'
        if nanoseconds(result.header.stamp) < nanoseconds(self.truth.stamp):
            return 'the answer is about a frame of the scene before'
        if [piece.sequence for piece in self.pieces] != list(range(len(self.pieces))):
            return 'pieces of the answer were lost or came out of order'
        if ''.join(piece.delta for piece in self.pieces) != result.answer:
            return 'the pieces of the answer do not add up to it'
        return ''


class Asker:
    """
    A node with clients of the camera and of the vlm node; a context manager.

    check: raises where it is in vain, or not wanted, to wait any longer.
    """

    def __init__(self, domain_id: int, check: Callable[[], None]) -> None:
        self._check = check
        self._changed = threading.Condition()
        self._truth: Truth | None = None
        self._frame: Image | None = None
        self._pieces: dict[str, list[PartialAnswer]] = {}
        self._failure: Exception | None = None
        self._context = Context()
        rclpy.init(
            context=self._context,
            domain_id=domain_id,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self._node = rclpy.create_node('asker', context=self._context)
        self._connect()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._stop = Future(executor=self._executor)
        self._thread = threading.Thread(target=self._spin, name='asker')
        self._thread.start()

    def _connect(self) -> None:
        node = self._node
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._set_scene = node.create_publisher(String, 'scene_camera/set_scene', 10)
        node.create_subscription(String, 'scene_camera/scene', self._on_truth, latched)
        node.create_subscription(
            Image, 'camera/image_raw', self._on_frame, qos_profile_sensor_data
        )
        node.create_subscription(PartialAnswer, 'vlm/partial_answer', self._on_piece, 1000)
        self._service = node.create_client(AskService, 'vlm/ask')
        self._action = ActionClient(node, AskAction, 'vlm/ask')
        self._state = node.create_client(GetState, 'vlm/get_state')

    def _spin(self) -> None:
        try:
            self._executor.spin_until_future_complete(self._stop)
        except Exception as error:
            self._failure = error

    def __enter__(self) -> Asker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set_result(None)
        self._executor.wake()
        self._thread.join()
        self._executor.shutdown()
        self._action.destroy()
        self._node.destroy_node()
        self._context.try_shutdown()

    def wait_for_camera(self) -> None:
        """Wait until the camera can be told what to show and its images arrive."""
        self._until(
            lambda: self._set_scene.get_subscription_count() > 0 and self._frame is not None,
            'The camera', START_SECONDS,
        )

    def wait_for_vlm(self) -> None:
        """Wait until the vlm node is active; raise NoAnswerError if it can not be configured."""
        self._until(self._state.service_is_ready, 'The vlm node', START_SECONDS)
        deadline = time.monotonic() + START_SECONDS
        begun = False
        state = None
        while state != State.PRIMARY_STATE_ACTIVE:
            state = self._ask_state()
            if begun and state == State.PRIMARY_STATE_UNCONFIGURED:
                raise NoAnswerError('The vlm node could not be configured.')
            begun = begun or state not in (None, State.PRIMARY_STATE_UNCONFIGURED)
            if time.monotonic() > deadline:
                raise NoAnswerError(f'The vlm node is not active after {START_SECONDS:.0f} s.')
            self._pause()
        self._until(
            lambda: self._service.service_is_ready()
            and self._action.server_is_ready()
            and self._node.count_publishers('vlm/partial_answer') > 0,
            'The service and the action of the vlm node', _MESSAGE_SECONDS,
        )

    def _ask_state(self) -> int | None:
        """Return the id of the vlm node's state; None if it does not say so now."""
        call = self._state.call_async(GetState.Request())
        try:
            return self._await(call, 'The state', _STATE_SECONDS).current_state.id
        except NoAnswerError:
            return None

    def show(self, scene: Scene) -> Truth:
        """Let the camera show a scene; return the camera's word on it."""
        self._set_scene.publish(String(data=Truth(scene, Time(), '').to_json()))
        self._until(
            lambda: self._truth is not None and self._truth.scene == scene,
            'The scene', _MESSAGE_SECONDS,
        )
        assert self._truth
        return self._truth

    def frame_of(self, truth: Truth) -> np.ndarray:
        """Return a picture of this scene as it came from the camera: uint8, RGB."""
        self._until(
            lambda: nanoseconds(self._frame.header.stamp) >= nanoseconds(truth.stamp),
            'An image of the scene', _MESSAGE_SECONDS,
        )
        return to_rgb(self._frame)

    def ask_by_service(
        self, question: Question, truth: Truth, on_text: Callable[[str], None]
    ) -> Answer:
        """Ask, hand the answer on from the topic of partial answers, and return it."""
        known = set(self._pieces)

        def text() -> str:
            new = [pieces for key, pieces in self._pieces.items() if key not in known]
            return ''.join(piece.delta for piece in new[0]) if new else ''

        call = self._service.call_async(_fill(AskService.Request(), question, truth))
        result = self._follow(call, text, on_text)
        return self._answer('service', question, truth, result)

    def ask_by_action(
        self, question: Question, truth: Truth, on_text: Callable[[str], None]
    ) -> Answer:
        """Ask, hand the answer on from the feedback, and return it."""
        so_far = ['']

        def on_feedback(message: Any) -> None:
            so_far.append(message.feedback.partial_answer)
            self._notify()

        goal = _fill(AskAction.Goal(), question, truth)
        accepted = self._action.send_goal_async(goal, feedback_callback=on_feedback)
        handle = self._await(accepted, 'The goal response', _MESSAGE_SECONDS)
        if not handle.accepted:
            raise NoAnswerError(f'The goal was rejected: {question.text}')
        result = self._follow(handle.get_result_async(), lambda: so_far[-1], on_text).result
        return self._answer('action', question, truth, result)

    def _follow(
        self, call: Future, text: Callable[[], str], on_text: Callable[[str], None]
    ) -> Any:
        """Wait for a result and hand on what is new of the text meanwhile."""
        deadline = time.monotonic() + ANSWER_SECONDS
        call.add_done_callback(self._notify)
        shown = 0
        while not call.done():
            self._until(
                lambda: call.done() or len(text()) > shown,
                'The answer', deadline - time.monotonic(),
            )
            so_far = text()
            on_text(so_far[shown:])
            shown = len(so_far)
        return call.result()

    def _answer(self, way: str, question: Question, truth: Truth, result: Any) -> Answer:
        """Make an answer of a result, with its pieces: another topic, which may come later."""
        pieces = self._pieces.setdefault(result.request_id, [])
        if result.request_id:
            self._until(
                lambda: bool(pieces) and pieces[-1].done, 'The last piece', _MESSAGE_SECONDS
            )
        return Answer(way, question, truth, result, tuple(pieces))

    def _await(self, call: Future, what: str, seconds: float) -> Any:
        call.add_done_callback(self._notify)
        self._until(call.done, what, seconds)
        return call.result()

    def _until(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise NoAnswerError(f'{what} did not come in time.')
            self._pause(condition)

    def _pause(self, condition: Callable[[], bool] = lambda: False) -> None:
        """Wait for a message, a result or the next look."""
        self._check()
        if self._failure:
            raise self._failure
        with self._changed:
            self._changed.wait_for(condition, _POLL)

    def _notify(self, _: object = None) -> None:
        with self._changed:
            self._changed.notify_all()

    def _on_truth(self, message: String) -> None:
        self._truth = Truth.from_json(message.data)
        self._notify()

    def _on_frame(self, message: Image) -> None:
        self._frame = message
        self._notify()

    def _on_piece(self, message: PartialAnswer) -> None:
        self._pieces.setdefault(message.request_id, []).append(message)
        self._notify()


def nanoseconds(stamp: Time) -> int:
    """Return a stamp as one number."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def _fill(request: Any, question: Question, truth: Truth) -> Any:
    request.question = question.text
    request.not_before = truth.stamp
    request.timeout = Duration(sec=int(ANSWER_SECONDS / 2))
    return request
