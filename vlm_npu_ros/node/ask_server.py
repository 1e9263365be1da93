"""The Ask service, the Ask action and the topic of partial answers."""

from __future__ import annotations

from collections.abc import Callable
import functools
import threading
import time
from typing import Any

from builtin_interfaces.msg import Duration
import psutil
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import CallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import QoSProfile
from vlm_npu_ros.action import Ask as AskAction
from vlm_npu_ros.engine.choices.instructions import UNCLEAR
from vlm_npu_ros.engine.errors import CancelledError, InactiveError, VlmError
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.types import FinishReason, Source
from vlm_npu_ros.msg import GenerationStats, PartialAnswer, Sentence
from vlm_npu_ros.node.ask import Ask, Piece
from vlm_npu_ros.node.ask_options import AskOptions
from vlm_npu_ros.node.ask_queue import AskQueue
from vlm_npu_ros.node.clients import Clients, gid_of
from vlm_npu_ros.node.discovery import Discovery
from vlm_npu_ros.node.frames import NANOSECONDS
from vlm_npu_ros.node.goal_server import GoalServer, key_of, LAST_RESULTS
from vlm_npu_ros.node.sentences import SentencePublisher
from vlm_npu_ros.srv import Ask as AskService

# More pieces than the longest answer has, for a slow subscriber, and more questions than come at
# once: with the usual depth of 10, the middleware drops the eleventh without a word.
_DEPTH = QoSProfile(depth=256)
_LONGEST = 2**31 * NANOSECONDS - 1  # what a Duration can hold
_RESULT_SECONDS = 10  # that a result is kept for a caller who does not fetch it
_PROCESS = psutil.Process()


class AskServer:
    """
    Takes questions by service and action, and hands them to the queue of the active node.

    Neither an executor's thread nor a coroutine is held while a question is open.

    check: makes AskOptions of a request (of either kind) or raises RequestError.
    backend, engine: what answers, for the statistics; '' where the answer says which one did.
    group: of the callbacks.
    """

    def __init__(
        self,
        node: Node,
        check: Callable[[Any], AskOptions],
        backend: str,
        engine: Engine,
        group: CallbackGroup,
    ) -> None:
        self._node = node
        self._check = check
        self._backend, self._engine = backend, engine
        self._queue: AskQueue | None = None
        self._goals: dict[bytes, Ask] = {}  # that are open
        self._memory = _PROCESS.memory_info().rss  # when a question came last
        self._open = 0  # requests of the service that are not answered
        self._idle = threading.Condition()
        self._partials = node.create_publisher(PartialAnswer, '~/partial_answer', _DEPTH)
        self._sentences = node.create_publisher(Sentence, '~/sentence', _DEPTH)
        self._clients = Clients(node, '~/ask', self._client_gone)
        self._discovery = Discovery(node, ['~/ask'], group)
        # The callback gives the request back as its response: only what sends it gets the header.
        self._service = node.create_service(
            AskService, '~/ask', lambda request, _: request, qos_profile=_DEPTH,
            callback_group=group,
        )
        self._respond = self._service.send_response
        self._service.send_response = self._take
        self._action = GoalServer(
            node,
            AskAction,
            '~/ask',
            self._begin,
            self._cancelled,
            callback_group=group,
            goal_service_qos_profile=_DEPTH,
            result_service_qos_profile=_DEPTH,
            feedback_pub_qos_profile=_DEPTH,
            result_timeout=_RESULT_SECONDS,
        )

    def use(self, queue: AskQueue | None) -> None:
        """Hand questions to this queue from now on; without one they end as inactive."""
        self._queue = queue

    def close(self) -> None:
        """Remove the interfaces, when the questions that have ended are answered."""
        self._discovery.close()
        with self._idle:
            self._idle.wait_for(lambda: not self._open, LAST_RESULTS)
        self._action.close()
        self._node.destroy_service(self._service)
        self._node.destroy_publisher(self._partials)
        self._node.destroy_publisher(self._sentences)
        self._clients.close()

    def _take(self, request: AskService.Request, header: Any) -> None:
        gid = gid_of(header)
        self._discovery.when_found(
            gid, functools.partial(self._begin_request, request, header, gid)
        )

    def _begin_request(
        self, request: AskService.Request, header: Any, gid: bytes | None
    ) -> None:
        def finish(fill: Callable[[], AskService.Response]) -> None:
            self._send_response(fill, header)

        self._count(1)
        self._start(request, AskService.Response(), gid, finish)

    def _send_response(self, fill: Callable[[], AskService.Response], header: Any) -> None:
        try:
            self._respond(fill(), header)
        except InvalidHandle:
            self._node.get_logger().warning('The service was removed under a question')
        except Exception as error:  # would end the thread that answers
            failure = f'{type(error).__name__}: {error}'
            self._node.get_logger().error(f'An answer can not be sent: {ascii(failure)}')
        finally:
            self._count(-1)

    def _begin(self, goal: ServerGoalHandle, gid: bytes | None) -> None:
        def finish(fill: Callable[[], AskAction.Result]) -> None:
            self._goals.pop(key_of(goal), None)
            self._action.finish(goal, fill)

        self._start(goal.request, AskAction.Result(), gid, finish, goal)

    def _count(self, change: int) -> None:
        with self._idle:
            self._open += change
            self._idle.notify_all()

    def _start(
        self,
        request: Any,
        result: Any,
        gid: bytes | None,
        finish: Callable[[Callable[[], Any]], None],
        goal: ServerGoalHandle | None = None,
    ) -> None:
        """Hand a question to the queue; at its end, `finish` gets what fills its result."""
        queue = self._queue
        try:
            if queue is None:
                name = self._node.get_fully_qualified_name()
                raise InactiveError(f'{name} is not active: ros2 lifecycle set {name} activate')
            options = self._check(request)
        except VlmError as error:
            finish(functools.partial(_fill_error, result, error))
            return
        except Exception as error:  # would end the executor
            unexpected = VlmError(f'{type(error).__name__}: {error}')
            finish(functools.partial(_fill_error, result, unexpected))
            return

        def on_done(ask: Ask) -> None:
            self._clients.forget(ask)
            finish(functools.partial(self._fill, result, ask))

        sentences = SentencePublisher(self._sentences)

        def on_piece(ask: Ask, piece: Piece) -> None:
            self._publish(ask, piece)
            sentences.take(ask, piece)

        ask = Ask(options, on_piece, _feedback_to(goal), on_done)
        if goal is not None:
            self._goals[key_of(goal)] = ask
        queue.submit(ask)
        self._clients.watch(ask, gid)
        if ask.done:  # it may have been before it was watched
            self._clients.forget(ask)
        self._memory = _PROCESS.memory_info().rss
        if goal is not None and goal.is_cancel_requested:  # before the queue had it
            self._cancelled(goal)

    def _cancelled(self, goal: ServerGoalHandle) -> None:
        self._end(self._goals.get(key_of(goal)), 'The question was cancelled')

    def _client_gone(self, ask: Ask) -> None:
        self._node.get_logger().info(f'The client of question {ask.request_id} has gone')
        self._end(ask, 'The client has gone')

    def _end(self, ask: Ask | None, reason: str) -> None:
        queue = self._queue
        if ask and queue:
            queue.end(ask, CancelledError(reason))

    def _publish(self, ask: Ask, piece: Piece) -> None:
        if not self._partials.get_subscription_count():  # what nobody hears takes as long
            return
        message = PartialAnswer(
            header=ask.header,
            request_id=ask.request_id,
            conversation_id=ask.options.conversation_id,
            sequence=piece.sequence,
            delta=piece.delta,
            done=piece.finish_reason is not None,
            finish_reason=piece.finish_reason.value if piece.finish_reason else '',
        )
        self._partials.publish(message)

    def _fill(self, result: Any, ask: Ask) -> Any:
        if ask.error:
            _fill_error(result, ask.error)
        result.success = ask.error is None
        result.answer = ask.answer
        result.request_id = ask.request_id
        assert ask.finish_reason
        result.finish_reason = ask.finish_reason.value
        result.stats = statistics(ask, self._backend, self._engine, self._memory)
        result.frame_stamps = list(ask.stamps)
        result.dropped_turns, result.note = ask.dropped_turns, ask.note
        fill_choice(result, ask)
        if ask.frame:
            result.header = ask.frame.header
            age = self._node.get_clock().now().nanoseconds - ask.frame.stamp
            result.frame_age = _duration(min(max(age, 0), _LONGEST))
        return result


def _feedback_to(goal: ServerGoalHandle | None) -> Callable[[Ask], None]:
    def publish(ask: Ask) -> None:
        if goal is not None and ask.stage is not None:
            goal.publish_feedback(
                AskAction.Feedback(
                    stage=ask.stage.value,
                    partial_answer=ask.answer,
                    queue_position=ask.position,
                )
            )

    return publish


def _fill_error(result: Any, error: VlmError) -> Any:
    result.error_code = error.code
    result.error_msg = str(error)
    result.finish_reason = FinishReason.ERROR.value
    return result


def fill_choice(result: Any, ask: Ask) -> None:
    """Fill in choice_index, choice and confidence of a message that has them."""
    verdict = ask.verdict
    if verdict is None:
        return
    result.confidence = verdict.probability or 0.0
    if verdict.index is None:
        result.choice_index, result.choice = AskService.Response.CHOICE_UNCLEAR, UNCLEAR
    else:
        result.choice_index = verdict.index
        result.choice = ask.options.request.choices[verdict.index]


def _duration(nanoseconds: int) -> Duration:
    return Duration(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def statistics(ask: Ask, backend: str, engine: Engine, memory: int) -> GenerationStats:
    """
    Return what the answer cost; stages that did not happen are 0.

    memory: resident bytes of this process.
    """
    times = ask.times
    ended = times.ended or time.monotonic()
    ready = times.frame_ready or ended
    begun = times.begun or ended
    source = ask.source or Source(backend, engine.model_name if backend else '')
    stats = GenerationStats(
        backend=source.backend,
        model=source.model,
        frame_wait_ms=1000 * (ready - times.asked - times.encode),
        encode_ms=1000 * times.encode,
        queue_ms=1000 * (begun - ready),
        total_ms=1000 * (ended - times.asked),
        memory_mb=(engine.memory or memory) / 2**20,
    )
    if times.first_piece:
        stats.first_token_ms = 1000 * (times.first_piece - times.asked)
    figures = ask.figures
    if figures:
        stats.image_tokens = figures.image_tokens
        stats.prompt_tokens = figures.prompt_tokens
        stats.new_tokens = figures.new_tokens
        stats.prefill_ms = 1000 * figures.prefill_seconds
        stats.decode_ms = 1000 * figures.decode_seconds
        if figures.prefill_seconds > 0:
            stats.prefill_tokens_per_second = figures.prompt_tokens / figures.prefill_seconds
        if figures.decode_seconds > 0 and figures.new_tokens > 1:
            stats.tokens_per_second = (figures.new_tokens - 1) / figures.decode_seconds
    return stats
