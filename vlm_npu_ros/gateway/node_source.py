# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Answers of a node about what its cameras see, over ROS."""

from __future__ import annotations

from array import array
import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
import time
from typing import Any

from builtin_interfaces.msg import Duration
from rclpy.context import Context
from sensor_msgs.msg import CompressedImage
from vlm_npu_ros.action import Watch
from vlm_npu_ros.client import Answer, AskError, VlmClient, VlmClientError
from vlm_npu_ros.client.fields import fill, from_seconds
from vlm_npu_ros.client.goal_ids import new_node_name
from vlm_npu_ros.client.messages import plain
from vlm_npu_ros.engine.errors import (
    BackendUnavailableError,
    InactiveError,
    NoFrameError,
    RequestError,
    VlmError,
)
from vlm_npu_ros.gateway.node_view import NodeView
from vlm_npu_ros.gateway.source import (
    failed,
    into,
    Item,
    Items,
    Looks,
    Picture,
    Question,
    Source,
)
from vlm_npu_ros.nav.camera import MissionCamera

_LOOKED_AT = 5.0  # seconds after which a camera that nobody looks at is left alone
_KEPT = 200  # pictures of a camera: some seconds
_TRANSITION_SECONDS = 60.0  # models may have to be loaded
_WAITING = 64  # requests for pictures that may wait at once


class NodeSource(Source):
    """
    Asks a node by VlmClient, and follows what it publishes.

    name: of the node, such as vlm or /robot1/vlm.
    """

    def __init__(self, name: str = 'vlm', context: Context | None = None) -> None:
        self._context = context
        self._cameras: dict[str, _Camera] = {}
        self._switching = asyncio.Lock()  # a topic has one type for each program
        self._pictures = ThreadPoolExecutor(_WAITING, 'pictures')
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: set[asyncio.Event] = set()
        self._cleaner: asyncio.Task[None] | None = None
        self._client = VlmClient(name, context=context, discovery_timeout=5.0)
        self._view = NodeView(self._client.name, context, self._changed)  # begins at once

    @property
    def model(self) -> str:
        engine = next((p for p in self._view.parts if p['name'] == 'engine'), None)
        return engine['values'].get('model', 'vlm') if engine else 'vlm'

    @property
    def ready(self) -> bool:
        return self._view.lifecycle == 'active'

    @property
    def cameras(self) -> tuple[str, ...]:
        return tuple(self._view.topics)

    def state(self) -> Mapping[str, Any]:
        return {
            'node': self._client.name, 'lifecycle': self._view.lifecycle, 'ready': self.ready,
            'model': self.model, 'cameras': list(self.cameras), 'parts': self._view.parts,
            'standing': dict(self._view.standing),
        }

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._cleaner = asyncio.create_task(self._leave_cameras())

    async def close(self) -> None:
        if self._cleaner:
            self._cleaner.cancel()
        self._pictures.shutdown(wait=False, cancel_futures=True)
        for camera in self._cameras.values():
            camera.close()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._client.close()
        self._view.close()

    async def news(self, patience: float) -> None:
        event = asyncio.Event()
        self._news.add(event)
        try:
            await asyncio.wait_for(event.wait(), patience)
        except asyncio.TimeoutError:
            pass
        finally:
            self._news.discard(event)

    def _changed(self) -> None:
        """Wake those that follow the changes; called in another thread."""
        loop = self._loop
        if loop and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for event in self._news:
            event.set()

    async def ask(self, question: Question) -> Items:
        items: asyncio.Queue[Item] = asyncio.Queue()
        put = into(items)
        try:
            fields = self._fields(question)
            future = self._client.ask_async(question.text, on_text=put, check=False, **fields)
        except (ValueError, TypeError) as error:
            yield failed(RequestError(str(error)))
            return
        except VlmError as error:
            yield failed(error)
            return
        except VlmClientError as error:
            yield failed(BackendUnavailableError(str(error)))
            return
        future.add_done_callback(lambda done: put(_end_of(done)))
        try:
            while True:
                item = await items.get()
                yield item
                if isinstance(item, Answer):
                    return
        finally:
            future.cancel()

    def _fields(self, question: Question) -> Any:
        fields: dict[str, Any] = dict(question.fields)
        if question.pictures:
            fields['image'] = [
                CompressedImage(data=array('B', data)) for data in question.pictures
            ]
        return fields

    async def picture(
        self, camera: str, after: float = 0.0, frame: tuple[float, str] | None = None,
        patience: float = 2.0,
    ) -> Picture | None:
        topic = self._view.topics.get(camera)
        if not topic:
            known = ', '.join(self.cameras) or 'none yet'
            raise NoFrameError(f'There is no camera {camera!r}: {known}')
        async with self._switching:
            found, how = self._cameras.get(camera), self._view.publishers(topic)
            if found and how and found.how != (topic, *how):  # it publishes otherwise now
                del self._cameras[camera]
                await asyncio.to_thread(found.close)
                found = None
            if found is None:
                found = self._cameras[camera] = _Camera(
                    (topic, *(how or ('raw', 'best_effort'))), self._context)
        return await asyncio.get_running_loop().run_in_executor(
            self._pictures, found.look, after, frame, patience)

    async def _leave_cameras(self) -> None:
        """Unsubscribe from the cameras that nobody looks at any more."""
        while True:
            await asyncio.sleep(_LOOKED_AT / 2)
            for name, camera in list(self._cameras.items()):
                if camera.looked_at < time.monotonic() - _LOOKED_AT:
                    del self._cameras[name]
                    await asyncio.to_thread(camera.close)

    async def watch(self, question: Question, wish: Mapping[str, Any]) -> Looks:
        goal = Watch.Goal(question=question.text)
        try:
            fill(goal, question.fields)
        except (TypeError, ValueError) as error:
            raise RequestError(str(error)) from None
        for name, value in wish.items():
            setattr(goal, name, from_seconds(Duration, value) if name == 'period' else value)
        looks: asyncio.Queue[Any] = asyncio.Queue()
        put = into(looks)
        end = self._view.watch(
            goal, lambda look: put((False, look)), lambda result: put((True, result)))
        try:
            while True:
                over, told = await looks.get()
                if told is None:
                    raise InactiveError(f'{self._client.name} takes no watches')
                yield plain(told)
                if over:
                    return
        finally:
            end()

    async def transition(self, name: str) -> None:
        ends: asyncio.Queue[bool] = asyncio.Queue()
        self._view.transition(name, into(ends))
        try:
            went_well = await asyncio.wait_for(ends.get(), _TRANSITION_SECONDS)
        except asyncio.TimeoutError:
            went_well = False
        if not went_well:
            raise BackendUnavailableError(
                f'{self._client.name} did not {name}', 'See its log')


class _Camera:
    """A camera that somebody looks at; how: its topic, transport and reliability."""

    def __init__(self, how: tuple[str, str, str], context: Context | None) -> None:
        self.how = how
        self._camera = MissionCamera(*how, context=context, most=_KEPT, name=new_node_name())
        self._looking = ExitStack()
        self._looking.enter_context(self._camera.looking())
        self.looked_at = time.monotonic()

    def look(
        self, after: float, frame: tuple[float, str] | None, patience: float
    ) -> Picture | None:
        """Wait for a picture, as `Source.picture` says."""
        self.looked_at = time.monotonic() + patience
        if frame:
            jpeg = self._camera.picture_of(*frame, patience)
            return Picture(jpeg, *frame, self._camera.size) if jpeg else None
        found = self._camera.next_picture(after, patience)
        return Picture(found[2], *found[:2], self._camera.size) if found else None

    def close(self) -> None:
        """Unsubscribe."""
        self._looking.close()
        self._camera.close()


def _end_of(done: Any) -> Answer:
    error = done.exception()
    if error is None:
        return done.result()
    if isinstance(error, AskError):
        return error.answer
    if isinstance(error, VlmClientError):
        return failed(BackendUnavailableError(str(error)))
    return failed(RequestError(str(error)))
