# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Chat completions, as OpenAI's servers answer them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
import hashlib
import json
import time
from typing import Any
import uuid

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from vlm_npu_ros.client.answer import Answer
from vlm_npu_ros.gateway.chat_request import Asked, asked_by, CAMERA, ChatRequest
from vlm_npu_ros.gateway.connection import while_connected
from vlm_npu_ros.gateway.desk import Desk
from vlm_npu_ros.gateway.failures import ApiError, of_answer
from vlm_npu_ros.gateway.source import Item, Items
from vlm_npu_ros.gateway.stops import Stops

_DIALOGUES = 1000  # that are remembered
_OWNER = 'vlm_npu_ros'  # by which the backend openai knows that choices are decided here
_EMPTY_ANSWER = 9515  # OpenAI's servers send it as what it is: an empty text


def router(desk: Desk) -> APIRouter:
    """Make the routes below /v1."""
    api, dialogues = APIRouter(prefix='/v1'), _Dialogues()

    @api.get('/models')
    async def models() -> dict[str, Any]:
        return {'object': 'list', 'data': [_model(name) for name in _names(desk)]}

    @api.get('/models/{name:path}')
    async def model(name: str) -> dict[str, Any]:
        _camera(desk, name)
        return _model(name)

    @api.post('/chat/completions')
    async def chat(request: Request, body: ChatRequest) -> Response:
        camera = _camera(desk, body.model)
        asked = asked_by(body, camera)
        if camera:
            asked = dialogues.continued(asked, body.model)
        completion = _Completion(desk, body, asked, dialogues)
        if body.stream:
            return await completion.streamed()
        return await while_connected(request, completion.whole())

    return api


def _names(desk: Desk) -> list[str]:
    return [desk.source.model, *(CAMERA + name for name in desk.source.cameras)]


def _camera(desk: Desk, model: str) -> str:
    """Return the camera that a model of this name looks at, '' = none; raise ApiError."""
    known = _names(desk)
    if model not in known:
        raise ApiError(f'There is no model {model[:100]!r}: choose one of {", ".join(known)}', 404,
                       'model_not_found', 'model')
    return model.removeprefix(CAMERA) if model.startswith(CAMERA) else ''


def _model(name: str) -> dict[str, Any]:
    return {'id': name, 'object': 'model', 'created': 0, 'owned_by': _OWNER}


class _Dialogues:
    """Finds out which dialogue of the node a request continues, by all that was said in it."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, str] = OrderedDict()

    def continued(self, asked: Asked, model: str) -> Asked:
        """Name the dialogue; what the node does not know is told in the question."""
        said = (model, *asked.said)
        name = self._names.pop(_digest(said), '') if asked.said else ''
        question = asked.question
        if asked.said and not name:
            told = '\n'.join(f'Q: {turn.question}\nA: {turn.answer}' for turn in question.turns)
            question = replace(question, text=f'{told}\nQ: {question.text}')
        fields = {**question.fields, 'conversation': name or uuid.uuid4().hex}
        question = replace(question, turns=(), fields=fields)  # type: ignore[arg-type]
        return replace(asked, question=question, said=said)

    def remember(self, asked: Asked, text: str, question: str) -> None:
        """Note what has been said now."""
        name = asked.question.fields.get('conversation')
        if name:
            self._names[_digest((*asked.said, f'user: {question}', f'assistant: {text}'))] = name
            while len(self._names) > _DIALOGUES:
                self._names.popitem(last=False)


def _digest(said: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


class _Completion:
    """One chat completion."""

    def __init__(
        self, desk: Desk, body: ChatRequest, asked: Asked, dialogues: _Dialogues
    ) -> None:
        self._desk, self._body, self._asked, self._dialogues = desk, body, asked, dialogues
        self._id = f'chatcmpl-{uuid.uuid4().hex}'
        self._created = int(time.time())
        self._stops = Stops(body.stops)
        self._pieces = 0
        self._form = asked.form

    async def whole(self) -> JSONResponse:
        """Answer when all of it is there."""
        text, answer = '', None
        async with aclosing(self._desk.ask(self._asked.question)) as items:
            async for item in items:
                if isinstance(item, Answer):
                    answer = self._checked(item)
                    text = self._form.write(item.choice) if self._form else self._cut(item.text)
                elif not self._form:
                    text += self._shown(item)
                if self._stops.reached:
                    break
        message = {'role': 'assistant', 'content': text, 'refusal': None}
        self._remember(text)
        return JSONResponse({
            **self._head('chat.completion'),
            'choices': [{
                'index': 0, 'message': message, 'finish_reason': self._reason(answer),
                'logprobs': None,
            }],
            'usage': self._usage(answer), 'vlm': _details(answer),
        })

    async def streamed(self) -> Response:
        """Answer in pieces; errors before the first one have a status of their own."""
        items = self._desk.ask(self._asked.question)
        try:
            first = await anext(items)
            if isinstance(first, Answer):
                self._checked(first)
        except BaseException:
            await items.aclose()
            raise
        return StreamingResponse(self._events(first, items), media_type='text/event-stream')

    async def _events(self, first: Item, items: Items) -> AsyncIterator[str]:
        text, answer = '', None
        async with aclosing(items):
            yield self._event({'role': 'assistant', 'content': ''})
            item: Item | None = first
            try:
                while item is not None and not self._stops.reached:
                    if isinstance(item, Answer):
                        answer = self._checked(item)
                        piece = (
                            self._form.write(item.choice) if self._form else self._stops.end()
                        )
                    else:
                        piece = '' if self._form else self._shown(item)
                    text += piece
                    if piece:
                        yield self._event({'content': piece})
                    item = await anext(items, None)
            except ApiError as error:
                yield _line(error.body)
                return
        self._remember(text)
        yield self._event({}, self._reason(answer), vlm=_details(answer))
        options = self._body.stream_options
        if options and options.include_usage:
            head = self._head('chat.completion.chunk')
            yield _line({**head, 'choices': [], 'usage': self._usage(answer)})
        yield 'data: [DONE]\n\n'

    def _shown(self, piece: str) -> str:
        self._pieces += 1
        return self._stops.add(piece)

    def _cut(self, text: str) -> str:
        """Cut the whole answer; it may differ from its pieces, where some were thoughts."""
        stops = Stops(self._body.stops)
        return stops.add(text) + stops.end()

    def _checked(self, answer: Answer) -> Answer:
        if not answer.ok and answer.error_code != _EMPTY_ANSWER:
            raise of_answer(answer)
        return answer

    def _remember(self, text: str) -> None:
        self._dialogues.remember(self._asked, text, self._body.messages[-1].text)

    def _reason(self, answer: Answer | None) -> str:
        return 'length' if answer and answer.finish_reason == 'length' else 'stop'

    def _usage(self, answer: Answer | None) -> dict[str, Any]:
        """Tell the tokens; of an answer that was cut, only what has come is known."""
        stats = answer.stats if answer else {}
        read, written = stats.get('prompt_tokens', 0), stats.get('new_tokens', self._pieces)
        return {'prompt_tokens': read, 'completion_tokens': written,
                'total_tokens': read + written}

    def _head(self, kind: str) -> dict[str, Any]:
        return {'id': self._id, 'object': kind, 'created': self._created,
                'model': self._body.model}

    def _event(self, delta: dict[str, str], reason: str | None = None, **more: Any) -> str:
        choice = {'index': 0, 'delta': delta, 'finish_reason': reason, 'logprobs': None}
        return _line({**self._head('chat.completion.chunk'), 'choices': [choice], **more})


def _line(value: Any) -> str:
    return f'data: {json.dumps(value)}\n\n'


def _details(answer: Answer | None) -> dict[str, Any]:
    """Tell what OpenAI's form has no place for."""
    if answer is None:
        return {}
    names = ('stamp', 'frame_id', 'age', 'choice', 'confidence', 'decided_by', 'note',
             'request_id', 'dropped_turns')
    return {**{name: getattr(answer, name) for name in names}, 'stats': answer.stats}
