"""Shows scenes to a camera and asks about them, as a program of somebody else's would."""

from __future__ import annotations

from collections.abc import Callable
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
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import String
from vlm_npu_ros.action import Ask as AskAction
from vlm_npu_ros.demo.answers import Answer, nanoseconds
from vlm_npu_ros.demo.questions import Question
from vlm_npu_ros.demo.scenes import Scene
from vlm_npu_ros.demo.truth import Truth
from vlm_npu_ros.msg import PartialAnswer
from vlm_npu_ros.node.conversions import to_rgb
from vlm_npu_ros.srv import Ask as AskService

START_SECONDS = 60.0
ANSWER_SECONDS = 60.0
_MESSAGE_SECONDS = 15.0
_STATE_SECONDS = 0.5  # a node that is just starting may not be able to answer
_AUTOSTART_SECONDS = 4.0  # it begins to configure itself long before
_POLL = 0.1  # seconds between looks at what gives no notice: the graph, processes, signals


def _nothing() -> None:
    pass


class NoAnswerError(Exception):
    """Something over ROS did not come in time."""


class Asker:
    """
    A node with clients of the camera and of the vlm node; a context manager.

    check: raises where it is in vain, or not wanted, to wait any longer.
    """

    def __init__(self, domain_id: int, check: Callable[[], None]) -> None:
        self._check = check
        self._truth: Truth | None = None
        self._newest = Image()
        self._pieces: dict[str, list[PartialAnswer]] = {}
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

    def _connect(self) -> None:
        node = self._node
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._set_scene = node.create_publisher(String, 'scene_camera/set_scene', 10)
        node.create_subscription(String, 'scene_camera/scene', self._on_truth, latched)
        # Reliable, as the demo's camera: of best effort, every image can be lost for a while.
        node.create_subscription(Image, 'camera/image_raw', self._on_frame, QoSProfile(depth=1))
        node.create_subscription(PartialAnswer, 'vlm/partial_answer', self._on_piece, 1000)
        self._service = node.create_client(AskService, 'vlm/ask')
        self._action = ActionClient(node, AskAction, 'vlm/ask')
        self._state = node.create_client(GetState, 'vlm/get_state')

    def __enter__(self) -> Asker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown()
        self._action.destroy()
        self._node.destroy_node()
        self._context.try_shutdown()

    def wait_for_camera(self) -> None:
        """Wait until the camera can be told what to show and its images arrive."""
        self._until(
            lambda: self._set_scene.get_subscription_count() > 0 and len(self._newest.data) > 0,
            'The camera', START_SECONDS,
        )

    def wait_for_vlm(self) -> None:
        """Wait until the vlm node is active; raise NoAnswerError if it cannot be configured."""
        self._until(self._state.service_is_ready, 'The vlm node', START_SECONDS)
        started = time.monotonic()
        state = None
        while state != State.PRIMARY_STATE_ACTIVE:
            state = self._ask_state()
            waited = time.monotonic() - started
            if state == State.PRIMARY_STATE_UNCONFIGURED and waited > _AUTOSTART_SECONDS:
                raise NoAnswerError('The vlm node could not be configured.')
            if waited > START_SECONDS:
                raise NoAnswerError(f'The vlm node is not active after {START_SECONDS:.0f} s.')
            self._spin_once()
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
            self._state.remove_pending_request(call)
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
            lambda: nanoseconds(self._newest.header.stamp) >= nanoseconds(truth.stamp),
            'An image of the scene', _MESSAGE_SECONDS,
        )
        return to_rgb(self._newest)

    def ask_by_service(
        self, question: Question, truth: Truth, on_text: Callable[[str], None]
    ) -> Answer:
        """Ask, hand the answer so far on from the topic of partial answers, and return it."""
        known = set(self._pieces)

        def text() -> str:
            new = [pieces for key, pieces in self._pieces.items() if key not in known]
            return ''.join(piece.delta for piece in new[0]) if new else ''

        call = self._service.call_async(_fill(AskService.Request(), question, truth))
        result = self._await(call, 'The answer', ANSWER_SECONDS, lambda: on_text(text()))
        return self._answer('service', question, truth, result)

    def ask_by_action(
        self, question: Question, truth: Truth, on_text: Callable[[str], None]
    ) -> Answer:
        """Ask, hand the answer so far on from the feedback, and return it."""
        so_far = ['']

        def on_feedback(message: Any) -> None:
            so_far.append(message.feedback.partial_answer)

        goal = _fill(AskAction.Goal(), question, truth)
        accepted = self._action.send_goal_async(goal, feedback_callback=on_feedback)
        handle = self._await(accepted, 'The goal response', _MESSAGE_SECONDS)
        if not handle.accepted:
            raise NoAnswerError(f'The goal was rejected: {question.text}')
        result = self._await(
            handle.get_result_async(), 'The answer', ANSWER_SECONDS, lambda: on_text(so_far[-1])
        ).result
        return self._answer('action', question, truth, result)

    def wait(self) -> None:
        """Wait until `check` raises."""
        while True:
            self._spin_once()

    def _answer(self, way: str, question: Question, truth: Truth, result: Any) -> Answer:
        """Make an answer of a result, with its pieces: another topic, which may come later."""
        pieces = self._pieces.setdefault(result.request_id, [])
        if result.request_id:
            self._until(
                lambda: bool(pieces) and pieces[-1].done, 'The last piece', _MESSAGE_SECONDS
            )
        return Answer(way, question, truth, result, tuple(pieces))

    def _await(
        self, call: Future, what: str, seconds: float, meanwhile: Callable[[], None] = _nothing
    ) -> Any:
        self._until(call.done, what, seconds, meanwhile)
        return call.result()

    def _until(
        self,
        condition: Callable[[], bool],
        what: str,
        seconds: float,
        meanwhile: Callable[[], None] = _nothing,
    ) -> None:
        """Wait for a condition; `meanwhile` is called on everything that comes."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise NoAnswerError(f'{what} did not come in time.')
            self._spin_once()
            meanwhile()

    def _spin_once(self) -> None:
        """Take what comes next, in this thread: rclpy's action clients want no other."""
        self._check()
        self._executor.spin_once(timeout_sec=_POLL)

    def _on_truth(self, message: String) -> None:
        self._truth = Truth.from_json(message.data)

    def _on_frame(self, message: Image) -> None:
        self._newest = message

    def _on_piece(self, message: PartialAnswer) -> None:
        self._pieces.setdefault(message.request_id, []).append(message)


def _fill(request: Any, question: Question, truth: Truth) -> Any:
    request.question = question.text
    request.not_before = truth.stamp
    request.timeout = Duration(sec=int(ANSWER_SECONDS / 2))
    return request
