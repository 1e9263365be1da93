# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A server that speaks the OpenAI protocol, as seen from here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
import json
import random
import threading
import time
from typing import Any, TypeVar

import openai
from vlm_npu_ros.engine.backends.openai.events import Events
from vlm_npu_ros.engine.backends.openai.failures import (
    Failures,
    may_pass,
    retry_after,
    StreamError,
)
from vlm_npu_ros.engine.backends.openai.models import read_models, ServerModel
from vlm_npu_ros.engine.backends.openai.pieces import Piece, read_piece
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.backends.openai.wishes import NEEDED
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import AnswerTimeoutError, ModelFileError, VlmError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.stream import Stream

_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds before the second attempt, and before any
_GRACE = 2.0  # seconds for connections to close

Result = TypeVar('Result')


class Server:
    """
    Talks to one server, in a thread of its own.

    key: '' = none.
    log: gets a line about each attempt that failed.
    """

    def __init__(
        self, settings: OpenAISettings, key: str, log: Callable[[str], None] = lambda line: None
    ) -> None:
        self._settings, self.log = settings, log
        self._failures = Failures(settings, key)
        # The reader enforces the timeouts, because only it can tell tokens from keep-alives.
        self._client = openai.AsyncOpenAI(
            base_url=settings.base_url,
            api_key=key or 'none',
            timeout=openai.Timeout(None, connect=settings.connect_timeout),
            max_retries=0,
        )
        self._headers = {} if key else {'Authorization': openai.Omit()}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name='openai', daemon=True)
        self._thread.start()

    def models(self) -> list[ServerModel]:
        """
        List the models; [] if the server does not say.

        Raises VlmError, within first_token_timeout.
        """
        seconds = self._settings.first_token_timeout
        work = self._run(self._models(time.monotonic() + seconds))
        try:
            return work.result(seconds)
        except FutureTimeoutError:
            work.cancel()
            raise AnswerTimeoutError(
                f'{self._failures.where} did not list its models within {in_words(seconds)} '
                '(openai.first_token_timeout)'
            ) from None

    def ask(self, body: dict[str, Any], cancelled: Cancellation) -> Stream[Piece]:
        """Begin a chat completion; it ends, and its connection is closed, when it is cancelled."""
        reply: Stream[Piece] = Stream()
        deadline = time.monotonic() + self._settings.first_token_timeout
        work = self._run(self._answer(body, reply, deadline))
        cancelled.add_callback(work.cancel)
        cancelled.add_callback(reply.cut)
        return reply

    def close(self) -> None:
        """Close all connections; may be called twice."""
        if self._loop.is_closed():
            return
        with suppress(FutureTimeoutError, OSError):
            self._run(self._end()).result(_GRACE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()
        await self._loop.shutdown_asyncgens()

    async def _models(self, deadline: float) -> list[ServerModel]:
        try:
            return await self._attempted(self._listed, deadline, lambda: False)
        except VlmError:
            raise
        except Exception as error:
            if getattr(error, 'status_code', 0) in (404, 405, 501):
                return []
            raise self._failures.explain(error, False) from None

    async def _listed(self) -> list[ServerModel]:
        response = await self._client.models.with_raw_response.list(extra_headers=self._headers)
        try:
            models = read_models(json.loads(response.content))
        except (ValueError, RecursionError):
            models = None
        if models is None:
            raise self._failures.page(response.content.decode(errors='replace'))
        return models

    async def _answer(self, body: dict[str, Any], reply: Stream[Piece], deadline: float) -> None:
        heard = begun = False

        def take(events: Iterable[Any]) -> None:
            nonlocal heard, begun
            for event in events:
                piece = _piece(event)
                heard, begun = True, begun or piece.is_token
                reply.put(piece)

        async def streamed() -> None:
            events = Events()
            async with self._client.chat.completions.with_streaming_response.create(
                **self._arguments(body), stream=True
            ) as response:
                async for data in _bytes(response):
                    take(events.feed(data))
                    if events.ended:
                        break
            take(events.end())
            reply.put(Piece(ended=events.ended))
            if not heard and events.text:
                raise self._failures.page(events.text)
            if not heard:
                await self._ask_why(body)

        try:
            await self._attempted(streamed, deadline, lambda: begun)
            reply.end()
        except openai.NotFoundError as error:
            reply.end(await self._with_models(self._explained(error, begun, body)))
        except Exception as error:
            reply.end(self._explained(error, begun, body))

    def _explained(self, error: Exception, begun: bool, body: dict[str, Any]) -> VlmError:
        if isinstance(error, VlmError):
            return error
        pictures = any(isinstance(m['content'], list) for m in body['messages'])
        return self._failures.explain(error, begun, pictures, body.keys() - {*NEEDED})

    def _arguments(self, body: dict[str, Any]) -> dict[str, Any]:
        """Arrange the arguments for the client, which knows some of them only."""
        extra = {name: value for name, value in body.items() if name not in NEEDED}
        named = {name: body[name] for name in NEEDED}
        return {**named, 'extra_body': extra, 'extra_headers': self._headers}

    async def _ask_why(self, body: dict[str, Any]) -> None:
        """
        Raise what the server says where it need not stream.

        llama-cpp-python ends a stream without a word where it has no room for a request, and a
        little later the connection, which costs the first attempt.
        """
        body = {n: value for n, value in body.items() if n != 'stream_options'} | {'max_tokens': 1}
        for _ in range(2):
            with suppress(openai.APIConnectionError, ValueError):
                await self._client.chat.completions.create(**self._arguments(body))
                return

    async def _attempted(
        self, attempt: Callable[[], Awaitable[Result]], deadline: float,
        has_begun: Callable[[], bool],
    ) -> Result:
        """Make an attempt, and others if it failed before it began."""
        for count in range(self._settings.retries):
            try:
                return await attempt()
            except openai.APIError as error:
                pause = retry_after(error) or _pause(count)
                if has_begun() or not may_pass(error) or time.monotonic() + pause >= deadline:
                    raise
                said, where = self._failures.said(error), self._failures.where
                self.log(f'{said}; {where} is tried again in {in_words(pause)}')
            await asyncio.sleep(pause)
        return await attempt()

    async def _with_models(self, error: VlmError) -> VlmError:
        """Make an error that names the server's models, too."""
        try:
            models = await asyncio.wait_for(self._listed(), _GRACE)
        except Exception:
            return error
        names = ', '.join(model.name for model in models)
        what = f'{error.what}; it has these models: {names or "none"}'
        return ModelFileError(what, error.remedy)


async def _bytes(response: Any) -> AsyncIterator[bytes]:
    """Yield what comes; what breaks the connection is an APIConnectionError."""
    try:
        async for data in response.iter_bytes():
            yield data
    except Exception as error:
        raise openai.APIConnectionError(request=response.http_request) from error


def _piece(event: Any) -> Piece:
    """Read an event; raise StreamError if it is an error."""
    if isinstance(event, Mapping) and (
        event.get('error') or event.get('object') == 'error'
        or (event.get('detail') and 'choices' not in event)
    ):
        raise StreamError(event)
    return read_piece(event)


def _pause(count: int) -> float:
    """Seconds after so many attempts; at random, or all robots would come at once."""
    return min(_PAUSE * 2.0**count, _LONGEST_PAUSE) * random.uniform(0.5, 1.0)
