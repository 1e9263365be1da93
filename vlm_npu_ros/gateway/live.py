# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The page and what it asks for: pictures, answers, looks, and news of the node."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import asdict
import json
import math
from pathlib import Path
import time
from typing import Annotated, Any, get_args, get_origin, Literal

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import AfterValidator, BaseModel, Field
from vlm_npu_ros.client.answer import Answer
from vlm_npu_ros.client.fields import answer_types, FIELDS
from vlm_npu_ros.engine.control_tags import whole
from vlm_npu_ros.engine.errors import VlmError
from vlm_npu_ros.gateway.desk import Desk
from vlm_npu_ros.gateway.failures import ApiError
from vlm_npu_ros.gateway.source import MOST_PICTURES, Question

_PAGE = Path(__file__).parent / 'page'
_NEWS_SECONDS = 1.0  # that news may be late
_SIGN_OF_LIFE = 10.0  # seconds


def _kind(kind: Any) -> str:
    """Name the type of a field that can be typed in; '' = it cannot."""
    if kind in (bool, str, int, float):
        return str(kind.__name__)
    if kind == Sequence[str]:
        return 'list'
    return 'str' if get_origin(kind) is not Sequence and str in get_args(kind) else ''


# Fields that a page may set. Not a picture: a text would name a file of this machine.
_TYPED = [name for name, (kind, _) in FIELDS.items() if _kind(kind) and name != 'image']


class _Asked(BaseModel):
    question: str
    fields: dict[str, Any] = {}
    pictures: list[str] = Field(default=[], max_length=MOST_PICTURES)

    def read(self) -> Question:
        """Return it; raise ApiError."""
        try:
            pictures = tuple(base64.b64decode(text, validate=True) for text in self.pictures)
        except ValueError as error:
            raise ApiError(f'A picture is no base64: {error}', param='pictures') from None
        for name, value in self.fields.items():
            if name not in _TYPED or not _fits(value, _kind(FIELDS[name][0])):
                raise ApiError(f'{name[:40]!r} is not a field of a question, or cannot have that '
                               'value', param='fields')
        return Question(whole(self.question), self.fields, pictures)  # type: ignore[arg-type]


class _Wish(BaseModel):
    period: float = Field(default=0.0, ge=0.0, le=86400.0)
    agreeing: int = Field(default=0, ge=0, le=1000)
    until: Annotated[str, AfterValidator(whole)] = ''


class _Watched(_Asked):
    wish: _Wish = _Wish()


class _Transition(BaseModel):
    name: Literal['configure', 'activate', 'deactivate', 'cleanup']


def router(desk: Desk) -> APIRouter:
    """Make the routes of the page."""
    api, source = APIRouter(), desk.source

    def file(path: Path) -> None:
        @api.get('/' if path.name == 'index.html' else f'/{path.name}')
        async def send() -> FileResponse:
            return FileResponse(path)

    for path in sorted(_PAGE.iterdir()):
        file(path)

    @api.get('/api/fields')
    async def fields() -> list[dict[str, Any]]:
        return [
            {'name': name, 'kind': _kind(kind), 'about': option.about, 'unit': option.unit,
             'answer_type': name in answer_types()}
            for name, (kind, option) in FIELDS.items() if name in _TYPED
        ]

    @api.get('/api/events')
    async def events() -> StreamingResponse:
        return _stream(_news(desk))

    @api.get('/api/cameras/{camera}/picture')
    async def picture(
        camera: str, after: float = 0.0, stamp: float = 0.0, frame_id: str = ''
    ) -> Response:
        frame = (stamp, frame_id) if stamp else None
        found = await source.picture(camera, after, frame)
        if found is None:
            return Response(status_code=404 if frame else 204)
        return Response(found.jpeg, media_type='image/jpeg', headers={
            'X-Stamp': repr(found.stamp), 'X-Width': str(found.size[0]),
            'X-Height': str(found.size[1]),
        })

    @api.post('/api/ask')
    async def ask(asked: _Asked) -> StreamingResponse:
        return _stream(_pieces(desk, asked.read()))

    @api.post('/api/watch')
    async def watch(watched: _Watched) -> StreamingResponse:
        return _stream(_looks(desk, watched))

    @api.post('/api/transition')
    async def transition(wanted: _Transition) -> dict[str, str]:
        await source.transition(wanted.name)
        return {'lifecycle': source.state()['lifecycle']}

    return api


async def _news(desk: Desk) -> AsyncIterator[str]:
    """Yield the state whenever it has changed."""
    sent, sent_at = '', 0.0
    while True:
        news = json.dumps(desk.source.state())
        if news != sent:
            sent, sent_at = news, time.monotonic()
            yield f'data: {news}\n\n'
        elif time.monotonic() > sent_at + _SIGN_OF_LIFE:
            sent_at = time.monotonic()
            yield ': still here\n\n'
        await desk.source.news(_NEWS_SECONDS)


async def _pieces(desk: Desk, question: Question) -> AsyncIterator[str]:
    async with aclosing(desk.ask(question)) as items:
        async for item in items:
            told: dict[str, Any] = {'piece': item}
            if isinstance(item, Answer):
                told = {'answer': asdict(item)}
            yield f'data: {json.dumps(told)}\n\n'


async def _looks(desk: Desk, watched: _Watched) -> AsyncIterator[str]:
    wish = watched.wish
    try:
        async with aclosing(desk.source.watch(watched.read(), vars(wish))) as looks:
            async for look in looks:
                yield f'data: {json.dumps({"look": look})}\n\n'
    except (ApiError, VlmError) as error:
        yield f'data: {json.dumps({"error": str(error)})}\n\n'


def _stream(events: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(events, media_type='text/event-stream')


def _fits(value: Any, kind: str) -> bool:
    """Tell whether a value has this type."""
    if kind == 'list':
        return isinstance(value, list) and all(isinstance(v, str) and v for v in value)
    if kind == 'float':
        return type(value) in (int, float) and math.isfinite(value)
    return type(value).__name__ == kind
