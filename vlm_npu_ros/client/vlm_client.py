# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The client of a vlm node."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterable
from dataclasses import dataclass
import time
from typing import TYPE_CHECKING

from lifecycle_msgs.srv import GetState
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.utilities import get_default_context
from vlm_npu_ros.client.answer import (
    Answer,
    AnswerFuture,
    AnswerStream,
    NodeUnavailableError,
    Place,
    VlmClientError,
)
from vlm_npu_ros.client.ask_thread import AskThread
from vlm_npu_ros.client.fields import AskFields
from vlm_npu_ros.client.goal_ids import new_node_name
from vlm_npu_ros.client.messages import Conversation, make_conversation, make_goal
from vlm_npu_ros.client.names import full_name
from vlm_npu_ros.client.start import explained, start_ros
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import VlmError
from vlm_npu_ros.srv import Conversations

if TYPE_CHECKING:
    from typing_extensions import Unpack

_POLL = 0.05  # seconds between polls of what sends no notice: the graph, the state
_STATE_SECONDS = 1.0  # a node that is just starting may not be able to answer


@dataclass(frozen=True)
class NodeStatus:
    """
    Status of a node.

    state: of its lifecycle: unconfigured, inactive, active, ...; '' = no such node.
    ready: it answers questions now.
    """

    node: str
    state: str
    ready: bool


class VlmClient:
    """
    Asks a node what its cameras see; a context manager.

        with VlmClient() as vlm:
            vlm.wait_until_ready()
            if vlm.ask('is the path clear?', yes_no=True, max_age=1.0).choice == 'yes':
                drive()
            for piece in vlm.stream('what is in front of me?', camera='front'):
                print(piece, end='', flush=True)

    The keywords of a question are those of AskFields.

    It has a ROS node and a thread of its own, so its methods may be called in any thread and in
    callbacks of other nodes. Code that runs in its own thread (on_text of ask_async, callbacks of
    futures) must not call methods that wait: they raise RuntimeError there.

    node_name, namespace: the node, `('vlm', 'robot1')` or `('/robot1/vlm')`.
    context: None = the default one if it is initialised, otherwise a new one.
    discovery_timeout: seconds to find the node and to have it accept a question, before
        NodeUnavailableError; on a busy machine DDS needs several.
    Raises ValueError if the names cannot be those of a node, VlmClientError if ROS does not start.
    """

    def __init__(
        self,
        node_name: str = 'vlm',
        namespace: str = '',
        context: Context | None = None,
        discovery_timeout: float = 10.0,
    ) -> None:
        self.name = full_name(node_name, namespace)
        self._patience = discovery_timeout
        self._owns_context = context is None and not rclpy.ok()
        if self._owns_context:
            context = Context()
        self._context = context or get_default_context()
        self._node = self._start()
        self._state = self._node.create_client(GetState, f'{self.name}/get_state')
        self._memory = self._node.create_client(Conversations, f'{self.name}/conversations')
        self._thread = AskThread(self._node, self.name, discovery_timeout, self._missing)
        self._closed = False
        # A daemon thread inside ROS code can crash the interpreter at exit.
        atexit.register(self.close)

    def _start(self) -> Node:
        try:
            if self._owns_context:
                start_ros([], self._context)
            with explained():
                # Names and remappings on the command line are for the program, not for this node.
                return Node(
                    new_node_name(), context=self._context,
                    use_global_arguments=False, enable_rosout=False,
                    start_parameter_services=False,
                )
        except VlmError as error:
            raise VlmClientError(str(error)) from error

    def __enter__(self) -> VlmClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel the open questions and leave the ROS graph."""
        if self._closed:
            return
        self._thread.close()
        self._closed = True
        atexit.unregister(self.close)
        self._node.destroy_node()
        if self._owns_context:
            self._context.try_shutdown()

    def ask(
        self,
        question: str,
        *,
        on_text: Callable[[str], None] | None = None,
        check: bool = True,
        **fields: Unpack[AskFields],
    ) -> Answer:
        """
        Ask and wait for the answer; fields as in AskFields.

        on_text: called with each piece of the answer, in the calling thread.
        check: raise AskError if the answer is not complete, instead of returning it.
        Raises NodeUnavailableError, and ValueError for a value that no request can hold.
        """
        with self.stream(question, check=check, **fields) as stream:
            for text in stream:
                if on_text:
                    on_text(text)
        assert stream.answer
        return stream.answer

    def locate(self, thing: str, **fields: Unpack[AskFields]) -> list[Place]:
        """
        Ask where things are, such as 'the red box' or 'all doors'; [] if none is seen.

        Fields and errors as in `ask`; AskError of code NOT_SUPPORTED if the model cannot tell.
        """
        fields['locate'] = True
        return self.ask(thing, **fields).places

    def stream(
        self, question: str, *, check: bool = True, **fields: Unpack[AskFields]
    ) -> AnswerStream:
        """Ask and iterate over the pieces of the answer; fields and errors as in `ask`."""
        self._thread.refuse_inside()
        return AnswerStream(
            lambda on_text: self.ask_async(question, on_text=on_text, check=check, **fields)
        )

    def ask_async(
        self,
        question: str,
        *,
        on_text: Callable[[str], None] | None = None,
        check: bool = True,
        **fields: Unpack[AskFields],
    ) -> AnswerFuture:
        """
        Ask without waiting; the future gives the answer, or raises the errors of `ask`.

        on_text is called in the client's thread and must return quickly. An exception in it
        cancels the question and becomes that of the future.
        """
        return self._thread.ask(make_goal(question, **fields), on_text, check)

    def status(self, timeout: float | None = None) -> NodeStatus:
        """Find the node and its state; wait up to timeout (default: discovery_timeout) for it."""
        deadline = time.monotonic() + (self._patience if timeout is None else timeout)
        try:
            response = self._thread.call(self._state, GetState.Request(), deadline)
        except NodeUnavailableError:
            return NodeStatus(self.name, '', False)
        state = response.current_state.label
        return NodeStatus(self.name, state, state == 'active' and self._thread.finds(deadline))

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Wait until the node is active; raise NodeUnavailableError after timeout (seconds)."""
        deadline = time.monotonic() + timeout
        while not (status := self.status(min(timeout, _STATE_SECONDS))).ready:
            if time.monotonic() > deadline:
                raise NodeUnavailableError(
                    f'{self.name} is {status.state} after {in_words(timeout)}, not active: see '
                    'its log'
                    if status.state else self._missing()
                )
            time.sleep(_POLL)

    def conversations(
        self, *, clear: Iterable[str] = (), clear_all: bool = False
    ) -> list[Conversation]:
        """List the dialogues that the node remembers, after it has forgotten those to clear."""
        request = Conversations.Request(clear=list(clear), clear_all=clear_all)
        deadline = time.monotonic() + self._patience
        response = self._thread.call(self._memory, request, deadline)
        return [make_conversation(told) for told in response.conversations]

    def _missing(self) -> str:
        # Services and node names are discovered in any order.
        known = (f'{space.rstrip("/")}/{name}' for name, space
                 in self._node.get_node_names_and_namespaces())
        if self._state.service_is_ready() or self.name in known:
            return (
                f'{self.name} is there, but does not take questions: it loads its models, or '
                f'could not. See its log, and: ros2 lifecycle get {self.name}'
            )
        return (
            f'No node {self.name} is found in ROS domain {self._context.get_domain_id()}. '
            'Start it: ros2 launch vlm_npu_ros vlm.launch.py'
        )
