# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Rockchip's server for RK1820, RK1828 and RK3572, as far as its documentation tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chat_server import ChatServer, Exchange

CONTEXT = 768  # tokens of a slot, as in its examples
_PICTURE = 144


class Rkllm3Server:
    """
    Answers on a ChatServer in its manner: a slot goes on with its dialogue unless told not to.

    say: what the model answers to the messages that its slot holds.
    loading: requests that come while the model is being loaded.
    """

    def __init__(
        self, server: ChatServer, say: Callable[[list[dict[str, Any]]], str], loading: int = 0
    ) -> None:
        self._slots: dict[int, list[dict[str, Any]]] = {}
        self._say, self._loading = say, loading
        server.list_models, server.answer = self._list, self._answer

    def _list(self, exchange: Exchange) -> None:
        if self._loading:
            self._loading -= 1
            return _fail(exchange, 503, 'Loading model', 'unavailable_error', retry_after='0')
        meta = {'n_vocab': 150000, 'n_ctx_train': 131072, 'n_params': 3 * 10**9}
        exchange.reply(200, {'object': 'list', 'data': [{
            'id': '/userdata/eye.rknn', 'object': 'model', 'owned_by': 'rknn', 'meta': meta,
        }]})

    def _answer(self, exchange: Exchange) -> None:
        body = exchange.body
        if not 0 <= body.get('id_slot', 0) < 1:
            return _fail(exchange, 400, f'Invalid slot id: {body["id_slot"]}')
        if 'response_format' in body:
            return _fail(exchange, 400, 'Failed to parse grammar', 'invalid_request_error')
        held = self._slots.setdefault(0, [])
        if body.get('cache_prompt', True) is False:
            held.clear()
        held += body['messages']
        if sum(map(_tokens, held)) + body['max_tokens'] > CONTEXT:
            return _fail(exchange, 400, 'the prompt is too long', 'invalid_request_error')
        text = self._say(held)
        exchange.begin()
        for word in text.split('|'):
            exchange.say(word)
        held.append({'role': 'assistant', 'content': text})
        exchange.body.pop('stream_options', None)  # it counts nothing
        exchange.end()


def _tokens(message: dict[str, Any]) -> int:
    content = message['content']
    if isinstance(content, str):
        return len(content) // 4
    return sum(_PICTURE if p['type'] == 'image_url' else len(p['text']) // 4 for p in content)


def _fail(
    exchange: Exchange, code: int, message: str, kind: str = '', **headers: str
) -> None:
    error = {'code': code, 'message': message, 'type': kind}
    exchange.reply(code, {'error': error}, **headers)
