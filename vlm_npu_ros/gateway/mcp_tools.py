# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Tools for agents that speak MCP: they look and ask, and none of them moves anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
import time
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field
from vlm_npu_ros.client.answer import Answer
from vlm_npu_ros.engine.errors import VlmError
from vlm_npu_ros.gateway.desk import Desk
from vlm_npu_ros.gateway.source import Question

_ABOUT = (
    "What a robot's cameras see, as its vision-language model tells it. An answer is an opinion "
    'about one frame, whose age it tells: check it before something depends on it.'
)
_READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=False)
_LOOK_SECONDS = 5.0
# Of an answer, for an agent.
_TOLD = ('text', 'choice', 'confidence', 'decided_by', 'number', 'stamp', 'frame_id', 'age',
         'note', 'located')
_Camera = Annotated[str, Field(description='name of a camera; empty = the first one')]
_Text = Annotated[str, Field(description='the question, in plain words', min_length=1)]


def make_server(desk: Desk) -> MCPServer:
    """Make the server; `run_stdio_async` or `streamable_http_app` let it be asked."""
    server = MCPServer('vlm_npu_ros', instructions=_ABOUT, log_level='ERROR')
    tools = _Tools(desk)
    offered: list[Callable[..., Any]] = [
        tools.cameras, tools.look, tools.ask, tools.locate, tools.watch_until, tools.standing,
    ]
    for tool in offered:
        server.add_tool(tool, annotations=_READ_ONLY)
    return server


class _Tools:

    def __init__(self, desk: Desk) -> None:
        self._desk, self._source = desk, desk.source

    async def cameras(self) -> dict[str, Any]:
        """List the robot's cameras, and tell how they and the model are."""
        state = self._source.state()
        return {'cameras': list(self._source.cameras), 'model': state['model'],
                'ready': state['ready'],
                'parts': {part['name']: part['message'] for part in state['parts']}}

    async def look(self, camera: _Camera = '') -> Image:
        """Return a small picture of what a camera sees now."""
        try:
            name = self._camera(camera)
            picture = await self._source.picture(name, patience=_LOOK_SECONDS)
        except VlmError as error:
            raise ToolError(str(error)) from error
        if picture is None:
            raise ToolError(f'No frame came from camera {name} within {_LOOK_SECONDS:g} s')
        return Image(data=picture.jpeg, format='jpeg')

    async def ask(
        self, question: _Text, context: Context, camera: _Camera = '',
        answer: Annotated[
            Literal['text', 'yes_no', 'number'],
            Field(description='what kind of answer is wanted'),
        ] = 'text',
        choices: Annotated[
            list[str],
            Field(description='answer with one of these, or unclear', max_length=64),
        ] = [],  # noqa: B006 (the schema tells it)
        max_age: Annotated[
            float, Field(description='oldest frame to answer from, in seconds; 0 = the default',
                         ge=0, le=86400),
        ] = 0.0,
    ) -> dict[str, Any]:
        """Ask the robot's vision-language model about what a camera sees now."""
        fields: dict[str, Any] = {answer: True} if answer != 'text' else {}
        if choices:
            fields['choices'] = choices
        if max_age:
            fields['max_age'] = max_age
        return await self._answer(question, camera, fields, context)

    async def locate(
        self, thing: Annotated[str, Field(description='what to find, such as: the red box')],
        context: Context, camera: _Camera = '',
    ) -> dict[str, Any]:
        """Find things in a camera's picture: their boxes, and where the depth is known, places."""
        return await self._answer(thing, camera, {'locate': True}, context)

    async def watch_until(
        self, question: _Text, until: Annotated[
            str, Field(description='the answer to wait for: yes, no, or one of choices',
                       min_length=1)],
        context: Context, camera: _Camera = '',
        choices: Annotated[
            list[str], Field(description='the answers; none = yes and no', max_length=64),
        ] = [],  # noqa: B006
        period: Annotated[
            float, Field(description='seconds from one look to the next; 0 = each frame',
                         ge=0, le=86400),
        ] = 0.0,
        agreeing: Annotated[
            int, Field(description='equal answers in a row that confirm one', ge=0, le=1000)
        ] = 1,
        seconds: Annotated[
            float, Field(description='how long to wait at most', gt=0, le=3600)] = 60.0,
    ) -> dict[str, Any]:
        """Ask again and again until the answer is the one that is waited for."""
        fields: dict[str, Any] = {'choices': choices} if choices else {'yes_no': True}
        fields['camera'] = self._camera(camera)
        wish = {'period': period, 'agreeing': agreeing, 'until': until}
        looks, last = 0, {}
        deadline = time.monotonic() + seconds
        try:
            watch = self._source.watch(Question(question, fields), wish)  # type: ignore[arg-type]
            async with aclosing(watch) as seen:
                while True:
                    last = await asyncio.wait_for(
                        anext(seen), max(deadline - time.monotonic(), 0.0))
                    if 'success' in last:
                        break
                    looks += 1
                    await context.report_progress(looks, message=last['choice'])
        except asyncio.TimeoutError:
            return {'reached': False, 'choice': last.get('choice', ''), 'changes': looks}
        except VlmError as error:
            raise ToolError(str(error)) from error
        if not last['success']:
            raise ToolError(last['error_msg'])
        return {'reached': True, 'choice': last['choice'], 'changes': looks}

    async def standing(self) -> dict[str, Any]:
        """Tell the newest answers to the questions that the robot always has an answer to."""
        return {
            name: {key: told[key] for key in ('question', 'choice', 'answer', 'confidence',
                                              'located', 'frame_age', 'error_msg')}
            for name, told in self._source.state().get('standing', {}).items()
        }

    def _camera(self, name: str) -> str:
        if name or not self._source.cameras:
            return name
        return self._source.cameras[0]

    async def _answer(
        self, question: str, camera: str, fields: dict[str, Any], context: Context
    ) -> dict[str, Any]:
        if camera:
            fields['camera'] = camera
        said, count = '', 0
        items = self._desk.ask(Question(question, fields))  # type: ignore[arg-type]
        async with aclosing(items):
            async for item in items:
                if isinstance(item, Answer):
                    if not item.ok:
                        raise ToolError(item.error)
                    return {name: getattr(item, name) for name in _TOLD}
                said, count = said + item, count + 1
                await context.report_progress(count, message=said)
        raise AssertionError('a question ended without an answer')
