# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The thread that communicates with the node."""

from __future__ import annotations

from collections.abc import Callable
import concurrent.futures
from dataclasses import dataclass, field
import threading
import time
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from unique_identifier_msgs.msg import UUID
from vlm_npu_ros.action import Ask
from vlm_npu_ros.client.answer import (
    Answer,
    AnswerFuture,
    AskError,
    NodeUnavailableError,
    VlmClientError,
)
from vlm_npu_ros.client.goal_ids import new_goal_id
from vlm_npu_ros.client.messages import cancelled_answer, make_answer, to_seconds
from vlm_npu_ros.client.shared_memory import other_users
from vlm_npu_ros.engine.durations import in_words

_DEPTH = QoSProfile(depth=256)  # with the default of 10, more answers at once are dropped
_TICK = 0.05  # seconds between polls of what sends no notice: the graph, the clock
_CENSUS_PERIOD = 1.0  # seconds between checks that the node is still there
_RETRY = 1.0  # seconds; a node that has not discovered the client yet may drop its response
_ENDED = (GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED)
_CANCEL_SECONDS = 2.0  # to wait for questions to be cancelled when closing


@dataclass(eq=False)
class _Question:
    """A question that has no answer yet."""

    goal: Ask.Goal
    on_text: Callable[[str], None] | None
    check: bool
    future: AnswerFuture
    deadline: float  # time.monotonic() until which the node must react
    goal_id: UUID
    text: str = ''
    sent: int = 0  # how often
    send_at: float = 0.0  # time.monotonic() of the next attempt
    cancelled: bool = False
    handle: Any = None
    servers: set[bytes] = field(default_factory=set)  # endpoints of the node that accepted it


class AskThread:
    """
    Spins a node, and is the only thread to use its action client.

    rclpy 7.1 loses answers otherwise.

    name: absolute name of the node to ask. patience: seconds to find it and to have it accept a
    question. missing: gives the error message if that failed.
    """

    def __init__(self, node: Node, name: str, patience: float, missing: Callable[[], str]) -> None:
        self._node = node
        self._node_name = node.get_name()  # not later: the node may have been closed
        self._name = name
        self._patience = patience
        self._missing = missing
        self._lock = threading.Lock()
        self._closing = self._ended = False  # no new questions; the thread has ended
        self._questions: list[_Question] = []
        self._next_look = self._next_census = 0.0
        self._action = ActionClient(
            node,
            Ask,
            f'{name}/ask',
            goal_service_qos_profile=_DEPTH,
            result_service_qos_profile=_DEPTH,
            feedback_sub_qos_profile=_DEPTH,
        )
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._run, name='vlm_client', daemon=True)
        self._thread.start()

    def ask(
        self, goal: Ask.Goal, on_text: Callable[[str], None] | None, check: bool
    ) -> AnswerFuture:
        """Send a goal as soon as the node is found; raise VlmClientError if closed."""
        future = AnswerFuture(self._request_cancel)
        deadline = time.monotonic() + self._patience
        goal_id = UUID(uuid=list(new_goal_id(self._node_name)))
        with self._lock:
            self._refuse_closed()
            self._questions.append(_Question(goal, on_text, check, future, deadline, goal_id))
            self._next_look = 0.0
            self._executor.wake()
        return future

    def call(self, client: Any, request: Any, deadline: float) -> Any:
        """
        Call a service of the node, repeatedly if necessary.

        deadline: time.monotonic(). Raises NodeUnavailableError if no response comes until then.
        """
        self.refuse_inside()
        if not self._wait_for(client.service_is_ready, deadline):
            raise NodeUnavailableError(self._missing())
        while True:
            # Not by call(): its timeout differs from distribution to distribution.
            future, answered = client.call_async(request), threading.Event()
            future.add_done_callback(lambda _, answered=answered: answered.set())
            if answered.wait(min(_RETRY, max(deadline - time.monotonic(), _TICK))):
                return future.result()
            client.remove_pending_request(future)
            if time.monotonic() > deadline:
                raise NodeUnavailableError(
                    f'{client.srv_name} is there, but does not answer: see the log of the node'
                    f'{other_users()}'
                )

    def finds(self, deadline: float) -> bool:
        """Wait until the node accepts questions; return False if it does not by the deadline."""
        return self._wait_for(self._action.server_is_ready, deadline)

    def _wait_for(self, condition: Callable[[], bool], deadline: float) -> bool:
        self._refuse_closed()
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(_TICK)
            self._refuse_closed()
        return True

    def refuse_inside(self) -> None:
        """Raise RuntimeError in the client's own thread, which must not wait for itself."""
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                'This would wait for the thread that it is called in: on_text of ask_async and '
                'callbacks of its future may only call ask_async'
            )

    def close(self) -> None:
        """Cancel the open questions and end the thread."""
        self.refuse_inside()
        with self._lock:
            self._closing = True
            futures = [question.future for question in self._questions]
        for future in futures:
            future.cancel()
        concurrent.futures.wait(futures, _CANCEL_SECONDS)
        with self._lock:
            self._ended = True
        self._executor.wake()
        self._thread.join()
        self._action.destroy()
        self._executor.shutdown()

    def _request_cancel(self, future: AnswerFuture) -> None:
        with self._lock:
            if not self._ended:
                self._executor.create_task(self._cancel, future)

    def _refuse_closed(self) -> None:
        if self._closing or self._ended:
            raise VlmClientError('The client is closed, or ROS was shut down')

    # --- in the thread ---

    def _run(self) -> None:
        try:
            while self._node.context.ok() and not self._ended:
                self._executor.spin_once(timeout_sec=_TICK)
                self._look()
        except Exception:
            if self._node.context.ok():
                raise
        finally:
            with self._lock:
                self._ended = True
            for question in self._questions[:]:
                self._end(question, VlmClientError('The client was closed, or ROS shut down'))

    def _look(self) -> None:
        """Send what can be sent; end questions that have waited too long."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _TICK
        questions = self._questions[:]
        if questions and now > self._next_census:
            self._next_census = now + _CENSUS_PERIOD
            self._take_census(questions)
        for question in questions:
            if now > question.deadline:
                self._give_up(question)
            elif not question.handle and now > question.send_at:
                self._send(question)

    def _take_census(self, questions: list[_Question]) -> None:
        """End the questions whose node has gone: another one of its name will not answer."""
        topic = f'{self._name}/ask/_action/feedback'
        there = {
            bytes(end.endpoint_gid) for end in self._node.get_publishers_info_by_topic(topic)
        }
        for question in questions:
            if question.handle is None:
                continue
            question.servers = question.servers or there
            if not question.servers & there:
                self._end(question, NodeUnavailableError(f'{self._name} went away'))
            elif question.handle.status in _ENDED or not question.handle.accepted:
                self._fetch_result(question)  # again, because the response may have been dropped

    def _give_up(self, question: _Question) -> None:
        if question.handle:
            message = f'{self._name} has neither answered within the timeout nor reported it'
        elif question.sent:
            message = f'{self._name} has not taken the question within {in_words(self._patience)}'
            message += other_users()
        else:
            message = self._missing()
        self._end(question, NodeUnavailableError(message))

    def _send(self, question: _Question) -> None:
        """Send the question, perhaps again; the node recognises its id."""
        if not self._action.server_is_ready():
            return
        now = time.monotonic()
        if not question.sent:
            question.deadline = now + self._patience
        question.sent += 1
        question.send_at = now + _RETRY
        try:
            taken = self._action.send_goal_async(
                question.goal,
                lambda m: self._add(question, m.feedback.partial_answer),
                question.goal_id,
            )
        except Exception as error:  # a value that no message can hold
            self._end(question, error)
        else:
            taken.add_done_callback(lambda future: self._on_taken(question, future.result()))

    def _on_taken(self, question: _Question, handle: Any) -> None:
        if question.handle:
            return
        # A repetition is rejected if the first attempt was accepted.
        if not handle.accepted and question.sent == 1:
            self._end(question, VlmClientError(f'{self._name} has rejected the question'))
            return
        question.handle = handle
        timeout = to_seconds(question.goal.timeout) or float('inf')
        question.deadline = time.monotonic() + timeout + self._patience
        self._fetch_result(question)
        if question.cancelled or question.future.done():
            handle.cancel_goal_async()

    def _fetch_result(self, question: _Question) -> None:
        question.handle.get_result_async().add_done_callback(
            lambda future: self._on_result(question, future.result())
        )

    def _add(self, question: _Question, text: str) -> None:
        """Pass on the part of the answer that is new: all of it where the rest was a thought."""
        goes_on = text.startswith(question.text)
        new = text[len(question.text):] if goes_on else text
        if not new or question.future.done():
            return
        question.text = text
        try:
            if question.on_text:
                question.on_text(new)
        except Exception as error:
            self._cancel(question.future)
            self._end(question, error)

    def _on_result(self, question: _Question, response: Any) -> None:
        answer = make_answer(response.result)
        self._add(question, answer.text)  # the last feedback may arrive after the result
        self._finish(question, answer)

    def _cancel(self, future: AnswerFuture) -> None:
        for question in self._questions:
            if question.future is future:
                question.cancelled = True
                if question.handle:
                    question.handle.cancel_goal_async()
                elif not question.sent:
                    self._finish(question, cancelled_answer())
                return

    def _finish(self, question: _Question, answer: Answer) -> None:
        self._end(question, AskError(answer) if question.check and not answer.ok else answer)

    def _end(self, question: _Question, outcome: Answer | Exception) -> None:
        with self._lock:
            if question not in self._questions:
                return
            self._questions.remove(question)
        if isinstance(outcome, Answer):
            question.future.set_result(outcome)
        else:
            question.future.set_exception(outcome)
