# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The lifecycle node: cameras in, questions in, answers out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
import functools
import itertools
import os
import random
import signal
import socket
import sys
import threading
import time
from typing import Any

import rclpy
from rclpy.executors import MultiThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.parameter import Parameter
from vlm_npu_ros.client.start import explained, start_ros
from vlm_npu_ros.engine.breaker import Breaker
from vlm_npu_ros.engine.conversation import Conversations
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import InactiveError, VlmError
from vlm_npu_ros.engine.fallback import FallbackEngine
from vlm_npu_ros.engine.interface import Engine
from vlm_npu_ros.engine.isolated import IsolatedEngine
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.member import Member
from vlm_npu_ros.engine.process import StageLimits
from vlm_npu_ros.engine.progress import Caution, Event
from vlm_npu_ros.engine.registry import find
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.stream import Stream
from vlm_npu_ros.node.annotated import Annotations
from vlm_npu_ros.node.arguments import without_effect
from vlm_npu_ros.node.ask_options import AskOptions, check_request
from vlm_npu_ros.node.ask_queue import AskQueue
from vlm_npu_ros.node.ask_server import AskServer
from vlm_npu_ros.node.battery import Battery
from vlm_npu_ros.node.bond import start_bond
from vlm_npu_ros.node.cameras import CameraFeed
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.conversation_server import ConversationServer
from vlm_npu_ros.node.diagnostics import Diagnostics
from vlm_npu_ros.node.evaluations import Evaluations
from vlm_npu_ros.node.frame_encoder import FrameEncoder
from vlm_npu_ros.node.frames import CachedFrame, Freshness, NANOSECONDS
from vlm_npu_ros.node.io_node import IoNode, SpinThread
from vlm_npu_ros.node.lifecycle import ManagedNode, transition
from vlm_npu_ros.node.parameters import NodeParameters
from vlm_npu_ros.node.read_ahead import ReadAhead
from vlm_npu_ros.node.standing import StandingQuestions
from vlm_npu_ros.node.views import Views
from vlm_npu_ros.node.watch_server import WatchServer

_SWITCH = 0.001  # seconds that a thread may hold the GIL while others wait; Python's 5 ms add up
_THREADS = 4  # of the executor; only a transition keeps one busy
_PATIENCE = 2.5  # seconds to end everything; a supervisor that gets no end kills after 5 or so
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds between attempts to configure


class VlmNode(ManagedNode):
    """
    Answers questions about what its cameras see.

    unconfigured: nothing is loaded. inactive: models are loaded and interfaces exist; questions
    end as inactive. active: frames are encoded, questions are answered.

    Frames and questions come through an IoNode, which has a thread of its own. The owner of a
    VlmNode must spin it, and destroy it at the end.
    """

    def __init__(self, parameter_overrides: Sequence[Parameter] = (), **more: object) -> None:
        super().__init__('vlm', parameter_overrides=list(parameter_overrides), **more)
        try:
            self.parameters = NodeParameters(self, parameter_overrides)
        except Exception:
            super().destroy_node()  # since Kilted, the context would destroy it as a whole one
            raise
        self._stamp_clock = StampClock(self)
        self._io = IoNode(self)
        self._ended = threading.Event()
        self._may_come = False  # what configure failed for: it is on another machine
        self._making: Stream[Engine] = Stream()
        self._engine: Engine | None = None
        self._server: AskServer | None = None
        self._watches: WatchServer | None = None
        self._annotations: Annotations | None = None
        self._standing: StandingQuestions | None = None
        self._conversations: Conversations[CachedFrame] = Conversations(
            lambda: self.parameters['conversations'],
            lambda: self.parameters['conversation_idle'],
        )
        self._feeds: dict[str, CameraFeed] = {}
        self._battery: Battery | None = None
        self._encoder: FrameEncoder | None = None
        self._queue: AskQueue | None = None
        # Undo the steps of on_configure and of on_activate.
        self._configured, self._active = ExitStack(), ExitStack()

    @transition(TransitionCallbackReturn.FAILURE)
    def on_configure(self) -> None:
        """Load the models and offer the interfaces."""
        self._refuse_while_ending()
        self._may_come = False
        log = self.get_logger()
        started = time.monotonic()
        chain = self.parameters.engines
        configured = self._configured
        self.parameters.locked = True
        configured.callback(setattr, self.parameters, 'locked', False)
        self._feeds = {
            camera.name: CameraFeed(self, self._io, camera, self._stamp_clock)
            for camera in self.parameters.cameras()
        }
        configured.callback(setattr, self, '_feeds', {})
        self._battery = Battery(
            self, self.parameters.battery, lambda: self.parameters['battery_threshold']
        )
        configured.callback(self._battery.close)
        configured.callback(self._forget_dialogues)
        # Before the models, so that mistakes are found before the long loading.
        self._standing = StandingQuestions(
            self, self._stamp_clock, self.parameters.standing(), self._check
        )
        configured.callback(self._standing.close)
        self._engine = self._load(chain)
        backend = chain[0].backend if len(chain) == 1 else ''
        self._server = AskServer(
            self, self._io, self._stamp_clock, self._check, backend, self._engine
        )
        configured.callback(self._server.close)
        self._watches = WatchServer(self, self._io, self._stamp_clock, self._check)
        configured.callback(self._watches.close)
        self._annotations = Annotations(self)
        configured.callback(self._annotations.close)
        conversations = ConversationServer(self, self._conversations, self._engine)
        configured.callback(conversations.close)
        took = in_words(time.monotonic() - started)
        log.info(f'Model {self._engine.model_name} ready in {took}')

    def _load(self, chain: list[EngineSettings]) -> Engine:
        """Load the engine: one backend, or several that stand in for each other."""
        def make() -> Iterator[Engine]:
            engine = self._make(chain[0]) if len(chain) == 1 else self._chained(chain)
            yield engine
            if self._ended.is_set():
                engine.close()

        # In a thread of its own, so that shut_down need not wait for a silent server or for native
        # code. What shut_down ends is stored before its use, which begins only if none was called.
        self._making = making = Stream[Engine]()
        self._refuse_while_ending()
        self._may_come = any(find(settings.backend).remote for settings in chain)
        making.run(make, 'load')
        self._engine = engine = making.next()
        self._configured.callback(engine.close)
        self._refuse_while_ending()
        engine.load()
        return engine

    def _refuse_while_ending(self) -> None:
        """Raise InactiveError once the node is being shut down."""
        if self._ended.is_set():
            raise InactiveError('The node is being shut down')

    def _chained(self, chain: list[EngineSettings]) -> FallbackEngine:
        """Make an engine of several backends in order of preference, not loaded yet."""
        options = self.parameters.fallback
        members = [
            Member(
                settings.backend,
                functools.partial(self._make, settings, f'{settings.backend}: '),
                Breaker(options.failures, options.retry_after),
            )
            for settings in chain
        ]
        return FallbackEngine(members, options.first_token_timeout, self.get_logger().warning)

    def _make(self, settings: EngineSettings, prefix: str = '') -> Engine:
        """
        Make the engine of one backend, loaded unless it has a process of its own.

        prefix: of its log lines.
        """
        log = self.get_logger()
        if not self.parameters.isolated(settings.backend):
            return load_engine(settings, functools.partial(self._report, prefix))
        return IsolatedEngine(
            settings,
            limits=StageLimits(self.parameters['watchdog']),
            progress=functools.partial(self._report, prefix),
            log=lambda line: log.info(f'{prefix}engine: {line}'),
            on_change=functools.partial(self._engine_changed, prefix),
        )

    def _report(self, prefix: str, event: Event) -> None:
        """Log what happens while models are loaded."""
        if isinstance(event, Caution):
            self.get_logger().warning(prefix + event.text)
        else:
            self.get_logger().info(f'{prefix}{event}')

    def _engine_changed(self, prefix: str, failure: str) -> None:
        """Log that an engine was lost (`failure`) or is ready again ('')."""
        if failure:
            self.get_logger().error(prefix + failure)
            return
        self.get_logger().info(f'{prefix}The engine is ready again')
        encoder = self._encoder
        if encoder:
            encoder.restore()

    @transition(TransitionCallbackReturn.ERROR)
    def on_activate(self) -> None:
        """Start to encode frames and to answer questions."""
        self._refuse_while_ending()
        assert self._engine and self._server and self._watches and self._standing
        assert self._battery and self._annotations
        active, annotations = self._active, self._annotations
        self._engine.resume()
        ahead = self._reading_ahead(self._engine, self._battery)
        self._encoder = FrameEncoder(
            self,
            self._feeds,
            self._engine,
            self._stamp_clock,
            rate=lambda: self.parameters['encode_rate'],
            limits=lambda: self.parameters.history_limits(
                sum(len(camera.feeds) for camera in self._feeds.values())),
            ahead=ahead,
            threshold=lambda: self.parameters.change_threshold,
        )
        active.callback(self._encoder.stop)
        self._queue = AskQueue(
            self._engine,
            Views(
                self._stamp_clock, self._feeds, self._encoder, self._conversations,
                keeps_pictures=lambda: annotations.is_drawn,
            ),
            ahead,
            size=lambda: self.parameters['queue_size'],
            sampling=lambda: self.parameters.sampling,
            dialogue_tokens=lambda: self.parameters['conversation_tokens'],
            busy=lambda: self.parameters['busy'],
            answered=annotations.add,
        )
        active.callback(self._queue.close)
        evaluations = Evaluations(
            self._queue,
            self._feeds,
            self._stamp_clock,
            rate=lambda: self.parameters['encode_rate'],
        )
        active.callback(evaluations.close)
        self._encoder.start(functools.partial(_frames_changed, self._queue, evaluations))
        active.callback(self._server.use, None)
        self._server.use(self._queue)
        for asker in (self._watches, self._standing):
            active.callback(asker.use, None)
            asker.use(evaluations)
        active.callback(self._diagnostics(self._engine, self._queue, ahead).close)
        for feed in self._feeds.values():
            self.get_logger().info(f'Camera {feed.settings.name}: {feed.topic}')
        bond = start_bond(self)
        if bond:
            active.callback(bond.close)

    def _reading_ahead(self, engine: Engine, battery: Battery) -> ReadAhead:
        return ReadAhead(
            engine,
            next(iter(self._feeds)),
            self._askable,
            settings=lambda: self.parameters.reading_ahead,
            is_idle=lambda: self._queue is not None and self._queue.is_idle,
            shortage=lambda: battery.shortage,
            log=self.get_logger().warning,
        )

    def _diagnostics(self, engine: Engine, queue: AskQueue, ahead: ReadAhead) -> Diagnostics:
        return Diagnostics(
            self,
            self.parameters.backends,
            self._stamp_clock,
            engine,
            queue,
            ahead,
            self._feeds.values(),
            max_age=lambda: self.parameters['max_age'],
            dialogues=lambda: len(self._conversations.newest_first()),
        )

    @transition(TransitionCallbackReturn.ERROR)
    def on_deactivate(self) -> None:
        """End all questions and stop encoding."""
        self._deactivate()

    @transition(TransitionCallbackReturn.ERROR)
    def on_cleanup(self) -> None:
        """Free the models and remove the interfaces."""
        self.release()

    @transition(TransitionCallbackReturn.ERROR)
    def on_shutdown(self) -> None:
        """Free everything, in any state."""
        self.release()

    @transition(TransitionCallbackReturn.FAILURE)
    def on_error(self) -> None:
        """Go back to unconfigured."""
        self.release()

    def _deactivate(self) -> None:
        # Everything, in reverse order, even if some of it fails.
        self._active.close()
        self._queue = self._encoder = None

    def release(self) -> None:
        """Free everything that the transitions created; may be called in any state."""
        try:
            self._deactivate()
        finally:
            self._configured.close()
            self._server = self._watches = self._standing = self._engine = None
            self._annotations = None

    def _forget_dialogues(self) -> None:
        self._conversations.forget(*(kept.key for kept in self._conversations.newest_first()))

    def _askable(self, camera: str) -> CachedFrame | None:
        """Give the camera's newest frame, unless no question would begin with it."""
        now, frame = self._stamp_clock.now(), self._feeds[camera].frame
        freshness = Freshness(round(self.parameters['max_age'] * NANOSECONDS))
        return frame if freshness.admits(frame, now) else None

    def _check(self, request: Any) -> AskOptions:
        now = self._stamp_clock.now()
        return check_request(request, self.parameters, self._feeds.keys(), now)

    def destroy_node(self) -> None:
        """Leave the graph."""
        self._io.destroy_node()
        self._stamp_clock.close()
        super().destroy_node()

    def shut_down(self) -> None:
        """End everything, from any thread, without waiting for a model that is being loaded."""
        self._ended.set()
        self._making.cut(InactiveError('The node is being shut down'))
        engine = self._engine
        if engine:
            engine.close()
        with self.in_transition:
            self.release()

    def autostart(self) -> None:
        """Configure and activate; where a server is missing, again until it is there."""
        for pause in itertools.chain(_PAUSES, itertools.repeat(_PAUSES[-1])):
            if self.trigger_configure() is TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
                return
            if not self._may_come or self._ended.is_set():
                return
            seconds = pause * random.uniform(0.5, 1.0)  # or a whole fleet would come at once
            self.get_logger().info(f'Configure is tried again in {in_words(seconds)}')
            if self._ended.wait(seconds) or self.state != 'unconfigured':
                return


def _frames_changed(queue: AskQueue, evaluations: Evaluations) -> None:
    queue.frames_changed()
    evaluations.frames_changed()


def main() -> int:
    """Run the node until SIGINT or SIGTERM."""
    stop = _stop_signals()
    try:
        start_ros()
        with explained():
            node = VlmNode()
    except (VlmError, ValueError) as error:
        get_logger('vlm').fatal(str(error))
        rclpy.try_shutdown()
        return 1
    for unused in without_effect(sys.argv, node.get_fully_qualified_name()):
        node.get_logger().warning(unused)
    sys.setswitchinterval(_SWITCH)
    executor = MultiThreadedExecutor(_THREADS)
    executor.add_node(node)
    spinning = SpinThread(executor, node, 'spin')
    starting = threading.Thread(target=node.autostart, name='autostart', daemon=True)
    try:
        if node.parameters['autostart']:
            starting.start()
        stop.recv(1)
    finally:
        _leave_after(_PATIENCE)
        node.shut_down()
        if starting.ident:
            starting.join()
        spinning.stop()
        node.destroy_node()
        rclpy.try_shutdown()
    # Not by way of Python, which waits for name look-ups, and fails under native code that runs.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _leave_after(seconds: float) -> None:
    """End the program then, even if native code of a model hangs in it."""
    leaving = threading.Timer(seconds, os._exit, (0,))
    leaving.daemon = True
    leaving.start()


def _stop_signals() -> socket.socket:
    """
    Return a socket that becomes readable when SIGINT or SIGTERM comes.

    A Python handler is not enough: the kernel may deliver the signal to any thread, and a main
    thread that waits for a lock does not wake up then.
    """
    told, teller = socket.socketpair()
    teller.setblocking(False)
    signal.set_wakeup_fd(teller.detach(), warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return told


if __name__ == '__main__':
    sys.exit(main())
