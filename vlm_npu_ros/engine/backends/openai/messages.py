# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Requests as bodies of chat completions."""

from __future__ import annotations

import base64
import json
from typing import Any

from vlm_npu_ros.engine.control_tags import whole
from vlm_npu_ros.engine.types import GenerationRequest, ImageEmbedding, UNCLEAR

_TOP = 20  # alternatives of each token: the most that the protocol has
_MESSAGE = 8  # tokens around the text of a message, roughly
_BYTES = 3  # of text for each token, roughly


def chat(
    request: GenerationRequest, model: str, pictures_last: bool = False
) -> dict[str, Any]:
    """
    Write a request as the arguments of a chat completion.

    pictures_last: show them in the newest message instead of the first one.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        'model': model,
        'messages': _messages(request, -1 if pictures_last else 0),
        'max_tokens': request.max_new_tokens,
        'temperature': sampling.temperature,
    }
    if sampling.temperature:
        body['top_p'] = max(sampling.top_p, 0.001)  # 0, the likeliest token, is refused
    if sampling.seed is not None:
        body['seed'] = sampling.seed
    return body


def choice_arguments(method: str, choices: tuple[str, ...]) -> dict[str, Any]:
    """Make the further arguments that ask for one of the choices, or for how likely they are."""
    if method == 'logprobs':
        return {'logprobs': True, 'top_logprobs': _TOP}
    if method == 'json_schema':
        answer = {'type': 'string', 'enum': [*choices, UNCLEAR]}
        schema = {
            'type': 'object', 'properties': {'answer': answer}, 'required': ['answer'],
            'additionalProperties': False,
        }
        wanted = {'name': 'answer', 'strict': True, 'schema': schema}
        return {'response_format': {'type': 'json_schema', 'json_schema': wanted}}
    return {}


def json_arguments(schema: str) -> dict[str, Any]:
    """Make the further arguments that ask for JSON of a schema; '' = any."""
    if not schema:
        return {'response_format': {'type': 'json_object'}}
    wanted = {'name': 'answer', 'schema': json.loads(schema)}
    return {'response_format': {'type': 'json_schema', 'json_schema': wanted}}


def estimated_tokens(request: GenerationRequest) -> int:
    """Estimate how many tokens role, images, turns and question take."""
    texts = [request.system_prompt, request.question]
    texts += [t for u in request.turns for t in (u.question, u.answer)]
    words = sum(len(text.encode(errors='replace')) // _BYTES + _MESSAGE for text in texts)
    return words + request.image_tokens


def _messages(request: GenerationRequest, shown: int) -> list[dict[str, Any]]:
    """Write the dialogue; the message `shown` has the images."""
    messages: list[dict[str, Any]] = []
    for turn in request.turns:
        messages.append({'role': 'user', 'content': whole(turn.question)})
        messages.append({'role': 'assistant', 'content': whole(turn.answer)})
    messages.append({'role': 'user', 'content': whole(request.question)})
    if request.images:
        text = {'type': 'text', 'text': messages[shown]['content']}
        messages[shown]['content'] = [*map(_picture, request.images), text]
    if request.system_prompt:
        messages.insert(0, {'role': 'system', 'content': whole(request.system_prompt)})
    return messages


def _picture(image: ImageEmbedding) -> dict[str, Any]:
    url = 'data:image/jpeg;base64,' + base64.b64encode(image.data.tobytes()).decode()
    return {'type': 'image_url', 'image_url': {'url': url}}
