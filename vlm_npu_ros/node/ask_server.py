# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The Ask service, the Ask action and the topic of partial answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import time
from typing import Any

import psutil
from rclpy.action import CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from vlm_npu_ros.action import Ask as AskAction
from vlm_npu_ros.engine.errors import as_vlm_error, CancelledError, VlmError
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.types import FinishReason, Source
from vlm_npu_ros.msg import GenerationStats, PartialAnswer, Sentence
from vlm_npu_ros.node.ask import Ask, Piece
from vlm_npu_ros.node.ask_options import AskOptions
from vlm_npu_ros.node.ask_queue import AskQueue
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.frames import duration
from vlm_npu_ros.node.io_node import DEPTH, InFlight, IoNode, LAST_RESULTS
from vlm_npu_ros.node.lifecycle import inactive_error
from vlm_npu_ros.node.presence import Presence
from vlm_npu_ros.node.sentences import SentencePublisher
from vlm_npu_ros.srv import Ask as AskService

_MEMORY_PERIOD = 1.0  # seconds; reading it at each question takes longer than sending an answer
_PROCESS = psutil.Process()


class AskServer:
    """
    Accepts questions by service and action, and passes them to the queue of the active node.

    node: offers the topics. io: offers service and action; open questions are coroutines of it.
    check: converts a request (of either kind) to AskOptions or raises RequestError.
    backend, engine: for the statistics; '' if the answer names its backend.
    """

    def __init__(
        self,
        node: Node,
        io: IoNode,
        clock: StampClock,
        check: Callable[[Any], AskOptions],
        backend: str,
        engine: Engine,
    ) -> None:
        self._node, self._io, self._clock = node, io, clock
        self._check = check
        self._backend, self._engine = backend, engine
        self._queue: AskQueue | None = None
        self._goals: dict[bytes, Ask] = {}  # the open ones
        self._in_flight = InFlight()
        self._memory = 0  # resident bytes of this process, at `_memory_read`, time.monotonic()
        self._memory_read = -_MEMORY_PERIOD
        self._partials = node.create_publisher(PartialAnswer, '~/partial_answer', DEPTH)
        self._sentences = node.create_publisher(Sentence, '~/sentence', DEPTH)
        service, action = node.resolve_service_name('~/ask'), io.resolve_action_name('~/ask')
        self._requesters = Presence(node, io, service, self._client_gone, is_action=False)
        self._goal_senders = Presence(node, io, action, self._client_gone, is_action=True)
        self._service = io.create_service(
            AskService,
            service,
            self._serve,
            qos_profile=DEPTH,
            callback_group=ReentrantCallbackGroup(),
        )
        self._action = io.create_action_server(
            AskAction, action, self._execute, self._accept, self._cancel
        )

    def use(self, queue: AskQueue | None) -> None:
        """Pass questions to this queue from now on; without one they end as inactive."""
        self._queue = queue

    def close(self) -> None:
        """Remove the interfaces after the answers of ended questions have been sent."""
        self._requesters.close()
        self._goal_senders.close()
        self._io.run()  # afterwards, accepted goals have begun
        self._in_flight.wait(LAST_RESULTS)
        self._io.run(self._remove)
        self._node.destroy_publisher(self._partials)
        self._node.destroy_publisher(self._sentences)

    def _remove(self) -> None:
        self._action.destroy()
        self._io.destroy_service(self._service)

    async def _serve(
        self, request: AskService.Request, response: AskService.Response
    ) -> AskService.Response:
        with self._in_flight:
            self._requesters.look()
            await self._answer(request, response, self._requesters)
            await self._requesters.discovered()
        return response

    async def _accept(self, _: AskAction.Goal) -> GoalResponse:
        self._goal_senders.look()
        await self._goal_senders.discovered()
        return GoalResponse.ACCEPT

    async def _execute(self, goal: ServerGoalHandle) -> AskAction.Result:
        result = AskAction.Result()
        with self._in_flight:
            await self._answer(goal.request, result, self._goal_senders, goal)
            finish(goal, result)
        return result

    def _cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        ask = self._goals.get(key_of(goal))
        if ask:
            self._end(ask, 'The question was cancelled')
        return CancelResponse.ACCEPT

    async def _answer(
        self,
        request: Any,
        result: Any,
        clients: Presence[Ask],
        goal: ServerGoalHandle | None = None,
    ) -> None:
        """Pass a question to the queue, and fill in its result when it has ended."""
        ended, queue = self._io.completion(), self._queue
        try:
            if queue is None:
                raise inactive_error(self._node)
            ask = Ask(
                self._check(request),
                self._publisher(),
                _feedback_to(goal),
                lambda _: ended.complete(),
            )
            queue.submit(ask)
            self._read_memory()
            goal_id = key_of(goal) if goal else b''
            with clients.watching(ask, goal_id), self._cancellable(goal, ask):
                await ended.wait()
            self._fill(result, ask)
        except Exception as error:
            _fill_error(result, as_vlm_error(error))

    def _read_memory(self) -> None:
        now = time.monotonic()
        if now > self._memory_read + _MEMORY_PERIOD:
            self._memory, self._memory_read = _PROCESS.memory_info().rss, now

    @contextmanager
    def _cancellable(self, goal: ServerGoalHandle | None, ask: Ask) -> Iterator[None]:
        """Connect a cancel of the goal with its question."""
        if goal is None:
            yield
            return
        self._goals[key_of(goal)] = ask
        if goal.is_cancel_requested:  # before the question existed
            self._cancel(goal)
        try:
            yield
        finally:
            del self._goals[key_of(goal)]

    def _client_gone(self, ask: Ask) -> None:
        self._node.get_logger().info(f'The client of question {ask.request_id} has gone')
        self._end(ask, 'The client has gone')

    def _end(self, ask: Ask, reason: str) -> None:
        queue = self._queue
        if queue:
            queue.end(ask, CancelledError(reason))

    def _publisher(self) -> Callable[[Ask, Piece], None]:
        sentences = SentencePublisher(self._sentences)

        def publish(ask: Ask, piece: Piece) -> None:
            self._publish(ask, piece)
            sentences.take(ask, piece)

        return publish

    def _publish(self, ask: Ask, piece: Piece) -> None:
        if not self._partials.get_subscription_count():  # publishing to nobody costs as much
            return
        message = PartialAnswer(
            header=ask.header,
            request_id=ask.request_id,
            conversation_id=ask.options.conversation_id,
            sequence=piece.sequence,
            delta=piece.delta,
            thought=piece.thought,
            retracts=piece.retracts,
            done=piece.finish_reason is not None,
            finish_reason=piece.finish_reason.value if piece.finish_reason else '',
        )
        self._partials.publish(message)

    def _fill(self, result: Any, ask: Ask) -> None:
        result.success = True
        if ask.error:
            _fill_error(result, ask.error)
        result.answer = ask.answer
        result.request_id = ask.request_id
        assert ask.finish_reason
        result.finish_reason = ask.finish_reason.value
        result.stats = statistics(ask, self._backend, self._engine, self._memory)
        result.frame_stamps = list(ask.stamps)
        result.dropped_turns, result.note = ask.dropped_turns, ask.note
        fill_choice(result, ask)
        result.located = ask.located
        if ask.frame:
            result.header = ask.frame.header
            # A picture of a request need not have a stamp.
            age = self._clock.now() - ask.frame.stamp if ask.frame.stamp else 0
            result.frame_age = duration(age)


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


def _fill_error(result: Any, error: VlmError) -> None:
    result.success = False
    result.error_code = error.code
    result.error_msg = str(error)
    result.finish_reason = FinishReason.ERROR.value


def key_of(goal: ServerGoalHandle) -> bytes:
    """Return the id of a goal."""
    return bytes(goal.goal_id.uuid)


def finish(goal: ServerGoalHandle, result: Any) -> None:
    """Set the state of a goal according to its result."""
    if result.success:
        goal.succeed()
    elif result.error_code == CancelledError.code and goal.is_cancel_requested:
        goal.canceled()
    else:
        goal.abort()


def fill_choice(result: Any, ask: Ask) -> None:
    """Fill in what a message says about the choice or the number."""
    verdict = ask.verdict
    if verdict is None:
        return
    unclear = AskService.Response.CHOICE_UNCLEAR
    result.choice_index = unclear if verdict.index is None else verdict.index
    result.choice = ask.options.request.decided(verdict)
    result.number, result.confidence = verdict.number or 0.0, verdict.probability or 0.0
    result.decided_by = verdict.decided_by.value


def statistics(ask: Ask, backend: str, engine: Engine, memory: int) -> GenerationStats:
    """
    Compute what the answer cost; stages that did not happen are 0.

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
        frame_wait_seconds=ready - times.asked - times.encode,
        encode_seconds=times.encode,
        queue_seconds=begun - ready,
        total_seconds=ended - times.asked,
        memory_bytes=engine.memory or memory,
    )
    if times.first_piece:
        stats.first_token_seconds = times.first_piece - times.asked
    figures = ask.figures
    if figures:
        stats.image_tokens = figures.image_tokens
        stats.prompt_tokens = figures.prompt_tokens
        stats.read_ahead_tokens = figures.read_ahead_tokens
        stats.new_tokens = figures.new_tokens
        stats.thought_tokens = figures.thought_tokens
        stats.prefill_seconds = figures.prefill_seconds
        stats.decode_seconds = figures.decode_seconds
        if figures.prefill_seconds > 0:
            stats.prefill_tokens_per_second = figures.prompt_tokens / figures.prefill_seconds
        if figures.decode_seconds > 0 and figures.new_tokens > 1:
            stats.tokens_per_second = (figures.new_tokens - 1) / figures.decode_seconds
    return stats
